//! Deciding for one key space. Pure.

use std::collections::BTreeMap;

use super::orchestrator::Space;
use crate::forecast::{Exponential, Forecaster};
use crate::keyspace::{Applied, Assignment, Command, RoutingError};
use crate::observe::EpochEvent;
use crate::policy::{FoldedKey, Policy, Sight, View};
use crate::profile::{CountedShards, Rolling, ShardEpoch, join_parts};

/// Half the weight on the newest epoch: arrivals are smoothed only against chance.
const ARRIVALS_ALPHA: f64 = 0.5;

/// What the operators of a key space have told of an epoch.
#[derive(Default)]
pub(super) struct Seen {
    /// By operator, each worker's in the order in which it has told them.
    pub shards: Vec<(usize, ShardReports)>,
    /// Records of folded keys, by worker and routing key, if that is told.
    pub folded: Vec<(usize, Option<u64>, u64)>,
    pub moved_bytes: u64,
    /// By operator and worker.
    pub states: Vec<((usize, usize), Held)>,
    /// Bytes and nanoseconds of each chunk.
    pub restored: Vec<(u64, u64)>,
}

/// What a worker reports of some shards at a time.
pub(super) enum ShardReports {
    Described(Vec<ShardEpoch>),
    /// Shards whose records were only counted.
    Counted(CountedShards),
}

impl ShardReports {
    /// Records by worker.
    pub fn records(&self) -> impl Iterator<Item = (usize, u64)> {
        let (described, counted) = match self {
            ShardReports::Described(shards) => (&shards[..], None),
            ShardReports::Counted(counted) => (&[][..], Some((counted.worker, counted.records))),
        };
        described.iter().map(|shard| (shard.worker, shard.statistics.records())).chain(counted)
    }
}

/// What an operator holds on a worker.
pub(super) struct Held {
    /// The epoch at whose end it does.
    pub epoch: u64,
    pub keys: u64,
    pub bytes: u64,
    /// Bytes that have changed since the last snapshot before.
    pub unsaved_bytes: u64,
}

/// Decides for one key space.
pub(super) struct Director {
    name: String,
    /// As it will be after all commands given so far.
    assignment: Assignment,
    /// By worker, whether it owns shards then.
    owning: Vec<bool>,
    policy: Box<dyn Policy>,
    /// Commands known before the run that are not in the assignment yet, by boundary.
    pub known: BTreeMap<u64, Vec<Command>>,
    can_fold: bool,
    /// None if the policy doesn't look at profiles.
    rolling: Option<Rolling>,
    arrivals: Exponential,
    /// The state of each operator on each worker, as last heard of.
    states: BTreeMap<(usize, usize), Held>,
}

/// Commands that are in the assignment now, and those that could not be carried out.
#[derive(Default)]
pub(super) struct Accepted {
    pub accepted: Vec<Command>,
    pub refused: Vec<(Command, RoutingError)>,
}

impl Director {
    pub fn new(space: Space, window: usize) -> Self {
        let Space { name, initial, policy, known, can_fold } = space;
        let window = match policy.sight() {
            Sight::Nothing => None,
            Sight::Epoch => Some(1),
            Sight::Window => Some(window),
        };
        let rolling = window.map(|window| Rolling::new(window, initial.workers()));
        let arrivals = Exponential::new(ARRIVALS_ALPHA);
        let owning = initial.owning();
        Director {
            name,
            assignment: initial,
            owning,
            policy,
            known,
            can_fold,
            rolling,
            arrivals,
            states: BTreeMap::new(),
        }
    }

