//! A loop and its key spaces: what the operators of a dataflow share.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::feedback::Handle;
use timely::dataflow::operators::generic::Operator as _;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, Concatenate, ConnectLoop, Feedback, Inspect};
use timely::dataflow::{Scope, StreamVec};

use crate::checkpoint::{Checkpoints, Operators, Trigger, commit, save};
use crate::config::Config;
use crate::epoch::{Epochs, Ticks};
use crate::error::Error;
use crate::keyed::{Fault, KeyedSettings, KeyedStreams, Report, SnapshotPart};
use crate::keyspace::{Assignment, Command};
use crate::observe::Event;
use crate::orchestrate::{Addressed, Orchestrator, Space, orchestrate};
use crate::policy::{Policy, Reactive};

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
pub struct Loop<'scope, T: Ticks>(Rc<RefCell<Shared<'scope, T>>>);

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
        let shared = self.0.borrow();
        f.debug_struct("Loop").field("operators", &shared.names).finish_non_exhaustive()
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
        config.validate()?;
        let lead = config.lead_summary::<T>()?;
        config.initial(scope.peers())?;
        let (commands, control) = scope.feedback(lead);
        Ok(Loop(Rc::new(RefCell::new(Shared {
            scope,
            config: config.clone(),
            commands: Some(commands),
            control,
            spaces: Vec::new(),
            names: BTreeSet::new(),
            operators: Vec::new(),
            checkpoints: None,
            observers: Vec::new(),
            fault: Fault::unwatched(),
        }))))
    }

    /// Takes checkpoints of all operators of the loop, and resumes from the one that `checkpoints` has found, if any.
    ///
    /// The source must then send nothing before the start of the epoch [`Checkpoints::epoch`], and begin just there.
    /// Errors that come up during the run are put where `fault` finds them. Refuses a checkpoint that does not fit the
    /// timestamp, the epochs or a policy, checkpoints that another loop of this worker takes already, and a loop that has
    /// operators already.
    pub fn checkpoint_to(self, checkpoints: &Checkpoints, fault: &Fault) -> Result<Self, Error> {
        self.0.borrow_mut().checkpoint_to(checkpoints, fault)?;
        Ok(self)
    }

    /// Calls `observer` with each event, on worker 0.
    pub fn observe(self, observer: impl FnMut(&Event) + 'static) -> Self {
        self.0.borrow_mut().observers.push(Box::new(observer));
        self
    }

    /// Adds a key space, with the policy [`Reactive`]. The name stands in events and checkpoints; refuses one that
    /// another key space of the loop has.
    pub fn key_space(&self, name: &str) -> Result<KeySpace<'scope, T>, Error> {
        let index = self.0.borrow_mut().add_space(name)?;
        Ok(KeySpace { shared: self.clone(), index })
    }
}

impl<'scope, T: Ticks> KeySpace<'scope, T> {
    /// Decides by another policy than [`Reactive`]. Refuses one whose known commands can't be carried out.
    pub fn policy(self, policy: impl Policy) -> Result<Self, Error> {
        self.shared.0.borrow_mut().set_policy(self.index, Box::new(policy))?;
        Ok(self)
    }

    /// The loop that it is in.
    pub fn looped(&self) -> &Loop<'scope, T> {
        &self.shared
    }

    pub(super) fn epochs(&self) -> Epochs {
        self.shared.0.borrow().config.epochs
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
        self.shared.0.borrow().spaces[self.index].initial.clone()
    }

    /// The commands for this key space.
    pub(super) fn control(&self) -> StreamVec<'scope, T, Command> {
        let index = self.index;
        let control = self.shared.0.borrow().control.clone();
        control.unary(Pipeline, "Select", |_, _| {
            move |input, output| {
                input.for_each(|capability, commands| {
                    let here = commands.drain(..).filter(|command| command.space == index);
                    output.session(&capability).give_iterator(here.map(|command| command.command));
                });
            }
        })
    }

    pub(super) fn settings(&self, name: &str, codec: u16) -> KeyedSettings {
        self.shared.0.borrow().settings(self.index, name, codec)
    }

    /// Takes an operator's streams into the loop, and gives its output.
    pub(super) fn add<R>(&self, member: Member, streams: KeyedStreams<'scope, T, R>) -> StreamVec<'scope, T, R> {
        let KeyedStreams { output, reports, snapshots } = streams;
        let mut shared = self.shared.0.borrow_mut();
        shared.spaces[self.index].can_fold &= member.can_fold;
        shared.operators.push(Operator { member, space: self.index, reports, snapshots });
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

type Observer = Box<dyn FnMut(&Event)>;

/// What a loop must know of an operator.
pub(super) struct Member {
    pub name: String,
    /// The user has given the name.
    pub is_named: bool,
    pub inputs: usize,
    pub keeps_state: bool,
    /// It can fold hot keys.
    pub can_fold: bool,
}

/// An operator of the loop, and what it tells.
struct Operator<'scope, T: Ticks> {
    member: Member,
    space: usize,
    reports: StreamVec<'scope, T, Report>,
    snapshots: StreamVec<'scope, T, SnapshotPart>,
}

struct Shared<'scope, T: Ticks> {
    scope: Scope<'scope, T>,
    config: Config,
    /// Where the commands enter the edge that brings them to their boundaries; until the loop is closed.
    commands: Option<Handle<'scope, T, Vec<Addressed>>>,
    control: StreamVec<'scope, T, Addressed>,
    spaces: Vec<Space>,
    names: BTreeSet<String>,
    operators: Vec<Operator<'scope, T>>,
    checkpoints: Option<(Checkpoints, Trigger)>,
    observers: Vec<Observer>,
    fault: Fault,
}

