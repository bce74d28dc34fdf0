use super::fold::Folds;
use super::foresight::Foresight;
use super::loads::Loads;
use super::{PolicyConfig, View};
use crate::error::Error;
use crate::keyspace::Command;
use crate::planning::{Draft, Limits, Measure, Planner, ShardLoad, Step};
use crate::profile::health;

/// The trust in what is foreseen from which it alone is reason enough to act.
const TRUSTED: f64 = 0.5;

/// Turns load, that was or is foreseen, into commands: what the policies that balance have in common.
#[derive(Clone, Debug)]
pub(crate) struct Balancer {
    config: PolicyConfig,
    folds: Folds,
    loads: Loads,
    foresight: Option<Foresight>,
    /// Epochs over which the rest of the plan in course is to be spread.
    window_left: u64,
}

impl Balancer {
    /// One with this configuration, if it is valid, that looks ahead or doesn't.
    pub(crate) fn new(config: PolicyConfig, looks_ahead: bool) -> Result<Self, Error> {
        config.validate()?;
        let foresight = looks_ahead.then(|| Foresight::new(config.prediction_horizon));
        Ok(Balancer { config, folds: Folds::default(), loads: Loads::default(), foresight, window_left: 0 })
    }

    /// The commands for the view's boundary.
    pub(crate) fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        let PolicyConfig { prediction_horizon: horizon, move_cost, max_shards, migration_window, .. } = self.config;
        let workers = view.assignment.workers();
        self.look(view);
        let commands = self.folds.decide(view, self.config.fold_share, expected_keys(self.foresight.as_ref()));
        let mut shards = self.loads.observe(view, &self.folds.keys(), horizon);
        let evenly = self.loads.folded(horizon) / workers as f64;
        let fair = evenly + shards.iter().map(|s| s.load).sum::<f64>() / workers as f64;
        let mut draft = Draft { owners: view.assignment.iter().collect(), commands };
        let limits = Limits::new(max_shards, migration_window, horizon, move_cost, &shards, fair);
        let is_due = self.is_due(&shards, evenly, workers);

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
        let planner = Planner { workers, fair, horizon, move_cost, error: self.error() };
        let plan = planner.plan(&shards, &self.loads.likelihood());
        let moves = self.share(&plan).iter().map(|step| Command::Move { shard: step.shard, to: step.to });
        draft.commands.extend(moves);
        draft.commands
    }

    /// Takes in where the load of the newest epoch lay, and looks ahead.
    fn look(&mut self, view: &View<'_>) {
        let seen = Measure::of(view.profiles, view.folded.iter().map(|f| (f.key, f.records)));
        self.loads.remember(seen.clone());
        if let Some(foresight) = &mut self.foresight {
            let usual = self.loads.usual();
            foresight.observe(view, &seen, &usual);
            self.loads.foresee(foresight.scenarios(&usual));
        }
    }

    /// How wrong the forecast of the shards' part of the records has been, in [0, 2].
    fn error(&self) -> f64 {
        self.loads.error() * self.foresight.as_ref().map_or(1.0, Foresight::relative_error)
    }

    /// Whether a worker is expected to be overloaded, each having records of folded keys that come to it `evenly`:
    /// soon, or, where that can be foreseen, in one of the epochs planned for.
    fn is_due(&self, shards: &[ShardLoad], evenly: f64, workers: usize) -> bool {
        let is_over = |load: &dyn Fn(&ShardLoad) -> f64| {
            let mut carried = vec![evenly; workers];
            shards.iter().for_each(|s| carried[s.owner] += load(s));
            let fair = carried.iter().sum::<f64>() / workers as f64;
            carried.iter().any(|load| health(*load, fair) < self.config.health_threshold)
        };
        let foreseen = if self.loads.trust() >= TRUSTED { self.config.prediction_horizon } else { 0 };
        is_over(&|shard| shard.load) || (0..foreseen).any(|ahead| is_over(&|shard| self.loads.foreseen(shard)[ahead]))
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

/// The keys with a forecast of their own, and the records that they can be relied on to have at the boundary.
fn expected_keys(foresight: Option<&Foresight>) -> impl Iterator<Item = (u64, f64)> {
    foresight.into_iter().flat_map(Foresight::keys)
}