    /// What is decided from an epoch for a boundary; nothing, unless the policy is to be asked.
    pub fn decide(&mut self, (epoch, boundary): (u64, u64), seen: Seen, ask: bool) -> EpochEvent {
        let Seen { shards: told, folded, moved_bytes, states, .. } = seen;
        let workers = self.assignment.workers();
        self.states.extend(states);
        // A worker that has given all away tells of nothing any more, once the boundary has come.
        let lead = boundary - epoch;
        let owns = |worker: usize| self.owning.get(worker).is_none_or(|owns| *owns);
        self.states.retain(|(_, worker), held| owns(*worker) || epoch <= held.epoch + lead);
        let of_shards = told.iter().flat_map(|(_, told)| told.records());
        let of_folded = folded.iter().map(|(worker, _, records)| (*worker, *records));
        let mut loads = vec![0; workers];
        for (worker, records) in of_shards.chain(of_folded).filter(|(worker, _)| *worker < workers) {
            loads[worker] += records;
        }
        let records = loads.iter().sum();
        let forecast = self.arrivals.forecast(1);
        self.arrivals.observe(records as f64);
        let shards = if self.rolling.is_some() { reports(told, workers) } else { Vec::new() };
        let Accepted { accepted: commands, refused } =
            if ask { self.consult((epoch, boundary), records, shards, &folded) } else { Accepted::default() };
        EpochEvent {
            space: self.name.clone(),
            epoch,
            records,
            loads,
            keys: self.states.values().map(|held| held.keys).sum(),
            state_bytes: self.states.values().map(|held| held.bytes).sum(),
            moved_bytes,
            forecast: forecast.is_sure().then_some(forecast.mean),
            boundary,
            commands,
            refused,
            checkpoint: None,
            recovery_seconds: None,
        }
    }

    /// Bytes that have changed since the snapshot at a boundary, as far as that has been told since.
    pub fn unsaved_bytes(&self, boundary: u64) -> u64 {
        self.states.values().filter(|held| held.epoch >= boundary).map(|held| held.unsaved_bytes).sum()
    }

    /// Asks the policy, and keeps of its commands those that can be carried out.
    fn consult(
        &mut self,
        (epoch, boundary): (u64, u64),
        records: u64,
        shards: Vec<ShardEpoch>,
        folded: &[(usize, Option<u64>, u64)],
    ) -> Accepted {
        let rolling = self.rolling.as_mut();
        let profiles = rolling.map_or(Vec::new(), |rolling| rolling.advance_part(epoch, shards, records));
        let mut sums: BTreeMap<Option<u64>, u64> = BTreeMap::new();
        folded.iter().for_each(|(_, key, records)| *sums.entry(*key).or_default() += records);
        let folded: Vec<FoldedKey> = sums.into_iter().map(|(key, records)| FoldedKey { key, records }).collect();
        let (assignment, can_fold) = (&self.assignment, self.can_fold);
        let view = View { epoch, boundary, assignment, profiles: &profiles, can_fold, folded: &folded };
        let wanted = self.policy.decide(&view);
        self.accept(wanted)
    }

    /// Takes the known commands up to a boundary into the assignment, and gives them.
    pub fn catch_up(&mut self, boundary: u64) -> Accepted {
        let later = self.known.split_off(&boundary.saturating_add(1));
        let known = std::mem::replace(&mut self.known, later).into_values().flatten().collect();
        self.accept(known)
    }

    /// Takes into the assignment those of these commands that can be carried out.
    fn accept(&mut self, commands: Vec<Command>) -> Accepted {
        if commands.is_empty() {
            return Accepted::default();
        }
        let (unable, commands): (Vec<_>, Vec<_>) =
            commands.into_iter().partition(|command| !self.can_fold && matches!(command, Command::Fold { .. }));
        let Applied { assignment, accepted, mut refused } = self.assignment.apply_valid(commands);
        refused.extend(unable.into_iter().filter_map(|command| match command {
            Command::Fold { key } => Some((command, RoutingError::NoMerge { key })),
            _ => None,
        }));
        self.assignment = assignment;
        if accepted.iter().any(|command| matches!(command, Command::Move { .. })) {
            self.owning = self.assignment.owning();
        }
        Accepted { accepted, refused }
    }
}

/// One report per operator, worker and shard, of no worker that the assignment does not know.
fn reports(told: Vec<(usize, ShardReports)>, workers: usize) -> Vec<ShardEpoch> {
    let mut operators: BTreeMap<usize, Vec<ShardEpoch>> = BTreeMap::new();
    for (operator, told) in told {
        let reports = operators.entry(operator).or_default();
        match told {
            ShardReports::Described(shards) => reports.extend(shards),
            ShardReports::Counted(counted) => reports.extend(counted.into_reports()),
        }
    }
    operators.values_mut().for_each(|reports| {
        reports.retain(|report| report.worker < workers);
        join_parts(reports);
    });
    operators.into_values().flatten().collect()
}
