//! The orchestrator: the reports of complete epochs in, commands out. It acts on worker 0.
//!
//! *Emits* at each complete epoch the commands decided from it, and an event that says what was seen and decided. An edge
//! that advances by the lead carries the commands to their boundary. Commands known before the run go out at the start.
//! *Waits* for an epoch to be complete. *Holds* the reports of epochs that are not.
//!
//! | port     |     | connected to     | carries                                            |
//! |----------|-----|------------------|----------------------------------------------------|
//! | reports  | in  | commands, events | what all workers have seen                         |
//! | outcomes | in  |                  | what became of checkpoints: only the content counts |
//! | commands | out |                  | what to do at the epoch plus the lead              |
//! | events   | out |                  | what was seen and decided                          |

use std::collections::BTreeMap;
use std::time::Instant;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Antichain;
use timely::progress::frontier::MutableAntichain;

use crate::checkpoint::{Observation, Trigger};
use crate::epoch::Epoch;
use crate::forecast::{Exponential, Forecaster};
use crate::keyed::Report;
use crate::keyspace::{Applied, Assignment, Command, RoutingError};
use crate::observe::{CheckpointEvent, EpochEvent};
use crate::pending::Pending;
use crate::policy::{Policy, View};
use crate::profile::{Rolling, ShardEpoch};

const COMMANDS: usize = 0;
const EVENTS: usize = 1;

/// Half the weight on the newest epoch: arrivals are smoothed only against chance.
const ARRIVALS_ALPHA: f64 = 0.5;

/// Decides, epoch by epoch. Pure: it knows nothing of timely, and of time only what it is told.
#[allow(missing_debug_implementations, reason = "policies are not Debug")]
pub struct Orchestrator {
    lead: u64,
    /// As it will be after all commands given so far.
    assignment: Assignment,
    policy: Box<dyn Policy>,
    /// Commands known before the run that are not in the assignment yet, by boundary.
    known: BTreeMap<u64, Vec<Command>>,
    rolling: Rolling,
    arrivals: Exponential,
    /// The state of each worker, as last heard of: keys and bytes.
    states: Vec<(u64, u64)>,
    checkpoints: Option<CheckpointClock>,
}

/// What was decided from an epoch.
#[derive(Clone, Debug)]
pub struct Decision {
    /// To be sent now.
    pub commands: Vec<Command>,
    /// What was seen and decided, with those commands for the same boundary that were known before the run.
    pub event: EpochEvent,
}

/// Commands that are in the assignment now, and those that could not be carried out.
#[derive(Default)]
struct Accepted {
    accepted: Vec<Command>,
    refused: Vec<(Command, RoutingError)>,
}

/// What decides on checkpoints, and how long epochs take.
struct CheckpointClock {
    trigger: Trigger,
    horizon: usize,
    seconds: Exponential,
}

