use super::fold::Folds;
use super::loads::Loads;
use super::{Policy, PolicyConfig, View};
use crate::error::Error;
use crate::keyspace::Command;
use crate::planning::{Draft, Limits, Planner, ShardLoad, Step, commands_for};
use crate::profile::health;

/// Rebalances once a worker is overloaded.
///
/// Each epoch, neighbours that have long been cold are merged. When the health of a worker is expected to fall under
/// `health_threshold`, shards that carry much are split at the median of their load, down to single keys, so that
/// they can be moved apart and are profiled apart; and shards move to workers with room, as long as that pays. A
/// plan's moves are spread over `migration_window` epochs; what remains of it is planned anew each epoch, from what is
/// known then.
///
/// A key from which a worker would have `fold_share` of its fair share is folded where the view says that keys can be:
/// decided from the newest epoch alone, before all else, so that nothing is planned for its load. It is unfolded when
/// it has long been light. Where keys can't be folded, one that no worker can carry gets a shard of its own, is
/// relieved of its neighbours, and stays.
#[derive(Clone, Debug)]
pub struct Reactive {
    config: PolicyConfig,
    folds: Folds,
    loads: Loads,
    /// Epochs over which the rest of the plan in course is to be spread.
    window_left: u64,
}

impl Reactive {
    /// A policy with this configuration, if it is valid.
    pub fn new(config: PolicyConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Reactive { config, folds: Folds::default(), loads: Loads::default(), window_left: 0 })
    }

    /// Whether a worker is expected to be overloaded, each having records of folded keys that come to it `evenly`.
    fn is_due(&self, shards: &[ShardLoad], fair: f64, evenly: f64, workers: usize) -> bool {
        let mut carried = vec![evenly; workers];
        shards.iter().for_each(|s| carried[s.owner] += s.load);
        carried.iter().any(|load| health(*load, fair) < self.config.health_threshold)
    }

    /// Brings the shards up to date with the draft.
    fn update(&self, shards: &mut Vec<ShardLoad>, draft: &Draft) {
        if !draft.owners.iter().copied().eq(shards.iter().map(|s| (s.range, s.owner))) {
            *shards = self.loads.shards(&draft.owners, self.config.prediction_horizon);
        }
    }

    /// The part of a plan that is to be carried out now.
    fn share<'a>(&mut self, plan: &'a [Step]) -> &'a [Step] {
        if plan.is_empty() {
            self.window_left = 0;
            return plan;
        }
        if self.window_left == 0 {
            self.window_left = self.config.migration_window;
        }
        let now = (plan.len() as u64).div_ceil(self.window_left) as usize;
        self.window_left -= 1;
        &plan[..now]
    }
}

impl Policy for Reactive {
    fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        let PolicyConfig { prediction_horizon: horizon, move_cost, max_shards, migration_window, .. } = self.config;
        let workers = view.assignment.workers();
        let commands = self.folds.decide(view, self.config.fold_share);
        let mut shards = self.loads.observe(view, &self.folds.keys(), horizon);
        let evenly = self.loads.folded(horizon) / workers as f64;
        let fair = evenly + shards.iter().map(|s| s.load).sum::<f64>() / workers as f64;
        let mut draft = Draft { owners: view.assignment.iter().collect(), commands };
        let limits = Limits::new(max_shards, migration_window, horizon, move_cost, &shards, fair);
        let is_due = self.is_due(&shards, fair, evenly, workers);

        draft.merge_cold(&shards, |range| self.loads.home(range), &limits);
        self.update(&mut shards, &draft);
        draft.make_room(&shards, &limits, is_due);
        self.update(&mut shards, &draft);
        if !is_due {
            self.window_left = 0;
            return draft.commands;
        }
        draft.split_hot(&shards, |range| self.loads.points(range), &limits);
        self.update(&mut shards, &draft);
        let planner = Planner {
            evenly,
            min_relief: Planner::MIN_RELIEF,
            overhead: Planner::OVERHEAD,
            horizon,
            move_cost,
            error: self.loads.error(),
            ..Planner::new(workers)
        };
        let plan = planner.plan(&shards, &self.loads.likelihood(), |_| Vec::new());
        draft.commands.extend(commands_for(self.share(&plan.steps)));
        draft.commands
    }
}
