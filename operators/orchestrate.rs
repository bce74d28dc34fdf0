//! The orchestrator: the reports of complete epochs in, commands out. It acts on worker 0.
//!
//! *Emits* at the last time of each complete epoch the commands decided from it, and an event that says what was seen
//! and decided. An edge that advances by the lead carries the commands to their boundary. Commands known before the run
//! go out at the start. *Waits* for an epoch to be complete. *Holds* the reports of epochs that are not.
//!
//! | port     |     | connected to     | carries                                            |
//! |----------|-----|------------------|----------------------------------------------------|
//! | reports  | in  | commands, events | what all workers have seen                         |
//! | outcomes | in  |                  | what became of checkpoints: only the content counts |
//! | commands | out |                  | what to do at the epoch plus the lead              |
//! | events   | out |                  | what was seen and decided                          |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Antichain;
use timely::progress::frontier::MutableAntichain;

use crate::checkpoint::{Observation, Trigger};
use crate::epoch::{Epochs, Ticks};
use crate::forecast::{Exponential, Forecaster};
use crate::keyed::Report;
use crate::keyspace::{Applied, Assignment, Command, RoutingError};
use crate::observe::{CheckpointEvent, EpochEvent};
use crate::pending::Pending;
use crate::policy::{FoldedKey, Policy, View};
use crate::profile::{Rolling, ShardEpoch};

const COMMANDS: usize = 0;
const EVENTS: usize = 1;

/// Half the weight on the newest epoch: arrivals are smoothed only against chance.
const ARRIVALS_ALPHA: f64 = 0.5;

/// A key space as a run begins with it: an assignment, and what changes it.
#[allow(missing_debug_implementations, reason = "policies are not Debug")]
pub struct Space {
    /// Its name in events and checkpoints.
    pub name: String,
    /// The assignment.
    pub initial: Assignment,
    /// What decides.
    pub policy: Box<dyn Policy>,
    /// Commands that are given whatever the policy decides, by boundary.
    pub known: BTreeMap<u64, Vec<Command>>,
    /// Whether all its operators can fold hot keys.
    pub can_fold: bool,
}

/// A command for one of the key spaces, by its index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressed {
    /// The index of the key space.
    pub space: usize,
    /// The command.
    pub command: Command,
}

/// Decides, epoch by epoch, for one or more key spaces. Pure: it knows nothing of timely, and of time only what it is
/// told.
#[allow(missing_debug_implementations, reason = "policies are not Debug")]
pub struct Orchestrator {
    lead: u64,
    spaces: Vec<Director>,
    /// The key space of each operator.
    operators: Vec<usize>,
    arrivals: Exponential,
    checkpoints: Option<CheckpointClock>,
}

/// What was decided from an epoch.
#[derive(Clone, Debug)]
pub struct Decision {
    /// To be sent now.
    pub commands: Vec<Addressed>,
    /// For each key space, what was seen and decided, with those commands for the same boundary that were known before
    /// the run.
    pub events: Vec<EpochEvent>,
}

/// What decides on checkpoints, and how long epochs take.
struct CheckpointClock {
    trigger: Trigger,
    horizon: usize,
    seconds: Exponential,
}

impl Orchestrator {
    /// Decides for these key spaces, `lead` epochs ahead. Profiles roll over `window` epochs. The reports of an
    /// operator are about the key space in which `operators` places it.
    ///
    /// A checkpoint that is commanded in one key space is taken in all.
    pub fn new(mut spaces: Vec<Space>, operators: Vec<usize>, lead: u64, window: usize) -> Self {
        let is_checkpoint = |commands: &[Command]| commands.contains(&Command::Checkpoint);
        let known = spaces.iter().flat_map(|space| &space.known);
        let checkpoints: BTreeSet<u64> = known.filter(|(_, c)| is_checkpoint(c)).map(|(at, _)| *at).collect();
        for space in &mut spaces {
            for boundary in &checkpoints {
                let commands = space.known.entry(*boundary).or_default();
                if !is_checkpoint(commands) {
                    commands.push(Command::Checkpoint);
                }
            }
        }
        let spaces = spaces.into_iter().map(|space| Director::new(space, window)).collect();
        Orchestrator { lead, spaces, operators, arrivals: Exponential::new(ARRIVALS_ALPHA), checkpoints: None }
    }

    /// Decides on checkpoints too, by `trigger`. It is told the arrivals that are forecast `horizon` epochs ahead.
    pub fn decide_checkpoints(&mut self, trigger: Trigger, horizon: usize) {
        let seconds = Exponential::new(ARRIVALS_ALPHA);
        self.checkpoints = Some(CheckpointClock { trigger, horizon, seconds });
    }

