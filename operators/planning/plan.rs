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

/// A move of a shard, or of a single routing key that is split off it first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The shard, as it was before the plan.
    pub shard: KeyRange,
    /// What moves of it: one routing key, or all that earlier steps have left of it.
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
    let mut cut: BTreeMap<KeyRange, Pieces> = BTreeMap::new();
    for step in steps {
        if step.part == step.shard {
            let pieces = cut.remove(&step.shard).unwrap_or_else(|| Pieces::whole(step.shard));
            commands.extend(pieces.0.into_values().map(|shard| Command::Move { shard, to: step.to }));
        } else {
            let pieces = cut.entry(step.shard).or_insert_with(|| Pieces::whole(step.shard));
            pieces.take(step.part, &mut commands);
            commands.push(Command::Move { shard: step.part, to: step.to });
        }
    }
    commands
}

/// What is left of a shard, by where it starts.
struct Pieces(BTreeMap<u64, KeyRange>);

impl Pieces {
    fn whole(shard: KeyRange) -> Self {
        Pieces(BTreeMap::from([(shard.start(), shard)]))
    }

    /// Splits off a part that lies in one of the pieces.
    fn take(&mut self, part: KeyRange, commands: &mut Vec<Command>) {
        let Some((&start, &piece)) = self.0.range(..=part.start()).next_back() else { return };
        self.0.remove(&start);
        let mut rest = piece;
        if let Some((left, right)) = rest.split(part.start()) {
            commands.push(Command::Split { shard: rest, at: right.start() });
            self.0.insert(left.start(), left);
            rest = right;
        }
        if let Some((_, right)) = part.last().checked_add(1).and_then(|next| rest.split(next)) {
            commands.push(Command::Split { shard: rest, at: right.start() });
            self.0.insert(right.start(), right);
        }
    }
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
            let rest = Step { shard: all, part: all, to: 2 };
            let steps: Vec<Step> = steps.into_iter().chain([rest]).collect();
            let after = Assignment::even(1, 3).unwrap().apply(&commands_for(&steps)).unwrap();
            assert!(
                after
                    .iter()
                    .all(|(range, owner)| owner
                        == if range.is_single() && keys.contains(&range.start()) { 1 } else { 2 })
            );
        }
    }
}
