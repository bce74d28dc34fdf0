//! The loop: what composes the parts.

mod closures;
mod measure;

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

use crate::checkpoint::{Checkpoints, Operators, Trigger, commit, save};
use crate::config::Config;
use crate::epoch::Epoch;
use crate::error::Error;
use crate::keyed::codec::{Codec, Columns};
use crate::keyed::{Context, Fault, KeyedSettings, Report, SnapshotPart, keyed};
use crate::keyspace::{Assignment, Command};
use crate::observe::Event;
use crate::orchestrate::{Orchestrator, orchestrate};
use crate::policy::{Policy, Reactive};
use crate::routing::{Versions, gate};
use closures::Closures;
pub use measure::{Measure, Measured, Unmeasured};

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

/// A rebalanced stage that is being put together. It is ended by [`fold_keyed`](Rebalanced::fold_keyed) or
/// [`keyed`](Rebalanced::keyed).
pub struct Rebalanced<'scope, T: Epoch, D, H, M = Unmeasured, C = Columns> {
    data: StreamVec<'scope, T, D>,
    routing_key: H,
    measure: M,
    stage: Stage<T>,
    codec: PhantomData<C>,
}

/// The key space of a stage's operator in checkpoints: each stage has one of its own.
const SPACE: &str = "keys";

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
    pub fn policy(mut self, policy: impl Policy) -> Result<Self, Error> {
        self.stage.policy = Box::new(policy);
        self.stage.learn_known()?;
        Ok(self)
    }

    /// Takes checkpoints, and resumes from the one that `checkpoints` has found, if any.
    ///
    /// The source must then send nothing before [`Checkpoints::epoch`], and begin behind [`Checkpoints::records`]
    /// records. Errors that come up during the run are put where `fault` finds them. Refuses a checkpoint that does
    /// not fit the timestamp or the policy, and checkpoints that another stage of this worker takes already: a checkpoint
    /// is of one loop.
    pub fn checkpoint_to(mut self, checkpoints: &Checkpoints, fault: &Fault) -> Result<Self, Error> {
        let epoch = checkpoints.epoch();
        if T::from_number(epoch).is_none() {
            return Err(Error::usage(format!(
                "the timestamp can't hold epoch {epoch}, from which the run is to go on"
            )));
        }
        let trigger = Trigger::new(checkpoints.config(), epoch)?;
        if let Some(resumed) = checkpoints.assignment(SPACE, self.stage.initial.workers()) {
            self.stage.initial = resumed?;
        }
        self.stage.checkpoints = Some((checkpoints.claim()?, trigger));
        self.stage.fault = fault.clone();
        self.stage.learn_known()?;
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
        let scope = data.scope();
        let (commands, control) = scope.feedback(stage.lead.clone());
        let versions = Rc::new(RefCell::new(Versions::new(stage.initial.clone())));
        let gated = gate(data, control.clone(), Rc::clone(&versions));
        let settings = stage.settings(C::ID, scope.index());
        let logic =
            Closures { routing_key: routing_key.clone(), measure, key, on_record, on_timer, types: PhantomData };
        let keyed = keyed::<_, _, C>(gated, control, versions, logic, routing_key, settings)
            .expect("the assignment has been made for these workers");
        stage.close(keyed.reports, keyed.snapshots).broadcast().connect_loop(commands);
        keyed.output
    }
}

impl<T: Epoch> Stage<T> {
    /// Asks the policy for the commands that it knows before the run.
    fn learn_known(&mut self) -> Result<(), Error> {
        let (lead, from) =
            (self.config.lead, self.checkpoints.as_ref().map_or(0, |(checkpoints, _)| checkpoints.epoch()));
        self.known = self.policy.known(&self.initial, from)?;
        match self.known.keys().next().filter(|boundary| **boundary < lead) {
            Some(boundary) => Err(Error::usage(format!(
                "no command can take effect at boundary {boundary}: with a lead of {lead} epochs the first is {lead}"
            ))),
            None => Ok(()),
        }
    }

    fn settings(&self, codec: u16, worker: usize) -> KeyedSettings {
        let stored = self.checkpoints.as_ref().map(|(checkpoints, _)| checkpoints);
        KeyedSettings {
            name: self.name.clone(),
            space: SPACE.to_owned(),
            chunk_bytes: self.config.chunk_bytes,
            sample: self.config.profile.sample,
            restore: stored.and_then(|stored| stored.restore(&self.name, codec, &self.initial, worker)),
            fault: self.fault.clone(),
        }
    }

    /// Closes the loop: from what the keyed operator tells, the commands that it is given `lead` epochs later.
    fn close<'scope>(
        self,
        reports: StreamVec<'scope, T, Report>,
        snapshots: StreamVec<'scope, T, SnapshotPart>,
    ) -> StreamVec<'scope, T, Command> {
        let Stage { config, initial, name, policy, known, checkpoints, mut observers, fault, .. } = self;
        let scope = reports.scope();
        let mut orchestrator = Orchestrator::new(policy, initial, known, config.lead, config.profile.window);
        let store = checkpoints.map(|(checkpoints, trigger)| {
            orchestrator.decide_checkpoints(trigger, config.policy.prediction_horizon);
            checkpoints
        });
        let (feedback, outcomes) = scope.feedback(T::Summary::default());
        let decided = orchestrate(reports, outcomes, orchestrator);
        let outcomes = match &store {
            Some(store) => {
                let mut operators = Operators::default();
                let checked = operators.add(&name, SPACE).and_then(|()| store.check_operators(&operators));
                checked.unwrap_or_else(|error| fault.set(error));
                commit(save(snapshots, store), decided.events.clone(), store, &operators)
            }
            None => empty(scope),
        };
        outcomes.clone().connect_loop(feedback);
        let epochs = decided.events.map(Event::Epoch);
        epochs.concat(outcomes.map(Event::Checkpoint)).inspect(move |event| {
            observers.iter_mut().for_each(|observe| observe(event));
        });
        decided.commands
    }
}
