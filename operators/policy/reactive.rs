use super::loads::{Loads, Shard};
use super::plan::{Planner, Step};
use super::shape::{Draft, grain};
use super::{Policy, PolicyConfig, View};
use crate::error::Error;
use crate::keyspace::Command;
use crate::profile::health;

/// Rebalances once a worker is overloaded.
///
/// Each epoch, neighbours that have long been cold are merged. When the health of a worker is expected to fall under
/// `health_threshold`, shards that carry much are split at the median of their load, down to single keys, so that
/// they can be moved apart and are profiled apart; and shards move to workers with room, as long as that pays. A
/// plan's moves are spread over `migration_window` epochs; what remains of it is planned anew each epoch, from what is
/// known then. A key that no worker can carry gets a shard of its own, is relieved of its neighbours, and stays.
#[derive(Clone, Debug)]
pub struct Reactive {
    config: PolicyConfig,
    loads: Loads,
    /// Epochs over which the rest of the plan in course is to be spread.
    window_left: u64,
}

impl Reactive {
    /// A policy with this configuration, if it is valid.
    pub fn new(config: PolicyConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Reactive { config, loads: Loads::default(), window_left: 0 })
    }

    /// Whether a worker is expected to be overloaded.
    fn is_due(&self, shards: &[Shard], workers: usize) -> bool {
        let mut carried = vec![0.0; workers];
        shards.iter().for_each(|s| carried[s.owner] += s.load);
        let fair = carried.iter().sum::<f64>() / workers as f64;
        carried.iter().any(|load| health(*load, fair) < self.config.health_threshold)
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
        self.loads.observe(view);
        let PolicyConfig { max_shards, prediction_horizon: horizon, move_cost, migration_window, .. } = self.config;
        let workers = view.assignment.workers();
        let mut draft = Draft { owners: view.assignment.iter().collect(), commands: Vec::new() };
        let shards = self.loads.shards(&draft.owners, horizon);
        let grain = grain(shards.iter().map(|s| s.load).sum(), workers, max_shards);

        draft.merge_cold(&shards, &self.loads, grain);
        let shards = self.loads.shards(&draft.owners, horizon);
        let excess = shards.len().saturating_sub(max_shards) as u64;
        draft.merge_excess(&shards, excess.div_ceil(migration_window) as usize);
        if !self.is_due(&shards, workers) {
            return draft.commands;
        }

        let shards = self.loads.shards(&draft.owners, horizon);
        draft.split_hot(&shards, &self.loads, grain, max_shards);
        let shards = self.loads.shards(&draft.owners, horizon);
        let planner = Planner { workers, horizon, move_cost, error: self.loads.error() };
        let plan = planner.plan(&shards, &self.loads.likelihood());
        let moves = self.share(&plan).iter().map(|step| Command::Move { shard: step.shard, to: step.to });
        draft.commands.extend(moves);
        draft.commands
    }
}