    /// Learns what became of a checkpoint.
    pub fn note_checkpoint(&mut self, checkpoint: &CheckpointEvent) {
        let Some(CheckpointClock { trigger, .. }) = &mut self.checkpoints else { return };
        match checkpoint.error {
            None => trigger.completed(checkpoint.epoch, checkpoint.seconds),
            Some(_) => trigger.abandoned(checkpoint.epoch),
        }
    }

    /// What is to be commanded `lead` epochs after `epoch`, given what all workers have seen in it, with the indices of
    /// the operators that report, and how long, in seconds, it was after the one before it that it became complete.
    pub fn decide(&mut self, epoch: u64, reports: Vec<(usize, Report)>, seconds: f64) -> Decision {
        let boundary = epoch.saturating_add(self.lead);
        let seen = self.sort(reports);
        self.note_restored(&seen);
        self.note_busy(&seen);
        let known: Vec<_> = self.spaces.iter_mut().map(|space| space.catch_up(boundary)).collect();
        let decided = self.spaces.iter_mut().zip(seen).map(|(space, seen)| space.decide(epoch, boundary, seen));
        let mut events: Vec<EpochEvent> = decided.collect();
        self.consider_checkpoint(&mut events, seconds);
        let of_space = |(space, event): (usize, &EpochEvent)| {
            event.commands.clone().into_iter().map(move |command| Addressed { space, command })
        };
        let commands = events.iter().enumerate().flat_map(of_space).collect();
        for (event, known) in events.iter_mut().zip(known) {
            event.commands.splice(0..0, known.accepted);
            event.refused.extend(known.refused);
        }
        Decision { commands, events }
    }

    /// The reports of an epoch by key space.
    fn sort(&self, reports: Vec<(usize, Report)>) -> Vec<Seen> {
        let mut seen: Vec<Seen> = self.spaces.iter().map(|_| Seen::default()).collect();
        for (operator, report) in reports {
            let Some(seen) = self.operators.get(operator).and_then(|space| seen.get_mut(*space)) else { continue };
            match report {
                Report::Shard(shard) => seen.shards.push(shard),
                Report::Moved { bytes, .. } => seen.moved_bytes += bytes,
                Report::Folded { worker, key, records } => seen.folded.push((worker, key, records)),
                Report::Holds { worker, keys, bytes } => seen.states.push(((operator, worker), (keys, bytes))),
                Report::Restored { bytes, nanos, .. } => seen.restored.push((bytes, nanos)),
            }
        }
        seen
    }

    /// Learns how fast states are read back.
    fn note_restored(&mut self, seen: &[Seen]) {
        let Some(CheckpointClock { trigger, .. }) = &mut self.checkpoints else { return };
        for (bytes, nanos) in seen.iter().flat_map(|seen| &seen.restored) {
            trigger.speeds_mut().restored(*bytes, *nanos as f64 * 1e-9);
        }
    }

    /// Learns how fast records are processed, from the busiest worker.
    fn note_busy(&mut self, seen: &[Seen]) {
        let Some(CheckpointClock { trigger, .. }) = &mut self.checkpoints else { return };
        let mut records = 0;
        let mut busy: BTreeMap<usize, u64> = BTreeMap::new();
        for shard in seen.iter().flat_map(|seen| &seen.shards) {
            records += shard.statistics.records();
            *busy.entry(shard.worker).or_default() += shard.statistics.busy_nanos();
        }
        trigger.speeds_mut().replayed(records, busy.into_values().max().unwrap_or(0) as f64 * 1e-9);
    }

    /// Sees to it that a checkpoint is taken in all key spaces or none, and asks the trigger for one.
    fn consider_checkpoint(&mut self, events: &mut [EpochEvent], seconds: f64) {
        let mut wanted = events.iter().any(|event| event.commands.contains(&Command::Checkpoint));
        let records: u64 = events.iter().map(|event| event.records).sum();
        self.arrivals.observe(records as f64);
        if let (Some(clock), Some(EpochEvent { epoch, boundary, .. })) = (&mut self.checkpoints, events.first()) {
            clock.seconds.observe(seconds);
            let arrivals = self.arrivals.forecast(clock.horizon);
            let rate = arrivals.is_sure().then(|| arrivals.mean / clock.seconds.forecast(1).mean);
            let state_bytes = events.iter().map(|event| event.state_bytes).sum();
            let observation = Observation { epoch: *epoch, records, seconds, state_bytes };
            let reason = clock.trigger.decide(&observation, rate, *boundary).map(|reason| reason.to_string());
            wanted |= reason.is_some();
            let recovery = clock.trigger.recovery().seconds();
            for event in &mut *events {
                event.checkpoint.clone_from(&reason);
                event.recovery_seconds = Some(recovery);
            }
        }
        for event in events.iter_mut().filter(|event| wanted && !event.commands.contains(&Command::Checkpoint)) {
            event.commands.push(Command::Checkpoint);
        }
    }
}

