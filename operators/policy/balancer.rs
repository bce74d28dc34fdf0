use std::collections::BTreeMap;

use super::fold::Folds;
use super::foresight::Foresight;
use super::loads::Loads;
use super::scale::Scale;
use super::{FoldedKey, PolicyConfig, View};
use crate::error::Error;
use crate::keyspace::Command;
use crate::planning::{Draft, Limits, Measure, Planner, ShardLoad, Step, commands_for};
use crate::profile::health;

/// The trust from which what is foreseen is reason enough to act, and a forecast of all records is believed.
const TRUSTED: f64 = 0.5;

/// What a record costs that a gate folds, for one that is applied to a state: 0.4 to 0.5 was measured.
const FOLDED: f64 = 0.5;

/// Turns load, that was or is foreseen, into commands: what the policies that balance have in common.
#[derive(Clone, Debug)]
pub(crate) struct Balancer {
    config: PolicyConfig,
    folds: Folds,
    loads: Loads,
    scale: Scale,
    foresight: Option<Foresight>,
    /// Records of the newest epoch that gates have folded of keys which they found hot themselves. A gate that finds a
    /// key again folds it again, so that they are no load of a shard to come.
    found: f64,
    /// Epochs over which the rest of the plan in course is to be spread.
    window_left: u64,
}

/// What the workers can do, and what each has to do besides its shards.
struct Crew {
    /// 0 for a worker that is not in use.
    capacities: Vec<f64>,
    /// What records of folded keys cost each, in records.
    evenly: f64,
}

impl Balancer {
    /// One with this configuration, if it is valid, that looks ahead or doesn't.
    pub(crate) fn new(config: PolicyConfig, looks_ahead: bool) -> Result<Self, Error> {
        config.validate()?;
        let foresight = looks_ahead.then(|| Foresight::new(config.prediction_horizon));
        let (folds, loads, scale) = (Folds::default(), Loads::default(), Scale::default());
        Ok(Balancer { config, folds, loads, scale, foresight, found: 0.0, window_left: 0 })
    }

    /// Refuses a configuration that does not fit so many workers. No commands are known before the run.
    pub(crate) fn known(&self, workers: usize) -> Result<BTreeMap<u64, Vec<Command>>, Error> {
        self.config.validate_for(workers)?;
        Ok(BTreeMap::new())
    }

    /// The commands for the view's boundary.
    pub(crate) fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        let PolicyConfig { prediction_horizon: horizon, move_cost, max_shards, migration_window, .. } = self.config;
        let records = self.look(view);
        let foreseen = self.foresight.iter().flat_map(Foresight::keys);
        let commands = self.folds.decide(view, self.config.fold_share, foreseen);
        let mut shards = self.loads.observe(view, &self.folds.keys());
        let crew = self.crew(view, records);
        if crew.is_to_leave_shards(self.loads.owned()) {
            shards = self.loads.shards(&view.assignment.iter().collect::<Vec<_>>());
        }
        let fair = crew.fair(&shards);
        let mut draft = Draft { owners: Vec::new(), others: view.assignment.len() - shards.len(), commands };
        let limits = Limits::new(max_shards, migration_window, horizon, move_cost, &shards, fair);
        let is_due = self.is_due(&shards, &crew);

