use super::loads::{Loads, tune};
use super::plan::Planner;
use super::shape::{Draft, grain};
use super::{Policy, PolicyConfig, View};
use crate::error::Error;
use crate::keyspace::Command;
use crate::profile::health;

/// Reacts to the load that was.
#[derive(Clone, Debug)]
pub struct Reactive {
    config: PolicyConfig,
    loads: Loads,
}

impl Reactive {
    /// A policy with this configuration, if it is valid.
    pub fn new(config: PolicyConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Reactive { config, loads: Loads::default() })
    }
}

impl Policy for Reactive {
    fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        self.loads.observe(view);
        let workers = view.assignment.workers();
        let owners: Vec<_> = view.assignment.iter().collect();
        let shards = self.loads.shards(&owners, self.config.prediction_horizon);
        let mut carried = vec![0.0; workers];
        shards.iter().for_each(|s| carried[s.owner] += s.load);
        let total: f64 = carried.iter().sum();
        let fair = total / workers as f64;
        let grain = grain(total, workers, self.config.max_shards);
        let mut draft = Draft { owners, commands: Vec::new() };
        draft.merge_cold(&shards, &self.loads, grain);
        if !carried.iter().any(|c| health(*c, fair) < self.config.health_threshold) {
            return draft.commands;
        }
        let shards = self.loads.shards(&draft.owners, self.config.prediction_horizon);
        draft.split_hot(&shards, &self.loads, grain, self.config.max_shards);
        let shards = self.loads.shards(&draft.owners, self.config.prediction_horizon);
        let planner = Planner {
            workers,
            likelihood: self.loads.likelihood(),
            horizon: self.config.prediction_horizon as f64,
            move_cost: self.config.move_cost,
            error: self.loads.error(),
        };
        let steps = planner.moves(&shards);
        let n = (steps.len() as f64 / tune("SPREAD", 1.0)).ceil() as usize;
        draft.commands.extend(steps.iter().take(n).map(|s| Command::Move { shard: s.shard, to: s.to }));
        draft.commands
    }
}