/// What the operators of a key space have told of an epoch.
#[derive(Default)]
struct Seen {
    shards: Vec<ShardEpoch>,
    /// Records of folded keys, by worker and routing key.
    folded: Vec<(usize, u64, u64)>,
    moved_bytes: u64,
    /// Keys and bytes by operator and worker.
    states: Vec<((usize, usize), (u64, u64))>,
    /// Bytes and nanoseconds of each chunk.
    restored: Vec<(u64, u64)>,
}

/// Decides for one key space.
struct Director {
    name: String,
    /// As it will be after all commands given so far.
    assignment: Assignment,
    policy: Box<dyn Policy>,
    /// Commands known before the run that are not in the assignment yet, by boundary.
    known: BTreeMap<u64, Vec<Command>>,
    can_fold: bool,
    rolling: Rolling,
    arrivals: Exponential,
    /// The state of each operator on each worker, as last heard of: keys and bytes.
    states: BTreeMap<(usize, usize), (u64, u64)>,
}

/// Commands that are in the assignment now, and those that could not be carried out.
#[derive(Default)]
struct Accepted {
    accepted: Vec<Command>,
    refused: Vec<(Command, RoutingError)>,
}

impl Director {
    fn new(space: Space, window: usize) -> Self {
        let Space { name, initial, policy, known, can_fold } = space;
        let rolling = Rolling::new(window, initial.workers());
        let arrivals = Exponential::new(ARRIVALS_ALPHA);
        Director { name, assignment: initial, policy, known, can_fold, rolling, arrivals, states: BTreeMap::new() }
    }

    fn decide(&mut self, epoch: u64, boundary: u64, seen: Seen) -> EpochEvent {
        let Seen { mut shards, folded, moved_bytes, states, .. } = seen;
        // Of no worker that the assignment does not know.
        shards.retain(|shard| shard.worker < self.assignment.workers());
        self.states.extend(states);
        let mut loads = vec![0; self.assignment.workers()];
        for shard in &shards {
            loads[shard.worker] += shard.statistics.records();
        }
        for (worker, _, records) in folded.iter().filter(|folded| folded.0 < self.assignment.workers()) {
            loads[*worker] += records;
        }
        let records = loads.iter().sum();
        let forecast = self.arrivals.forecast(1);
        self.arrivals.observe(records as f64);
        let Accepted { accepted: commands, refused } = self.consult(epoch, boundary, shards, &folded);
        EpochEvent {
            space: self.name.clone(),
            epoch,
            records,
            loads,
            keys: self.states.values().map(|(keys, _)| keys).sum(),
            state_bytes: self.states.values().map(|(_, bytes)| bytes).sum(),
            moved_bytes,
            forecast: forecast.is_sure().then_some(forecast.mean),
            boundary,
            commands,
            refused,
            checkpoint: None,
            recovery_seconds: None,
        }
    }

    /// Asks the policy, and keeps of its commands those that can be carried out.
    fn consult(
        &mut self,
        epoch: u64,
        boundary: u64,
        shards: Vec<ShardEpoch>,
        folded: &[(usize, u64, u64)],
    ) -> Accepted {
        let shard_records: u64 = shards.iter().map(|shard| shard.statistics.records()).sum();
        let records = shard_records + folded.iter().map(|(_, _, records)| records).sum::<u64>();
        let profiles = self.rolling.advance_part(epoch, shards, records);
        let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
        folded.iter().for_each(|(_, key, records)| *sums.entry(*key).or_default() += records);
        let folded: Vec<FoldedKey> = sums.into_iter().map(|(key, records)| FoldedKey { key, records }).collect();
        let (assignment, can_fold) = (&self.assignment, self.can_fold);
        let view = View { epoch, boundary, assignment, profiles: &profiles, can_fold, folded: &folded };
        let wanted = self.policy.decide(&view);
        self.accept(wanted)
    }

    /// Takes the known commands up to a boundary into the assignment, and gives them.
    fn catch_up(&mut self, boundary: u64) -> Accepted {
        let later = self.known.split_off(&boundary.saturating_add(1));
        let known = std::mem::replace(&mut self.known, later).into_values().flatten().collect();
        self.accept(known)
    }

