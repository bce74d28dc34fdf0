//! The loop: a few lines that compose the parts.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::rc::Rc;

use timely::ExchangeData;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::vec::{Broadcast, Map};
use timely::dataflow::operators::{Concat, ConnectLoop, Feedback, Inspect};

use crate::checkpoint::{Checkpoints, Trigger, commit, save};
use crate::config::Config;
use crate::epoch::Epoch;
use crate::error::Error;
use crate::keyed::codec::{Codec, Columns};
use crate::keyed::{Context, Fault, KeyedSettings, Logic, keyed};
use crate::keyspace::{Assignment, Command};
use crate::observe::Event;
use crate::orchestrate::{Orchestrator, orchestrate};
use crate::policy::{Policy, Reactive};
use crate::routing::{Versions, gate};

/// Routes a stream by an assignment that a feedback loop keeps balanced.
pub trait Rebalance<'scope, T: Epoch, D: ExchangeData> {
    /// Begins a rebalanced stage: [`Rebalanced`] says what can be chosen, and how it is ended.
    ///
    /// `routing_key` gives the key by which a record is routed: [`stable_hash`](crate::stable_hash) of a field, or an
    /// [`ordered_key`](crate::ordered_key). Refuses a configuration that can't work.
    ///
    /// ```
    /// use thalweg::{Config, Rebalance, stable_hash};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// timely::example(|scope| {
    ///     ["Embarcadero", "Market", "Embarcadero"].map(str::to_owned).to_stream(scope).container::<Vec<_>>()
    ///         .rebalance(&Config::default(), |station| stable_hash(station)).unwrap()
    ///         .fold_keyed(|station| station.clone(), |station, count: &mut u64, out| { *count += 1; out.give((station, *count)) })
    ///         .inspect(|(station, count)| println!("{station}: {count}"));
    /// });
    /// ```
    fn rebalance<H>(self, config: &Config, routing_key: H) -> Result<Rebalanced<'scope, T, D, H>, Error>
    where
        H: Fn(&D) -> u64 + Clone + 'static;
}

impl<'scope, T: Epoch, D: ExchangeData> Rebalance<'scope, T, D> for StreamVec<'scope, T, D> {
    fn rebalance<H>(self, config: &Config, routing_key: H) -> Result<Rebalanced<'scope, T, D, H>, Error>
    where
        H: Fn(&D) -> u64 + Clone + 'static,
    {
        config.validate()?;
        let stage = Stage {
            lead: config.lead_summary::<T>()?,
            initial: config.initial(self.scope().peers())?,
            name: "keyed".to_owned(),
            policy: Box::new(Reactive::new(config.policy.clone())?),
            known: BTreeMap::new(),
            checkpoints: None,
            observers: Vec::new(),
            fault: Fault::unwatched(),
            config: config.clone(),
        };
        Ok(Rebalanced { data: self, routing_key, measure: Unmeasured, stage, codec: PhantomData })
    }
}

/// What the profile is to know of a record besides its key.
pub trait Measure<D>: 'static {
    /// The value whose mean and deviation are profiled.
    fn value(&self, record: &D) -> f64;

    /// The record's size in bytes.
    fn size(&self, record: &D) -> usize;
}

/// Every record has the value 1 and the size of its type.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmeasured;

impl<D> Measure<D> for Unmeasured {
    fn value(&self, _: &D) -> f64 {
        1.0
    }

    fn size(&self, _: &D) -> usize {
        size_of::<D>()
    }
}

/// Values and sizes by closures.
#[derive(Clone, Copy, Debug)]
pub struct Measured<V, Z> {
    value: V,
    size: Z,
}

impl<D, V: Fn(&D) -> f64 + 'static, Z: Fn(&D) -> usize + 'static> Measure<D> for Measured<V, Z> {
    fn value(&self, record: &D) -> f64 {
        (self.value)(record)
    }

    fn size(&self, record: &D) -> usize {
        (self.size)(record)
    }
}

/// A rebalanced stage that is being put together. It is ended by [`fold_keyed`](Rebalanced::fold_keyed) or
/// [`keyed`](Rebalanced::keyed).
pub struct Rebalanced<'scope, T: Epoch, D, H, M = Unmeasured, C = Columns> {
    data: StreamVec<'scope, T, D>,
    routing_key: H,
    measure: M,
    stage: Stage<T>,
    codec: PhantomData<C>,
}

type Observer = Box<dyn FnMut(&Event)>;

