//! A loop and its key spaces: the handles by which a dataflow is put together.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator as _;
use timely::dataflow::{Scope, StreamVec};

use super::shared::{Member, Operator, Shared};
use crate::aggregate::Spotting;
use crate::checkpoint::Checkpoints;
use crate::config::Config;
use crate::epoch::{Epochs, Ticks};
use crate::error::Error;
use crate::keyed::codec::Codec;
use crate::keyed::{Fault, KeyedSettings, KeyedStreams};
use crate::keyspace::{Assignment, Command};
use crate::observe::{CheckpointEvent, Event};
use crate::policy::Policy;

/// One feedback loop: the operators that share it have one control stream, one lead, and one checkpoint.
///
/// A loop has one or more [key spaces](KeySpace). It is a handle; the loop is closed when the last handle on it, on its
/// key spaces, and on stages that are being put together is dropped.
///
/// ```
/// use thalweg::{Config, Loop, Rebalance, stable_hash};
/// use timely::dataflow::operators::ToStream;
///
/// timely::example(|scope| {
///     let looped = Loop::new(scope, &Config::default()).unwrap();
///     let stations = looped.key_space("stations").unwrap();
///     let trips = [("Castro", 5), ("Market", 7)].map(|(station, km)| (station.to_owned(), km));
///     let trips = trips.to_stream(scope).container::<Vec<(String, u64)>>();
///     trips.clone().rebalance(&stations, |trip| stable_hash(&trip.0)).unwrap()
///         .named("count").unwrap()
///         .fold_keyed(|trip| trip.0.clone(), |_, count: &mut u64, out| { *count += 1; out.give(*count) });
///     trips.rebalance(&stations, |trip| stable_hash(&trip.0)).unwrap()
///         .named("distance").unwrap()
///         .fold_keyed(|trip| trip.0.clone(), |trip, sum: &mut u64, out| { *sum += trip.1; out.give(*sum) });
/// });
/// ```
pub struct Loop<'scope, T: Ticks>(pub(super) Rc<RefCell<Shared<'scope, T>>>);

/// An assignment of the key space to workers, the policy that changes it, and the operators that are routed by it.
pub struct KeySpace<'scope, T: Ticks> {
    shared: Loop<'scope, T>,
    index: usize,
}

impl<T: Ticks> Clone for Loop<'_, T> {
    fn clone(&self) -> Self {
        Loop(Rc::clone(&self.0))
    }
}

impl<T: Ticks> Clone for KeySpace<'_, T> {
    fn clone(&self) -> Self {
        KeySpace { shared: self.shared.clone(), index: self.index }
    }
}

impl<T: Ticks> fmt::Debug for Loop<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loop").field("operators", self.0.borrow().names()).finish_non_exhaustive()
    }
}

impl<T: Ticks> fmt::Debug for KeySpace<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySpace").field("index", &self.index).finish_non_exhaustive()
    }
}

impl<'scope, T: Ticks> Loop<'scope, T> {
    /// A loop without key spaces. Refuses a configuration that can't work.
    pub fn new(scope: Scope<'scope, T>, config: &Config) -> Result<Self, Error> {
        Ok(Loop(Rc::new(RefCell::new(Shared::new(scope, config)?))))
    }

    /// Takes checkpoints of all operators of the loop, and resumes from the one that `checkpoints` has found, if any.
    ///
    /// The source must then send nothing before the start of the epoch [`Checkpoints::epoch`], and begin just there.
    /// Errors that come up during the run are put where `fault` finds them. Refuses a checkpoint that does not fit the
    /// timestamp, the epochs or a policy, checkpoints that another loop of this worker takes already, and a loop that
    /// has operators already.
    pub fn checkpoint_to(self, checkpoints: &Checkpoints, fault: &Fault) -> Result<Self, Error> {
        self.0.borrow_mut().checkpoint_to(checkpoints, fault)?;
        Ok(self)
    }

    /// Errors that come up during the run are put where `fault` finds them; without it, and without checkpoints, a
    /// source or sink that meets one panics.
    pub fn faults_to(self, fault: &Fault) -> Self {
        self.0.borrow_mut().set_fault(fault);
        self
    }

    /// Calls `observer` with each event, on worker 0.
    pub fn observe(self, observer: impl FnMut(&Event) + 'static) -> Self {
        self.0.borrow_mut().add_observer(Box::new(observer));
        self
    }