    /// Takes into the assignment those of these commands that can be carried out.
    fn accept(&mut self, commands: Vec<Command>) -> Accepted {
        if commands.is_empty() {
            return Accepted::default();
        }
        let no_merge = |command: &Command| match command {
            Command::Fold { key } if !self.can_fold => Some(RoutingError::NoMerge { key: *key }),
            _ => None,
        };
        let refuse = |command: Command| match no_merge(&command) {
            Some(error) => Err((command, error)),
            None => Ok(command),
        };
        let (commands, unable): (Vec<_>, Vec<_>) = commands.into_iter().map(refuse).partition(Result::is_ok);
        let Applied { assignment, accepted, mut refused } =
            self.assignment.apply_valid(commands.into_iter().flatten().collect());
        refused.extend(unable.into_iter().filter_map(Result::err));
        self.assignment = assignment;
        Accepted { accepted, refused }
    }
}

/// The streams that leave an orchestrator. Both have records on worker 0 only.
#[allow(missing_debug_implementations, reason = "streams are not Debug")]
pub struct OrchestratorStreams<'scope, T: Ticks> {
    /// What to do `lead` epochs after the time of the message.
    pub commands: StreamVec<'scope, T, Addressed>,
    /// What was seen and decided.
    pub events: StreamVec<'scope, T, EpochEvent>,
}

/// Gathers the reports of all workers, with the indices of the operators that report, on worker 0, and asks the
/// orchestrator once per complete epoch.
///
/// `outcomes` brings what became of checkpoints; only its content counts, not its time.
pub fn orchestrate<'scope, T: Ticks>(
    reports: StreamVec<'scope, T, (usize, Report)>,
    outcomes: StreamVec<'scope, T, CheckpointEvent>,
    epochs: Epochs,
    mut orchestrator: Orchestrator,
) -> OrchestratorStreams<'scope, T> {
    let scope = reports.scope();
    let worker = scope.index();
    let mut builder = OperatorBuilder::new("Orchestrate".to_owned(), scope);
    let (commands, commands_stream) = builder.new_output();
    let (events, events_stream) = builder.new_output();
    let (mut commands, mut events) = (OutputBuilder::from(commands), OutputBuilder::from(events));
    let same = || Antichain::from_elem(T::Summary::default());
    let pact = Exchange::new(|_: &(usize, Report)| 0);
    let mut reports = builder.new_input_connection(reports, pact, [(COMMANDS, same()), (EVENTS, same())]);
    let mut outcomes = builder.new_input_connection(outcomes, Pipeline, []);
    builder.build(move |initial| {
        let mut known =
            if worker == 0 { known_messages(&orchestrator, epochs, &initial[COMMANDS]) } else { Vec::new() };
        drop(initial);
        let mut open: Pending<T, Vec<(usize, Report)>, Answers<T>> = Pending::new();
        let mut last_complete = Instant::now();
        move |frontiers: &[MutableAntichain<T>]| {
            let (mut commands, mut events) = (commands.activate(), events.activate());
            for (capability, known) in known.drain(..) {
                commands.session(&capability).give_iterator(known.into_iter());
            }
            outcomes.for_each(|_, batch| batch.drain(..).for_each(|event| orchestrator.note_checkpoint(&event)));
            reports.for_each_stamp(|capability, batches| {
                let Some(at) = capability.least() else { return };
                let capabilities = || (capability.delayed(at, COMMANDS), capability.delayed(at, EVENTS));
                open.entry(at, capabilities).extend(batches.flat_map(|batch| batch.drain(..)));
            });
            while let Some((at, (command, event), reports)) = open.release(&frontiers[0]) {
                let seconds = std::mem::replace(&mut last_complete, Instant::now()).elapsed().as_secs_f64();
                let decision = orchestrator.decide(epochs.number(&at), reports, seconds);
                commands.session(&command).give_iterator(decision.commands.into_iter());
                events.session(&event).give_iterator(decision.events.into_iter());
            }
        }
    });
    OrchestratorStreams { commands: commands_stream, events: events_stream }
}

/// What entitles to send commands, and an event.
type Answers<T> = (Capability<T>, Capability<T>);

/// The known commands, each with what entitles to send them so early that the lead brings them to their boundary.
fn known_messages<T: Ticks>(
    orchestrator: &Orchestrator,
    epochs: Epochs,
    initial: &Capability<T>,
) -> Vec<(Capability<T>, Vec<Addressed>)> {
    let early = |boundary: u64| epochs.last(boundary.checked_sub(orchestrator.lead)?);
    let message = |space: usize, boundary: u64, commands: &[Command]| {
        let addressed = |command: &Command| Addressed { space, command: command.clone() };
        Some((initial.delayed(&early(boundary)?), commands.iter().map(addressed).collect()))
    };
    let of_space = |(space, director): (usize, &Director)| {
        director.known.iter().filter_map(|(boundary, commands)| message(space, *boundary, commands)).collect::<Vec<_>>()
    };
    orchestrator.spaces.iter().enumerate().flat_map(of_space).collect()
}
