//! What the operators of a loop share, and how the loop is closed over them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::sync::Arc;

use timely::dataflow::operators::feedback::Handle;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, Concatenate, ConnectLoop, Feedback, Inspect};
use timely::dataflow::{Scope, StreamVec};

use super::ends::{Ends, to_all_workers};
use super::request::with_requests;
use crate::aggregate::Spotting;
use crate::checkpoint::{Checkpoints, Operators, Trigger, commit, save};
use crate::config::Config;
use crate::epoch::{Epochs, Ticks};
use crate::error::Error;
use crate::keyed::codec::Codec;
use crate::keyed::{Fault, KeyedSettings, Report, SnapshotPart, merge};
use crate::keyspace::{Assignment, Command};
use crate::observe::Event;
use crate::orchestrate::{Addressed, Orchestrator, Space, orchestrate};
use crate::policy::{Policy, Proactive};

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
pub(super) struct Operator<'scope, T: Ticks> {
    pub member: Member,
    /// The index of its key space.
    pub space: usize,
    pub reports: StreamVec<'scope, T, Report>,
    pub snapshots: StreamVec<'scope, T, SnapshotPart>,
}

/// A loop that is being put together.
pub(super) struct Shared<'scope, T: Ticks> {
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
    pub ends: Ends<'scope, T>,
}

impl<'scope, T: Ticks> Shared<'scope, T> {
    pub fn new(scope: Scope<'scope, T>, config: &Config) -> Result<Self, Error> {
        config.validate()?;
        config.initial(scope.peers())?;
        let (commands, control) = scope.feedback(config.lead_summary::<T>()?);
        Ok(Shared {
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
            ends: Ends::new(scope),
        })
    }

    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    pub fn set_fault(&mut self, fault: &Fault) {
        self.fault = fault.clone();
    }

    pub fn epochs(&self) -> Epochs {
        self.config.epochs
    }

    /// How gates find hot keys: not at all where nothing is to be folded.
    pub fn spotting(&self) -> Spotting {
        let workers = self.scope.peers();
        match workers > 1 && self.config.policy.fold_share <= workers as f64 {
            true => Spotting::new(workers, self.scope.index() as u64),
            false => Spotting::OFF,
        }
    }