impl Orchestrator {
    /// Decides by `policy`, `lead` epochs ahead, beginning from the assignment `start`. Profiles roll over `window` epochs.
    /// The `known` commands, by boundary, are given whatever the policy decides.
    pub fn new(
        policy: Box<dyn Policy>,
        start: Assignment,
        known: BTreeMap<u64, Vec<Command>>,
        lead: u64,
        window: usize,
    ) -> Self {
        Orchestrator {
            lead,
            policy,
            known,
            rolling: Rolling::new(window, start.workers()),
            arrivals: Exponential::new(ARRIVALS_ALPHA),
            states: vec![(0, 0); start.workers()],
            checkpoints: None,
            assignment: start,
        }
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

    /// What is to be commanded `lead` epochs after `epoch`, given what all workers have seen in it and how long, in
    /// seconds, it was after the one before it that it became complete.
    pub fn decide(&mut self, epoch: u64, reports: Vec<Report>, seconds: f64) -> Decision {
        let boundary = epoch.saturating_add(self.lead);
        let known = self.catch_up(boundary);
        let (shards, moved_bytes) = self.take_in(reports);
        let mut loads = vec![0; self.assignment.workers()];
        for shard in &shards {
            loads[shard.worker] += shard.statistics.records();
        }
        let records = loads.iter().sum();
        let forecast = self.arrivals.forecast(1);
        self.arrivals.observe(records as f64);
        self.note_busy(records, &shards);
        let Accepted { accepted: commands, refused } = self.consult(epoch, boundary, shards);
        let mut event = EpochEvent {
            epoch,
            records,
            loads,
            keys: self.states.iter().map(|(keys, _)| keys).sum(),
            state_bytes: self.states.iter().map(|(_, bytes)| bytes).sum(),
            moved_bytes,
            forecast: forecast.is_sure().then_some(forecast.mean),
            boundary,
            commands,
            refused,
            checkpoint: None,
            recovery_seconds: None,
        };
        self.consider_checkpoint(&mut event, seconds);
        let commands = event.commands.clone();
        event.commands.splice(0..0, known.accepted);
        event.refused.extend(known.refused);
        Decision { commands, event }
    }

    /// Learns how fast records are processed, from the busiest worker.
    fn note_busy(&mut self, records: u64, shards: &[ShardEpoch]) {
        let Some(CheckpointClock { trigger, .. }) = &mut self.checkpoints else { return };
        let mut busy = vec![0; self.assignment.workers()];
        for shard in shards {
            busy[shard.worker] += shard.statistics.busy_nanos();
        }
        trigger.speeds_mut().replayed(records, busy.into_iter().max().unwrap_or(0) as f64 * 1e-9);
    }

    fn consider_checkpoint(&mut self, event: &mut EpochEvent, seconds: f64) {
        let Some(clock) = &mut self.checkpoints else { return };
        clock.seconds.observe(seconds);
        let arrivals = self.arrivals.forecast(clock.horizon);
        let rate = arrivals.is_sure().then(|| arrivals.mean / clock.seconds.forecast(1).mean);
        let EpochEvent { epoch, records, state_bytes, boundary, .. } = *event;
        let observation = Observation { epoch, records, seconds, state_bytes };
        if let Some(reason) = clock.trigger.decide(&observation, rate, boundary) {
            event.checkpoint = Some(reason.to_string());
            event.commands.push(Command::Checkpoint);
        }
        event.recovery_seconds = Some(clock.trigger.recovery().seconds());
    }

    /// Sorts the reports of an epoch: what shards have seen, and the bytes that have been moved.
    fn take_in(&mut self, reports: Vec<Report>) -> (Vec<ShardEpoch>, u64) {
        let (mut shards, mut moved) = (Vec::new(), 0);
        for report in reports {
            match report {
                Report::Shard(shard) if shard.worker < self.states.len() => shards.push(shard),
                Report::Moved { bytes, .. } => moved += bytes,
                Report::Holds { worker, keys, bytes } if worker < self.states.len() => {
                    self.states[worker] = (keys, bytes);
                }
                // Of a worker that the assignment does not know.
                Report::Shard(_) | Report::Holds { .. } => {}
                Report::Restored { bytes, nanos, .. } => {
                    if let Some(CheckpointClock { trigger, .. }) = &mut self.checkpoints {
                        trigger.speeds_mut().restored(bytes, nanos as f64 * 1e-9);
                    }
                }
            }
        }
        (shards, moved)
    }

    /// Asks the policy, and keeps of its commands those that can be carried out.
    fn consult(&mut self, epoch: u64, boundary: u64, shards: Vec<ShardEpoch>) -> Accepted {
        let profiles = self.rolling.advance(epoch, shards);
        let (assignment, profiles) = (&self.assignment, &profiles);
        let view = View { epoch, boundary, assignment, profiles, can_fold: false, folded: &[] };
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
        let Applied { assignment, accepted, refused } = self.assignment.apply_valid(commands);
        self.assignment = assignment;
        Accepted { accepted, refused }
    }
}

/// The streams that leave an orchestrator. Both have records on worker 0 only.
#[allow(missing_debug_implementations, reason = "streams are not Debug")]
pub struct OrchestratorStreams<'scope, T: Epoch> {
    /// What to do `lead` epochs after the time of the message.
    pub commands: StreamVec<'scope, T, Command>,
    /// What was seen and decided.
    pub events: StreamVec<'scope, T, EpochEvent>,
}

/// Gathers the reports of all workers on worker 0, and asks the orchestrator once per complete epoch.
///
/// `outcomes` brings what became of checkpoints; only its content counts, not its time.
pub fn orchestrate<'scope, T: Epoch>(
    reports: StreamVec<'scope, T, Report>,
    outcomes: StreamVec<'scope, T, CheckpointEvent>,
    mut orchestrator: Orchestrator,
) -> OrchestratorStreams<'scope, T> {
    let scope = reports.scope();
    let worker = scope.index();
    let mut builder = OperatorBuilder::new("Orchestrate".to_owned(), scope);
    let (commands, commands_stream) = builder.new_output();
    let (events, events_stream) = builder.new_output();
    let (mut commands, mut events) = (OutputBuilder::from(commands), OutputBuilder::from(events));
    let same = || Antichain::from_elem(T::Summary::default());
    let pact = Exchange::new(|_: &Report| 0);
    let mut reports = builder.new_input_connection(reports, pact, [(COMMANDS, same()), (EVENTS, same())]);
    let mut outcomes = builder.new_input_connection(outcomes, Pipeline, []);
    builder.build(move |initial| {
        let mut known = if worker == 0 { known_messages(&orchestrator, &initial[COMMANDS]) } else { Vec::new() };
        drop(initial);
        let mut open: Pending<T, Vec<Report>, (Capability<T>, Capability<T>)> = Pending::new();
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
                let decision = orchestrator.decide(at.number(), reports, seconds);
                commands.session(&command).give_iterator(decision.commands.into_iter());
                events.session(&event).give(decision.event);
            }
        }
    });
    OrchestratorStreams { commands: commands_stream, events: events_stream }
}

/// The known commands, each with what entitles to send them so early that the lead brings them to their boundary.
fn known_messages<T: Epoch>(
    orchestrator: &Orchestrator,
    initial: &Capability<T>,
) -> Vec<(Capability<T>, Vec<Command>)> {
    let early = |boundary: u64| T::from_number(boundary.checked_sub(orchestrator.lead)?);
    let message =
        |(boundary, commands): (&u64, &Vec<Command>)| Some((initial.delayed(&early(*boundary)?), commands.clone()));
    orchestrator.known.iter().filter_map(message).collect()
}
