//! Deciding for all key spaces of a loop. Pure: it knows nothing of timely, and of time only what it is told.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::clock::CheckpointClock;
use super::director::{Director, Held, Seen, ShardReports};
use crate::checkpoint::{Observation, REQUESTED, Trigger};
use crate::keyed::Report;
use crate::keyspace::{Assignment, Command};
use crate::observe::{CheckpointEvent, EpochEvent};
use crate::policy::Policy;

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

/// Decides, epoch by epoch, for one or more key spaces.
#[allow(missing_debug_implementations, reason = "policies are not Debug")]
pub struct Orchestrator {
    lead: u64,
    spaces: Vec<Director>,
    /// The key space of each operator.
    operators: Vec<usize>,
    checkpoints: Option<CheckpointClock>,
    /// The last boundary of a checkpoint of which it is known what became.
    settled: Option<u64>,
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
        Orchestrator { lead, spaces, operators, checkpoints: None, settled: None }
    }

    /// The commands that were known before the run, with the epochs that have to be complete first.
    pub(super) fn known(&self) -> impl Iterator<Item = (u64, Vec<Addressed>)> {
        let of_space = |(space, director): (usize, &Director)| {
            let addressed = move |command: &Command| Addressed { space, command: command.clone() };
            let message = |(boundary, commands): (&u64, &Vec<Command>)| {
                Some((boundary.checked_sub(self.lead)?, commands.iter().map(addressed).collect()))
            };
            director.known.iter().filter_map(message).collect::<Vec<_>>()
        };
        self.spaces.iter().enumerate().flat_map(of_space)
    }

    /// Decides on checkpoints too, by `trigger`. It is told what arrivals are forecast.
    pub fn decide_checkpoints(&mut self, trigger: Trigger) {
        self.checkpoints = Some(CheckpointClock::new(trigger));
    }

    /// Learns what became of a checkpoint.
    pub fn note_checkpoint(&mut self, checkpoint: &CheckpointEvent) {
        self.settled = self.settled.max(Some(checkpoint.epoch));
        self.checkpoints.iter_mut().for_each(|clock| clock.note_checkpoint(checkpoint));
    }

    /// What is to be commanded `lead` epochs after `epoch`, given what all workers have seen in it, with the indices of
    /// the operators that report; `seconds` lie between the completion of the epoch before and that of this one.
    pub fn decide(&mut self, epoch: u64, reports: Vec<(usize, Report)>, seconds: f64) -> Decision {
        let boundary = epoch.saturating_add(self.lead);
        let requested = reports.iter().any(|(_, report)| matches!(report, Report::CheckpointRequested));
        // State that has moved is no reason to move any: the loop would go on when all inputs have ended.
        let has_moved = |(_, report): &(usize, Report)| matches!(report, Report::Moved { .. });
        let ask = reports.is_empty() || !reports.iter().all(has_moved);
        let seen = self.by_space(epoch, reports);
        self.note_restored(&seen);
        self.note_busy(&seen);
        let known_checkpoints = self.known_checkpoints(boundary);
        let known: Vec<_> = self.spaces.iter_mut().map(|space| space.catch_up(boundary)).collect();
        let decided = self.spaces.iter_mut().zip(seen).map(|(space, seen)| space.decide((epoch, boundary), seen, ask));
        let mut events: Vec<EpochEvent> = decided.collect();
        self.consider_checkpoint(&mut events, seconds, requested, &known_checkpoints);
        let of_space = |(space, event): (usize, &EpochEvent)| {
            event.commands.clone().into_iter().map(move |command| Addressed { space, command })
        };
        let commands = events.iter().enumerate().flat_map(of_space).collect();
        // Those have been sent at the start: events show them, and they are not sent again.
        for (event, known) in events.iter_mut().zip(known) {
            event.commands.splice(0..0, known.accepted);
            event.refused.extend(known.refused);
        }
        Decision { commands, events }
    }

    /// The reports of an epoch by key space.
    fn by_space(&self, epoch: u64, reports: Vec<(usize, Report)>) -> Vec<Seen> {
        let mut seen: Vec<Seen> = self.spaces.iter().map(|_| Seen::default()).collect();
        for (operator, report) in reports {
            let Some(seen) = self.operators.get(operator).and_then(|space| seen.get_mut(*space)) else { continue };
            match report {
                Report::Shards(shards) => seen.shards.push((operator, ShardReports::Described(shards))),
                Report::Counted(counted) => seen.shards.push((operator, ShardReports::Counted(counted))),
                Report::Moved { bytes, .. } => seen.moved_bytes += bytes,
                Report::Folded { worker, key, records } => seen.folded.push((worker, key, records)),
                Report::Holds { worker, keys, bytes, unsaved_bytes } => {
                    seen.states.push(((operator, worker), Held { epoch, keys, bytes, unsaved_bytes }));
                }
                Report::Restored { bytes, nanos, .. } => seen.restored.push((bytes, nanos)),
                Report::CheckpointRequested => {}
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
        for (_, told) in seen.iter().flat_map(|seen| &seen.shards) {
            records += told.records().map(|(_, records)| records).sum::<u64>();
            if let ShardReports::Described(shards) = told {
                shards.iter().for_each(|shard| *busy.entry(shard.worker).or_default() += shard.statistics.busy_nanos());
            }
        }
        trigger.speeds_mut().replayed(records, busy.into_values().max().unwrap_or(0) as f64 * 1e-9);
    }

    /// The boundaries up to this one that have a checkpoint which was known before the run, and of which nobody knows yet
    /// what became.
    fn known_checkpoints(&self, boundary: u64) -> BTreeSet<u64> {
        let known = self.spaces.iter().flat_map(|space| space.known.range(..=boundary));
        let open = known.filter(|(at, commands)| Some(**at) > self.settled && commands.contains(&Command::Checkpoint));
        open.map(|(at, _)| *at).collect()
    }

    /// Sees to it that a checkpoint is taken in all key spaces or none, and asks the trigger for one if the program has
    /// not.
    fn consider_checkpoint(&mut self, events: &mut [EpochEvent], seconds: f64, requested: bool, known: &BTreeSet<u64>) {
        let mut wanted = events.iter().any(|event| event.commands.contains(&Command::Checkpoint));
        if let (Some(clock), Some(EpochEvent { epoch, boundary, .. })) = (&mut self.checkpoints, events.first()) {
            let records = events.iter().map(|event| event.records).sum();
            let forecast = clock.forecast(records);
            let state_bytes = events.iter().map(|event| event.state_bytes).sum();
            let observation = Observation { epoch: *epoch, records, seconds, state_bytes };
            known.iter().for_each(|boundary| clock.trigger.commanded(*boundary));
            let mut reason = clock.trigger.decide(&observation, &forecast, *boundary).map(|reason| reason.to_string());
            if requested {
                reason = Some(REQUESTED.to_owned());
            }
            if requested || wanted {
                clock.trigger.commanded(*boundary);
            }
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
        let is_known = events.first().is_some_and(|event| known.contains(&event.boundary));
        if (wanted || is_known) && self.decide_save_all(events) {
            events.iter_mut().for_each(|event| event.commands.push(Command::SaveAll));
        }
    }

    /// Decides whether the checkpoint at the boundary of these events saves all.
    fn decide_save_all(&mut self, events: &[EpochEvent]) -> bool {
        let (Some(clock), Some(first)) = (&mut self.checkpoints, events.first()) else { return false };
        let state_bytes = events.iter().map(|event| event.state_bytes).sum();
        let unsaved_bytes = |since| self.spaces.iter().map(|space| space.unsaved_bytes(since)).sum();
        clock.decide_save_all(first.boundary, state_bytes, unsaved_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::CheckpointConfig;
    use crate::orchestrate::clock::RELEARN_AFTER;
    use crate::policy::{Policy, Static, View};

    /// For two workers. A checkpoint is taken only if it is asked for.
    fn orchestrator(lead: u64) -> Orchestrator {
        let initial = Assignment::even(4, 2).unwrap();
        let space =
            Space { name: "keys".into(), initial, policy: Box::new(Static), known: BTreeMap::new(), can_fold: false };
        let mut orchestrator = Orchestrator::new(vec![space], vec![0], lead, 4);
        let config = CheckpointConfig { trigger: "every:1000".parse().unwrap(), ..CheckpointConfig::default() };
        orchestrator.decide_checkpoints(Trigger::new(&config, 0).unwrap());
        orchestrator
    }

    /// One that knows that a key takes 100 bytes, and one that changes so many.
    fn told(lead: u64, changed: u64) -> Orchestrator {
        let mut orchestrator = orchestrator(lead);
        orchestrator.note_checkpoint(&durable(1, 100, 0));
        orchestrator.note_checkpoint(&durable(2, changed, 1));
        orchestrator
    }

    fn durable(epoch: u64, bytes: u64, generations: usize) -> CheckpointEvent {
        CheckpointEvent {
            epoch,
            reason: String::new(),
            bytes,
            saved_keys: 1,
            keys: 1,
            generations,
            seconds: 1.0,
            error: None,
            retention_error: None,
            merge_error: None,
        }
    }

    /// What is commanded when a checkpoint is asked for, and workers hold so many bytes, so many of them unsaved.
    fn asked(orchestrator: &mut Orchestrator, epoch: u64, holds: &[(usize, u64, u64)]) -> Vec<Command> {
        let of = |&(worker, bytes, unsaved_bytes)| (0, Report::Holds { worker, keys: bytes, bytes, unsaved_bytes });
        let reports = holds.iter().map(of).chain([(0, Report::CheckpointRequested)]).collect();
        orchestrator.decide(epoch, reports, 1.0).commands.into_iter().map(|addressed| addressed.command).collect()
    }

    const SAVE_ALL: [Command; 2] = [Command::Checkpoint, Command::SaveAll];

    #[test]
    fn all_is_saved_where_nearly_all_has_changed_on_all_workers() {
        for (holds, expected) in [
            (&[(0, 100, 95), (1, 100, 95)][..], &SAVE_ALL[..]),
            (&[(0, 100, 100), (1, 100, 90)], &SAVE_ALL),
            (&[(0, 100, 100), (1, 100, 80)], &SAVE_ALL[..1]),
            (&[(0, 100, 100), (1, 1000, 0)], &SAVE_ALL[..1]),
            // Most have changed in that they are gone.
            (&[(0, 10, 500), (1, 0, 0)], &SAVE_ALL),
            (&[(0, 0, 0)], &SAVE_ALL[..1]),
            (&[], &SAVE_ALL[..1]),
        ] {
            assert_eq!(asked(&mut told(1, 95), 7, holds), expected, "{holds:?}");
        }
    }

    #[test]
    fn all_is_saved_only_where_keys_that_change_are_as_long_as_others() {
        let holds = &[(0, 100, 100)];
        for (mut orchestrator, expected) in
            [(orchestrator(1), &SAVE_ALL[..1]), (told(1, 89), &SAVE_ALL[..1]), (told(1, 90), &SAVE_ALL)]
        {
            assert_eq!(asked(&mut orchestrator, 7, holds), expected);
        }
        let mut orchestrator = told(1, 100);
        for epoch in 5..4 + u64::from(RELEARN_AFTER) {
            orchestrator.note_checkpoint(&durable(epoch, 100, 0));
            assert_eq!(asked(&mut orchestrator, epoch, holds), SAVE_ALL);
        }
        orchestrator.note_checkpoint(&durable(90, 100, 0));
        assert_eq!(asked(&mut orchestrator, 91, holds), SAVE_ALL[..1]);
        orchestrator.note_checkpoint(&durable(92, 40, 1));
        assert_eq!(asked(&mut orchestrator, 93, holds), SAVE_ALL[..1]);
    }

    /// Asks for a checkpoint after the third epoch.
    struct Once;

    impl Policy for Once {
        fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
            if view.epoch == 3 { vec![Command::Checkpoint] } else { Vec::new() }
        }
    }

    #[test]
    fn a_trigger_knows_of_checkpoints_that_the_policy_or_a_script_commands() {
        let scripted = BTreeMap::from([(4, vec![Command::Checkpoint])]);
        // All epochs, and some.
        for (policy, known, epochs) in [
            (Box::new(Once) as Box<dyn Policy>, BTreeMap::new(), (0..20).collect::<Vec<_>>()),
            (Box::new(Static), scripted.clone(), (0..20).collect()),
            (Box::new(Static), scripted, [0, 1].into_iter().chain(9..20).collect()),
        ] {
            let initial = Assignment::even(4, 2).unwrap();
            let space = Space { name: "keys".into(), initial, policy, known, can_fold: false };
            let mut orchestrator = Orchestrator::new(vec![space], vec![0], 1, 4);
            let config = CheckpointConfig { trigger: "every:10".parse().unwrap(), ..CheckpointConfig::default() };
            orchestrator.decide_checkpoints(Trigger::new(&config, 0).unwrap());
            let mut boundaries = Vec::new();
            for epoch in epochs {
                let Decision { events, .. } = orchestrator.decide(epoch, Vec::new(), 1.0);
                let taken = events.iter().filter(|event| event.commands.contains(&Command::Checkpoint));
                boundaries.extend(taken.map(|event| event.boundary));
            }
            assert!(boundaries.len() == 2 && boundaries[1] == 14, "{boundaries:?}");
        }
    }

    #[test]
    fn a_known_checkpoint_that_is_over_before_the_next_decision_is_not_in_flight() {
        for error in [None, Some("the disk is full".to_owned())] {
            let mut orchestrator = orchestrator(2);
            orchestrator.spaces[0].known.insert(10, vec![Command::Checkpoint]);
            orchestrator.decide(3, Vec::new(), 1.0);
            orchestrator.note_checkpoint(&CheckpointEvent { error, ..durable(10, 100, 0) });
            orchestrator.decide(12, Vec::new(), 1.0);
            assert_eq!(orchestrator.checkpoints.as_ref().unwrap().trigger.in_flight(), 0);
        }
    }

    #[test]
    fn what_the_last_checkpoint_may_have_saved_since_it_was_told_does_not_count() {
        let mut orchestrator = told(2, 100);
        assert_eq!(asked(&mut orchestrator, 3, &[(0, 100, 100), (1, 100, 100)]), SAVE_ALL);
        // Told before the boundary at 5.
        assert_eq!(asked(&mut orchestrator, 4, &[(0, 100, 100), (1, 100, 100)]), SAVE_ALL[..1]);
        // Since the one at 6 the other worker has seen no record.
        assert_eq!(asked(&mut orchestrator, 6, &[(0, 100, 100)]), SAVE_ALL[..1]);
        assert_eq!(asked(&mut orchestrator, 9, &[(0, 100, 100), (1, 100, 100)]), SAVE_ALL);
    }
}