        draft.merge_cold(&shards, |range| self.loads.home(range), &limits);
        self.update(&mut shards, &draft);
        if draft.wants_room(&shards, &limits, is_due) {
            draft.list_all(view.assignment);
            self.update(&mut shards, &draft);
            draft.make_room(&shards, &limits, is_due);
            self.update(&mut shards, &draft);
        }
        if !is_due {
            self.window_left = 0;
            return draft.commands;
        }
        draft.split_hot(&shards, |range| self.loads.points(range), &limits);
        self.update(&mut shards, &draft);
        let Crew { capacities, evenly } = crew;
        let (min_relief, overhead, error) = (Planner::MIN_RELIEF, Planner::OVERHEAD, self.error());
        let planner =
            Planner { capacities, evenly, min_relief, overhead, horizon, move_cost, error, ..Planner::new(0) };
        let plan = planner.plan(&shards, &self.loads.likelihood(), |_| Vec::new());
        draft.commands.extend(commands_for(self.share(&plan.steps, &shards)));
        draft.commands
    }

    /// Takes in where the load of the newest epoch lay, and looks ahead. Gives the epoch's records.
    fn look(&mut self, view: &View<'_>) -> f64 {
        let told = |f: &FoldedKey| f.key.filter(|key| view.assignment.is_folded(*key)).map(|key| (key, f.records));
        self.found = view.folded.iter().filter(|f| told(f).is_none()).map(|f| f.records as f64).sum();
        let folded: Vec<(u64, u64)> = view.folded.iter().filter_map(told).collect();
        let seen = Measure::of(view.profiles, &folded, view.assignment.workers());
        let records = seen.total() + self.found;
        let Some(foresight) = &mut self.foresight else {
            self.loads.remember(seen);
            return records;
        };
        self.loads.remember(seen.clone());
        let usual = self.loads.usual();
        foresight.observe(view, &seen, &usual);
        self.loads.foresee(foresight.scenarios(&usual));
        records
    }

    fn crew(&mut self, view: &View<'_>, records: f64) -> Crew {
        let workers = view.assignment.workers();
        let evenly = FOLDED * (self.loads.folded() + self.found) / workers as f64;
        let foreseen = self.foresight.as_ref().filter(|f| f.total_trust() >= TRUSTED).map_or(&[][..], Foresight::total);
        let bytes = || self.loads.bytes_by_worker();
        let capacities = self.scale.capacities(view, &self.config, records, foreseen, bytes);
        Crew { capacities, evenly }
    }

    /// How wrong the forecast of the shards' part of the records has been, in [0, 2].
    fn error(&self) -> f64 {
        self.loads.error() * self.foresight.as_ref().map_or(1.0, Foresight::relative_error)
    }

    /// Whether a worker is expected to be overloaded, soon, or, where that is to be believed, in one of the epochs
    /// foreseen; or is to be put in or out of use.
    fn is_due(&self, shards: &[ShardLoad], crew: &Crew) -> bool {
        let threshold = self.config.health_threshold;
        let foreseen = if self.loads.trust() >= TRUSTED { self.config.prediction_horizon } else { 0 };
        crew.is_overloaded(shards, |shard| shard.load, threshold)
            || (0..foreseen)
                .any(|ahead| crew.is_overloaded(shards, |shard| self.loads.foreseen(shard)[ahead], threshold))
            || self.config.min_workers.is_some() && crew.is_to_change(self.loads.owned())
    }

    /// Brings the shards up to date with the draft.
    fn update(&self, shards: &mut Vec<ShardLoad>, draft: &Draft) {
        if !draft.owners.iter().copied().eq(shards.iter().map(|s| (s.range, s.owner))) {
            *shards = self.loads.shards(&draft.owners);
        }
    }

    /// The part of a plan for these shards that is to be carried out now.
    fn share<'a>(&mut self, plan: &'a [Step], shards: &[ShardLoad]) -> &'a [Step] {
        if plan.is_empty() {
            self.window_left = 0;
            return plan;
        }
        if self.window_left == 0 {
            self.window_left = self.config.migration_window;
        }
        let now = (plan.len() as u64).div_ceil(self.window_left) as usize;
        self.window_left -= 1;
        let bytes = |step: &Step| {
            let index = shards.partition_point(|shard| shard.range.start() < step.shard.start());
            shards.get(index).map_or(0.0, |shard| shard.bytes)
        };
        let mut room = self.config.migration_bytes as f64;
        let fits = plan[..now].iter().take_while(|step| {
            room -= bytes(step);
            room >= 0.0
        });
        &plan[..fits.count().max(1)]
    }
}

impl Crew {
    fn in_use(&self) -> impl Iterator<Item = (usize, f64)> {
        self.capacities.iter().copied().enumerate().filter(|(_, capacity)| *capacity > 0.0)
    }

    /// What a worker in use has on average, folded keys included.
    fn fair(&self, shards: &[ShardLoad]) -> f64 {
        self.evenly + shards.iter().map(|s| s.load).sum::<f64>() / self.in_use().count() as f64
    }

    /// Whether one that is not in use owns shards, each worker owning so many.
    fn is_to_leave_shards(&self, owned: &[usize]) -> bool {
        self.capacities.iter().zip(owned).any(|(capacity, owned)| *capacity == 0.0 && *owned > 0)
    }

    /// Whether one that is not in use owns shards, or one that is in use owns none.
    fn is_to_change(&self, owned: &[usize]) -> bool {
        self.capacities.iter().zip(owned).any(|(capacity, owned)| (*owned > 0) != (*capacity > 0.0))
    }

    /// Whether a worker would have so much more than its part by capacity that its health is under the threshold.
    fn is_overloaded(&self, shards: &[ShardLoad], load: impl Fn(&ShardLoad) -> f64, threshold: f64) -> bool {
        let mut carried = vec![self.evenly; self.capacities.len()];
        let mut total = self.evenly * self.in_use().count() as f64;
        for shard in shards {
            carried[shard.owner] += load(shard);
            total += load(shard);
        }
        let per_capacity = total / self.capacities.iter().sum::<f64>();
        self.in_use().any(|(worker, capacity)| health(carried[worker], capacity * per_capacity) < threshold)
    }
}
