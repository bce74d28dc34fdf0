use std::collections::BTreeMap;

use crate::keyspace::{Command, KeyRange};

/// What to move, and what it gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What moves, the most rewarding first: any beginning of it is a plan.
    pub steps: Vec<Step>,
    /// The busiest worker's expected load for its capacity, over that of all: 1 is balanced, and infinite is a worker
    /// with load and without capacity.
    pub before: f64,
    /// The same after the plan.
    pub after: f64,
    /// Bytes of state that move, as far as can be told.
    pub bytes: f64,
}

/// A move of a shard, or of a single routing key that is split off first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The shard, as it was before the plan.
    pub shard: KeyRange,
    /// What moves of it: all, or one routing key.
    pub part: KeyRange,
    /// The new owner.
    pub to: usize,
}

impl Plan {
    /// The commands for all of the plan.
    pub fn commands(&self) -> Vec<Command> {
        commands_for(&self.steps)
    }
}

/// The commands for some steps: those that begin a plan, or all.
pub fn commands_for(steps: &[Step]) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut rests: BTreeMap<u64, KeyRange> = BTreeMap::new();
    for step in steps {
        let holds = |rest: &KeyRange| rest.covers(&step.part);
        let within = rests.range(..=step.part.start()).next_back().map(|rest| *rest.1).filter(holds);
        let rest = within.unwrap_or(step.shard);
        if let Some((left, right)) = rest.split(step.part.start()) {
            commands.push(Command::Split { shard: rest, at: right.start() });
            rests.insert(left.start(), left);
            rests.insert(right.start(), right);
        }
        let rest = KeyRange::new(step.part.start(), rest.end()).unwrap_or(rest);
        let next = step.part.last().checked_add(1);
        if let Some((left, right)) = next.and_then(|next| rest.split(next)) {
            commands.push(Command::Split { shard: rest, at: right.start() });
            rests.insert(left.start(), left);
            rests.insert(right.start(), right);
        }
        commands.push(Command::Move { shard: step.part, to: step.to });
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Assignment;

    #[test]
    fn keys_are_split_off_wherever_they_lie() {
        let all = KeyRange::ALL;
        for keys in [[7, 8, 9], [9, 7, 8], [0, u64::MAX, 1], [5, u64::MAX - 1, u64::MAX]] {
            let steps = keys.map(|key| Step { shard: all, part: KeyRange::single(key), to: 1 });
            for kept in 0..=steps.len() {
                let after = Assignment::even(1, 2).unwrap().apply(&commands_for(&steps[..kept])).unwrap();
                let moved = |key: u64| keys[..kept].contains(&key);
                assert!(keys.iter().all(|key| (after.owner_of(*key) == 1) == moved(*key)), "{keys:?}, {kept}");
                assert_eq!(after.iter().filter(|s| s.1 == 1).count(), kept);
            }
        }
    }
}