/// What is chosen for a stage, whatever its records are. All of it has been checked.
struct Stage<T: Epoch> {
    config: Config,
    lead: T::Summary,
    initial: Assignment,
    name: String,
    policy: Box<dyn Policy>,
    known: BTreeMap<u64, Vec<Command>>,
    checkpoints: Option<(Checkpoints, Trigger)>,
    observers: Vec<Observer>,
    fault: Fault,
}

impl<T: Epoch, D, H, M, C> fmt::Debug for Rebalanced<'_, T, D, H, M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stage { name, config, .. } = &self.stage;
        f.debug_struct("Rebalanced").field("name", name).field("config", config).finish_non_exhaustive()
    }
}

impl<'scope, T, D, H, M, C> Rebalanced<'scope, T, D, H, M, C>
where
    T: Epoch,
    D: ExchangeData,
    H: Fn(&D) -> u64 + Clone + 'static,
    M: Measure<D>,
{
    /// Decides by another policy than [`Reactive`]. Refuses one whose known commands can't be carried out.
    pub fn policy(mut self, mut policy: impl Policy) -> Result<Self, Error> {
        let Stage { config, initial, .. } = &self.stage;
        let known = policy.known(&config.initial(initial.workers())?)?;
        if let Some(boundary) = known.keys().next().filter(|boundary| **boundary < config.lead) {
            let lead = config.lead;
            return Err(Error::usage(format!(
                "no command can take effect at boundary {boundary}: with a lead of {lead} epochs the first is {lead}"
            )));
        }
        self.stage.policy = Box::new(policy);
        self.stage.known = known;
        Ok(self)
    }

    /// Takes checkpoints, and resumes from the one that `checkpoints` has found, if any.
    ///
    /// The source must then send nothing before [`Checkpoints::epoch`], and begin behind [`Checkpoints::records`]
    /// records. Errors that come up during the run are put where `fault` finds them. Refuses a checkpoint that does
    /// not fit the timestamp.
    pub fn checkpoint_to(mut self, checkpoints: &Checkpoints, fault: &Fault) -> Result<Self, Error> {
        let epoch = checkpoints.epoch();
        if T::from_number(epoch).is_none() {
            return Err(Error::usage(format!(
                "the timestamp can't hold epoch {epoch}, from which the run is to go on"
            )));
        }
        let trigger = Trigger::new(checkpoints.config(), epoch)?;
        if let Some(manifest) = checkpoints.resumed() {
            self.stage.initial = manifest.assignment.rescaled(self.stage.initial.workers())?;
        }
        self.stage.checkpoints = Some((checkpoints.clone(), trigger));
        self.stage.fault = fault.clone();
        Ok(self)
    }

    /// Names the stage in logs and checkpoints.
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.stage.name);
        self
    }

    /// Calls `observer` with each event, on worker 0.
    pub fn observe(mut self, observer: impl FnMut(&Event) + 'static) -> Self {
        self.stage.observers.push(Box::new(observer));
        self
    }

    /// Profiles these values and sizes (in bytes) of records.
    pub fn measured<V, Z>(self, value: V, size: Z) -> Rebalanced<'scope, T, D, H, Measured<V, Z>, C>
    where
        V: Fn(&D) -> f64 + 'static,
        Z: Fn(&D) -> usize + 'static,
    {
        let Rebalanced { data, routing_key, stage, codec, .. } = self;
        Rebalanced { data, routing_key, measure: Measured { value, size }, stage, codec }
    }

    /// Encodes keys and states by another [codec](crate::keyed::codec) than [`Columns`].
    pub fn codec<C2>(self) -> Rebalanced<'scope, T, D, H, M, C2> {
        let Rebalanced { data, routing_key, measure, stage, .. } = self;
        Rebalanced { data, routing_key, measure, stage, codec: PhantomData }
    }

    /// Folds each record into the state of its key, which begins with the default.
    ///
    /// `key` gives what states are kept by; records of one key must have one routing key. `fold` takes a record into
    /// its key's state, and sends any number of records by its [`Context`].
    pub fn fold_keyed<K, S, R, FK, F>(self, key: FK, fold: F) -> StreamVec<'scope, T, R>
    where
        K: Hash + Eq + Clone + 'static,
        S: Default + 'static,
        R: Clone + 'static,
        C: Codec<K, S>,
        FK: Fn(&D) -> K + 'static,
        F: FnMut(D, &mut S, &mut Context<'_, T, K, R>) + 'static,
    {
        self.keyed(key, fold, |_, _| ())
    }

    /// As [`fold_keyed`](Rebalanced::fold_keyed), with timers: `on_timer` is called once for each timer that
    /// [`Context::schedule`] has set, when its time has come.
    pub fn keyed<K, S, R, FK, F, G>(self, key: FK, on_record: F, on_timer: G) -> StreamVec<'scope, T, R>
    where
        K: Hash + Eq + Clone + 'static,
        S: Default + 'static,
        R: Clone + 'static,
        C: Codec<K, S>,
        FK: Fn(&D) -> K + 'static,
        F: FnMut(D, &mut S, &mut Context<'_, T, K, R>) + 'static,
        G: FnMut(&mut S, &mut Context<'_, T, K, R>) + 'static,
    {
        let Rebalanced { data, routing_key, measure, stage, .. } = self;
        let Stage { config, lead, initial, name, policy, mut known, checkpoints, mut observers, fault } = stage;
        let scope = data.scope();
        let (commands, control) = scope.feedback(lead);
        let (outcomes, measured) = scope.feedback(T::Summary::default());
        let versions = Rc::new(RefCell::new(Versions::new(initial.clone())));
        let gated = gate(data, control.clone(), Rc::clone(&versions));

        let stored = checkpoints.as_ref().map(|(checkpoints, _)| checkpoints);
        let restore = stored.and_then(|stored| stored.restore(&name, C::ID, &initial, scope.index()));
        let settings = KeyedSettings {
            name,
            initial: initial.clone(),
            chunk_bytes: config.chunk_bytes,
            sample: config.profile.sample,
            restore,
            fault,
        };
        let logic =
            Closures { routing_key: routing_key.clone(), measure, key, on_record, on_timer, types: PhantomData };
        let keyed = keyed::<_, _, C>(gated, control, versions, logic, routing_key, settings);

        if let Some(resumed) = stored.and_then(Checkpoints::resumed) {
            known = known.split_off(&(resumed.epoch + 1));
        }
        let mut orchestrator = Orchestrator::new(policy, initial, known, config.lead, config.profile.window);
        let store = checkpoints.map(|(checkpoints, trigger)| {
            orchestrator.decide_checkpoints(trigger, config.policy.prediction_horizon);
            checkpoints
        });
        let decided = orchestrate(keyed.reports, measured, orchestrator);
        decided.commands.broadcast().connect_loop(commands);
        let completed = match &store {
            Some(store) => commit(save(keyed.snapshots, store), decided.events.clone(), store),
            None => empty(scope),
        };
        completed.clone().connect_loop(outcomes);
        let epochs = decided.events.map(Event::Epoch);
        epochs.concat(completed.map(Event::Checkpoint)).inspect(move |event| {
            observers.iter_mut().for_each(|observe| observe(event));
        });
        keyed.output
    }
}

/// The logic of an operator, from the closures that the user gave.
struct Closures<D, K, S, R, H, M, FK, F, G> {
    routing_key: H,
    measure: M,
    key: FK,
    on_record: F,
    on_timer: G,
    types: PhantomData<fn(D, K, S, R)>,
}

impl<T, D, K, S, R, H, M, FK, F, G> Logic<T> for Closures<D, K, S, R, H, M, FK, F, G>
where
    T: Epoch,
    D: ExchangeData,
    K: Hash + Eq + Clone + 'static,
    S: Default + 'static,
    R: Clone + 'static,
    H: Fn(&D) -> u64 + 'static,
    M: Measure<D>,
    FK: Fn(&D) -> K + 'static,
    F: FnMut(D, &mut S, &mut Context<'_, T, K, R>) + 'static,
    G: FnMut(&mut S, &mut Context<'_, T, K, R>) + 'static,
{
    type Record = D;
    type Key = K;
    type State = S;
    type Output = R;

    #[inline]
    fn routing_key(&self, record: &D) -> u64 {
        (self.routing_key)(record)
    }

    #[inline]
    fn key(&self, record: &D) -> K {
        (self.key)(record)
    }

    #[inline]
    fn value(&self, record: &D) -> f64 {
        self.measure.value(record)
    }

    #[inline]
    fn size(&self, record: &D) -> usize {
        self.measure.size(record)
    }

    #[inline]
    fn on_record(&mut self, record: D, state: &mut S, context: &mut Context<'_, T, K, R>) {
        (self.on_record)(record, state, context);
    }

    fn on_timer(&mut self, state: &mut S, context: &mut Context<'_, T, K, R>) {
        (self.on_timer)(state, context);
    }
}