impl<T: Ticks> Shared<'_, T> {
    fn checkpoint_to(&mut self, checkpoints: &Checkpoints, fault: &Fault) -> Result<(), Error> {
        let epoch = checkpoints.epoch();
        if self.config.epochs.start::<T>(epoch).is_none() {
            return Err(Error::usage(format!(
                "the timestamp can't hold epoch {epoch}, from which the run is to go on"
            )));
        }
        if !self.operators.is_empty() {
            return Err(Error::usage(
                "the loop has operators already, which would begin without the checkpoint: say where to checkpoint to before",
            ));
        }
        if let Some(manifest) = checkpoints.resumed().filter(|m| m.epoch_ticks != self.config.epochs.ticks()) {
            let (was, is) = (manifest.epoch_ticks, self.config.epochs);
            let what = format!("its epochs have {was} ticks, those of this run {is}: give them the same length");
            return Err(Error::incompatible(manifest.name(), what));
        }
        let trigger = Trigger::new(checkpoints.config(), epoch)?;
        self.checkpoints = Some((checkpoints.claim()?, trigger));
        self.fault = fault.clone();
        for index in 0..self.spaces.len() {
            self.spaces[index].initial = self.begin(&self.spaces[index].name)?;
            self.learn_known(index)?;
        }
        Ok(())
    }

    fn checkpoints(&self) -> Option<&Checkpoints> {
        self.checkpoints.as_ref().map(|(checkpoints, _)| checkpoints)
    }

    fn add_space(&mut self, name: &str) -> Result<usize, Error> {
        if self.spaces.iter().any(|space| space.name == name) {
            return Err(Error::usage(format!("the loop has a key space {name:?} already: give this one another name")));
        }
        let policy = Box::new(Reactive::new(self.config.policy.clone())?);
        let initial = self.begin(name)?;
        self.spaces.push(Space { name: name.to_owned(), initial, policy, known: BTreeMap::new(), can_fold: true });
        Ok(self.spaces.len() - 1)
    }

    /// The assignment with which a key space begins.
    fn begin(&self, space: &str) -> Result<Assignment, Error> {
        let workers = self.scope.peers();
        let resumed = self.checkpoints().and_then(|checkpoints| checkpoints.assignment(space, workers));
        resumed.unwrap_or_else(|| self.config.initial(workers))
    }

    fn set_policy(&mut self, index: usize, policy: Box<dyn Policy>) -> Result<(), Error> {
        self.spaces[index].policy = policy;
        self.learn_known(index)
    }

    /// Asks a policy for the commands that it knows before the run.
    fn learn_known(&mut self, index: usize) -> Result<(), Error> {
        let (lead, from) = (self.config.lead, self.checkpoints().map_or(0, Checkpoints::epoch));
        let Space { policy, initial, known, .. } = &mut self.spaces[index];
        *known = policy.known(initial, from)?;
        match known.keys().next().filter(|boundary| **boundary < lead) {
            Some(boundary) => Err(Error::usage(format!(
                "no command can take effect at boundary {boundary}: with a lead of {lead} epochs the first is {lead}"
            ))),
            None => Ok(()),
        }
    }

    fn reserve(&mut self, name: &str) -> Result<(), Error> {
        if self.names.insert(name.to_owned()) {
            return Ok(());
        }
        Err(Error::usage(format!("the loop has an operator {name:?} already: give this one another name")))
    }

    fn reserve_any(&mut self) -> String {
        let numbered = (2..).map(|number| format!("keyed-{number}"));
        let mut names = std::iter::once("keyed".to_owned()).chain(numbered);
        let free = names.find(|name| self.names.insert(name.clone()));
        free.expect("there are more numbers than names taken")
    }

    fn settings(&self, space: usize, name: &str, codec: u16) -> KeyedSettings {
        let initial = &self.spaces[space].initial;
        let worker = self.scope.index();
        KeyedSettings {
            name: name.to_owned(),
            epochs: self.config.epochs,
            chunk_bytes: self.config.chunk_bytes,
            sample: self.config.profile.sample,
            restore: self.checkpoints().and_then(|stored| stored.restore(name, codec, initial, worker)),
            fault: self.fault.clone(),
        }
    }

    /// The operators that take part in checkpoints.
    fn taking_part(&self) -> Result<Operators, Error> {
        let mut taking_part = Operators::default();
        let mut unnamed = None;
        for Operator { member, space, .. } in self.operators.iter().filter(|operator| operator.member.keeps_state) {
            taking_part.add(&member.name, &self.spaces[*space].name, member.inputs)?;
            unnamed = unnamed.or((!member.is_named).then_some(&member.name));
        }
        match unnamed.filter(|_| taking_part.names().count() > 1) {
            Some(name) => Err(Error::usage(format!(
                "the operator {name:?} was given no name, and there are several: name each, since a checkpoint gives back \
                 states by the names of operators"
            ))),
            None => Ok(taking_part),
        }
    }

    /// Refuses commands that were known before the operators were.
    fn check_known(&self) -> Result<(), Error> {
        let folds = |commands: &Vec<Command>| commands.iter().any(|command| matches!(command, Command::Fold { .. }));
        match self.spaces.iter().find(|space| !space.can_fold && space.known.values().any(folds)) {
            Some(Space { name, .. }) => Err(Error::usage(format!(
                "the policy of the key space {name:?} is going to fold keys, which not all its operators can: \
                 end them in `fold_epochs`, or fold nothing"
            ))),
            None => Ok(()),
        }
    }

    /// Closes the loop: from what the operators tell, the commands that they are given `lead` epochs later.
    fn close(&mut self) {
        let Some(commands) = self.commands.take() else { return };
        self.check_known().unwrap_or_else(|error| self.fault.set(error));
        let (scope, epochs) = (self.scope, self.config.epochs);
        let taking_part = self.checkpoints.is_some().then(|| self.taking_part());
        let operators = std::mem::take(&mut self.operators);
        let mut orchestrator = Orchestrator::new(
            std::mem::take(&mut self.spaces),
            operators.iter().map(|operator| operator.space).collect(),
            self.config.lead,
            self.config.profile.window,
        );
        let (mut reports, mut snapshots) = (Vec::new(), Vec::new());
        for (index, operator) in operators.into_iter().enumerate() {
            reports.push(operator.reports.map(move |report| (index, report)));
            snapshots.extend(operator.member.keeps_state.then_some(operator.snapshots));
        }
        let store = self.checkpoints.take().map(|(checkpoints, trigger)| {
            orchestrator.decide_checkpoints(trigger, self.config.policy.prediction_horizon);
            checkpoints
        });
        let (feedback, outcomes) = scope.feedback(T::Summary::default());
        let decided = orchestrate(scope.concatenate(reports), outcomes, epochs, orchestrator);
        let outcomes = match store.zip(taking_part) {
            Some((store, taking_part)) => {
                let checked = taking_part.and_then(|operators| store.check_operators(&operators).map(|()| operators));
                let operators = checked.unwrap_or_else(|error| {
                    self.fault.set(error);
                    Operators::default()
                });
                let saved = save(scope.concatenate(snapshots), &store, epochs);
                commit(saved, decided.events.clone(), &store, &operators, epochs)
            }
            None => empty(scope),
        };
        outcomes.clone().connect_loop(feedback);
        let events = decided.events.map(Event::Epoch).concat(outcomes.map(Event::Checkpoint));
        let mut observers = std::mem::take(&mut self.observers);
        events.inspect(move |event| observers.iter_mut().for_each(|observe| observe(event)));
        to_all_workers(decided.commands).connect_loop(commands);
    }
}

/// Sends each command to every worker. They come in the order in which they were given, which is the order in which those
/// of one boundary are to be carried out.
fn to_all_workers<T: Ticks>(commands: StreamVec<'_, T, Addressed>) -> StreamVec<'_, T, Addressed> {
    let peers = commands.scope().peers();
    let copies = commands.unary(Pipeline, "Copy", |_, _| {
        move |input, output| {
            input.for_each(|capability, commands| {
                let copies = commands.drain(..).flat_map(|command| (0..peers).map(move |to| (to, command.clone())));
                output.session(&capability).give_iterator(copies);
            });
        }
    });
    copies.unary(Exchange::new(|(to, _): &(usize, Addressed)| *to as u64), "Control", |_, _| {
        move |input, output| {
            input.for_each(|capability, commands| {
                output.session(&capability).give_iterator(commands.drain(..).map(|(_, command)| command));
            });
        }
    })
}

impl<T: Ticks> Drop for Shared<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // An open end would panic again, and a dataflow that is not built can't be closed.
            self.commands.take().into_iter().for_each(std::mem::forget);
        } else {
            self.close();
        }
    }
}