    /// What becomes of checkpoints, on every worker: from a [`CheckpointEvent`] without an error on, the checkpoint at
    /// its boundary exists, and a run that resumes takes no earlier one unless it is damaged. Without checkpoints there
    /// is none.
    ///
    /// The stream comes from the end of the loop. An operator of it, or one before it, that listens must do so by an
    /// input that is connected to none of its outputs: nothing can wait for its own checkpoint. Anything behind it may
    /// listen as it likes.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Fingerprint, Memory};
    /// use thalweg::keyed::Fault;
    /// use thalweg::{Config, Loop, Rebalance, stable_hash};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// let config = CheckpointConfig { trigger: "every:1".parse().unwrap(), ..CheckpointConfig::default() };
    /// let checkpoints = Checkpoints::begin(Arc::new(Memory::default()), Fingerprint::default(), config).unwrap();
    /// timely::execute_directly(move |worker| worker.dataflow::<u64, _, _>(|scope| {
    ///     let looped = Loop::new(scope, &Config::default()).unwrap().checkpoint_to(&checkpoints, &Fault::new()).unwrap();
    ///     looped.outcomes().inspect(|outcome| assert_eq!(outcome.error, None));
    ///     ["Castro", "Market"].map(str::to_owned).to_stream(scope).container::<Vec<_>>()
    ///         .rebalance(&looped.key_space("stations").unwrap(), |station| stable_hash(station)).unwrap()
    ///         .fold_keyed(String::clone, |_, count: &mut u64, out| { *count += 1; out.give(*count) });
    /// }));
    /// ```
    pub fn outcomes(&self) -> StreamVec<'scope, T, CheckpointEvent> {
        self.0.borrow_mut().ends.outcomes()
    }

    /// Adds a key space, with the policy [`Proactive`](crate::policy::Proactive). The name stands in events and
    /// checkpoints; refuses one that another key space of the loop has.
    pub fn key_space(&self, name: &str) -> Result<KeySpace<'scope, T>, Error> {
        let index = self.0.borrow_mut().add_space(name)?;
        Ok(KeySpace { shared: self.clone(), index })
    }
}

impl<'scope, T: Ticks> KeySpace<'scope, T> {
    /// Decides by another policy than [`Proactive`](crate::policy::Proactive). Refuses one whose known commands can't
    /// be carried out.
    pub fn policy(self, policy: impl Policy) -> Result<Self, Error> {
        self.shared.0.borrow_mut().set_policy(self.index, Box::new(policy))?;
        Ok(self)
    }

    /// The loop that it is in.
    pub fn looped(&self) -> &Loop<'scope, T> {
        &self.shared
    }

    pub(super) fn epochs(&self) -> Epochs {
        self.shared.0.borrow().epochs()
    }

    /// How gates find hot keys.
    pub(super) fn spotting(&self) -> Spotting {
        self.shared.0.borrow().spotting()
    }

    pub(super) fn reserve(&self, name: &str) -> Result<(), Error> {
        self.shared.0.borrow_mut().reserve(name)
    }

    /// A new operator of this name, or, if it was given none, of another that is free.
    pub(super) fn member(&self, name: Option<String>) -> Member {
        let is_named = name.is_some();
        let name = name.unwrap_or_else(|| self.shared.0.borrow_mut().reserve_any());
        Member { name, is_named, inputs: 1, keeps_state: true, can_fold: false }
    }

    /// The assignment with which the run begins.
    pub(super) fn initial(&self) -> Assignment {
        self.shared.0.borrow().initial(self.index).clone()
    }

    /// The commands for this key space.
    pub(super) fn control(&self) -> StreamVec<'scope, T, Command> {
        let index = self.index;
        let control = self.shared.0.borrow().control();
        control.unary(Pipeline, "Select", |_, _| {
            move |input, output| {
                input.for_each(|capability, commands| {
                    let here = commands.drain(..).filter(|command| command.space == index);
                    output.session(&capability).give_iterator(here.map(|command| command.command));
                });
            }
        })
    }

    pub(super) fn settings<K, S, C>(&self, member: &Member) -> KeyedSettings
    where
        K: std::hash::Hash + Eq + Clone,
        C: Codec<K, S>,
    {
        self.shared.0.borrow().settings::<K, S, C>(self.index, member)
    }

    /// Takes an operator's streams into the loop, and gives its output.
    pub(super) fn add<R>(
        &self,
        member: Member,
        streams: Result<KeyedStreams<'scope, T, R>, Error>,
    ) -> StreamVec<'scope, T, R> {
        let KeyedStreams { output, reports, snapshots } =
            streams.expect("the assignment has been made for these workers");
        self.shared.0.borrow_mut().add_operator(Operator { member, space: self.index, reports, snapshots });
        output
    }
}

/// What a stage can be routed by: a [`KeySpace`] that it shares with others, or a [`Config`] for one of its own.
pub trait IntoKeySpace<'scope, T: Ticks> {
    /// The key space, for operators in `scope`.
    fn into_key_space(self, scope: Scope<'scope, T>) -> Result<KeySpace<'scope, T>, Error>;
}

impl<'scope, T: Ticks> IntoKeySpace<'scope, T> for &KeySpace<'scope, T> {
    fn into_key_space(self, _: Scope<'scope, T>) -> Result<KeySpace<'scope, T>, Error> {
        Ok(self.clone())
    }
}

impl<'scope, T: Ticks> IntoKeySpace<'scope, T> for &Config {
    fn into_key_space(self, scope: Scope<'scope, T>) -> Result<KeySpace<'scope, T>, Error> {
        Loop::new(scope, self)?.key_space("keys")
    }
}
