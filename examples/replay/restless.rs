//! A policy for tests: commands without a reason, so that everything moves all the time.

use thalweg::policy::{Policy, View};
use thalweg::{Assignment, Command, KeyRange, stable_hash};

/// Commands per epoch, at most.
const COMMANDS: u64 = 4;

/// The hottest of the built-in stream's keys are among the first so many.
const HOT: u64 = 24;

/// Splits, merges, moves and folds at random: a function of the seed, the epoch and the assignment.
#[derive(Clone, Copy, Debug)]
pub struct Restless {
    pub seed: u64,
}

impl Policy for Restless {
    fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        let mut numbers = (0..).map(|draw: u64| stable_hash(&(self.seed, view.epoch, draw)));
        let mut below = |bound: u64| numbers.next().unwrap_or_default() % bound.max(1);
        let mut commands = Vec::new();
        let mut assignment = view.assignment.clone();
        for _ in 0..below(COMMANDS + 1) {
            let shard = assignment.range(below(assignment.len() as u64) as usize);
            let key = stable_hash(&format!("gauge-{:05}", below(HOT)));
            let mut wanted = match below(6) {
                0 => vec![Command::Split { shard: assignment.shard_of(key), at: key }],
                1 => merge_with_next(&assignment, shard),
                2 if assignment.is_folded(key) => vec![Command::Unfold { key }],
                2 if view.can_fold => vec![Command::Fold { key }],
                _ => vec![Command::Move { shard, to: below(assignment.workers() as u64) as usize }],
            };
            if let Ok(next) = assignment.apply(&wanted) {
                assignment = next;
                commands.append(&mut wanted);
            }
        }
        commands
    }
}

fn merge_with_next(assignment: &Assignment, left: KeyRange) -> Vec<Command> {
    let Some(after) = left.last().checked_add(1) else { return Vec::new() };
    let (right, to) = (assignment.shard_of(after), assignment.owner_of(left.start()));
    let apart = assignment.owner_of(after) != to;
    apart.then_some(Command::Move { shard: right, to }).into_iter().chain([Command::Merge { left, right }]).collect()
}