    /// The commands for all key spaces.
    pub fn control(&self) -> StreamVec<'scope, T, Addressed> {
        self.control.clone()
    }

    /// The names of the operators.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    pub fn add_observer(&mut self, observer: Observer) {
        self.observers.push(observer);
    }

    pub fn add_operator(&mut self, operator: Operator<'scope, T>) {
        self.spaces[operator.space].can_fold &= operator.member.can_fold;
        self.operators.push(operator);
    }

    /// The assignment with which a key space begins.
    pub fn initial(&self, space: usize) -> &Assignment {
        &self.spaces[space].initial
    }

    pub fn checkpoint_to(&mut self, checkpoints: &Checkpoints, fault: &Fault) -> Result<(), Error> {
        let epoch = checkpoints.epoch();
        if self.config.epochs.start::<T>(epoch).is_none() {
            return Err(Error::usage(format!(
                "the timestamp can't hold epoch {epoch}, from which the run is to go on"
            )));
        }
        if !self.operators.is_empty() || !self.ends.is_empty() {
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
        self.checkpoints = Some((checkpoints.claim(self.scope.index() == 0)?, trigger));
        self.fault = fault.clone();
        for index in 0..self.spaces.len() {
            self.spaces[index].initial = self.begin(&self.spaces[index].name)?;
            self.learn_known(index)?;
        }
        Ok(())
    }

    pub fn checkpoints(&self) -> Option<&Checkpoints> {
        self.checkpoints.as_ref().map(|(checkpoints, _)| checkpoints)
    }

    pub fn add_space(&mut self, name: &str) -> Result<usize, Error> {
        if self.spaces.iter().any(|space| space.name == name) {
            return Err(Error::usage(format!("the loop has a key space {name:?} already: give this one another name")));
        }
        let policy = Box::new(Proactive::new(self.config.policy.clone())?);
        let initial = self.begin(name)?;
        self.spaces.push(Space { name: name.to_owned(), initial, policy, known: BTreeMap::new(), can_fold: true });
        self.learn_known(self.spaces.len() - 1)?;
        Ok(self.spaces.len() - 1)
    }

    /// The assignment with which a key space begins.
    fn begin(&self, space: &str) -> Result<Assignment, Error> {
        let workers = self.scope.peers();
        let resumed = self.checkpoints().and_then(|checkpoints| checkpoints.assignment(space, workers));
        resumed.unwrap_or_else(|| self.config.initial(workers))
    }

    pub fn set_policy(&mut self, index: usize, policy: Box<dyn Policy>) -> Result<(), Error> {
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

    pub fn reserve(&mut self, name: &str) -> Result<(), Error> {
        if self.names.insert(name.to_owned()) {
            return Ok(());
        }
        Err(Error::usage(format!("the loop has an operator {name:?} already: give this one another name")))
    }

    pub fn reserve_any(&mut self) -> String {
        let numbered = (2..).map(|number| format!("keyed-{number}"));
        let mut names = std::iter::once("keyed".to_owned()).chain(numbered);
        let free = names.find(|name| self.names.insert(name.clone()));
        free.expect("there are more numbers than names taken")
    }

    pub fn settings<K, S, C>(&self, space: usize, member: &Member) -> KeyedSettings
    where
        K: Hash + Eq + Clone,
        C: Codec<K, S>,
    {
        let initial = &self.spaces[space].initial;
        let stored = self.checkpoints().filter(|_| member.keeps_state);
        let worker = self.scope.index();
        if let Some(stored) = stored {
            stored.merge_by(&member.name, merge::<K, S, C>);
        }
        KeyedSettings {
            name: member.name.clone(),
            epochs: self.config.epochs,
            chunk_bytes: self.config.chunk_bytes,
            pre_copy: self.config.pre_copy,
            profile: self.config.profile.clone(),
            restore: stored.and_then(|stored| stored.restore(&member.name, C::ID, initial, worker)),
            backlog: stored.map(|stored| Arc::clone(stored.backlog())),
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
        self.ends.take_part(&mut taking_part);
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
            orchestrator.decide_checkpoints(trigger);
            checkpoints
        });
        let (feedback, outcomes) = scope.feedback(T::Summary::default());
        let reports = scope.concatenate(reports);
        let reports = match &store {
            Some(store) => with_requests(reports, store),
            None => reports,
        };
        let decided = orchestrate(reports, outcomes, epochs, orchestrator);
        let outcomes = match store.zip(taking_part) {
            Some((store, taking_part)) => {
                let checked = taking_part.and_then(|operators| store.check_operators(&operators).map(|()| operators));
                let operators = checked.unwrap_or_else(|error| {
                    self.fault.set(error);
                    Operators::default()
                });
                let saved = save(scope.concatenate(snapshots), &store, epochs);
                commit(saved, decided.events.clone(), self.ends.covered(), &store, &operators, epochs)
            }
            None => empty(scope),
        };
        outcomes.clone().connect_loop(feedback);
        self.ends.close(outcomes.clone());
        let events = decided.events.map(Event::Epoch).concat(outcomes.map(Event::Checkpoint));
        let mut observers = std::mem::take(&mut self.observers);
        events.inspect(move |event| observers.iter_mut().for_each(|observe| observe(event)));
        to_all_workers(decided.commands).connect_loop(commands);
    }
}

impl<T: Ticks> Drop for Shared<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // An open end would panic again, and a dataflow that is not built can't be closed.
            self.commands.take().into_iter().for_each(std::mem::forget);
            self.ends.forget();
        } else {
            self.close();
        }
    }
}
