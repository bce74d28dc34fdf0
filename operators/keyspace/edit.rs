use std::sync::Arc;

use super::assignment::check_worker;
use super::division::{Changes, Division};
use super::{Assignment, Command, Directory, KeyRange, RoutingError};

/// An assignment in the making: commands carried out one after the other, so that a boundary takes time in proportion
/// to the shards and the commands, and not to their product.
pub(super) struct Edit<'a> {
    before: &'a Assignment,
    changed: Changes,
    /// Whether there are other shards now, rather than other owners only.
    divided: bool,
    /// Routing keys, ascending.
    folded: Vec<u64>,
}

impl<'a> Edit<'a> {
    pub(super) fn new(before: &'a Assignment) -> Self {
        Edit { before, changed: Changes::new(), divided: false, folded: before.folded().to_vec() }
    }

    /// Carries out a command, or changes nothing.
    pub(super) fn carry_out(&mut self, command: &Command) -> Result<(), RoutingError> {
        match *command {
            Command::Split { shard, at } => {
                let owner = self.owner(shard)?;
                let (left, right) = shard.split(at).ok_or(RoutingError::SplitOutside { range: shard, at })?;
                self.set(left, owner);
                self.set(right, owner);
                self.divided = true;
            }
            Command::Merge { left, right } => self.merge(left, right)?,
            Command::Move { shard, to } => {
                self.owner(shard)?;
                check_worker(shard, to, self.before.workers())?;
                self.set(shard, to as u32);
            }
            Command::Fold { key } => {
                let Err(index) = self.folded.binary_search(&key) else {
                    return Err(RoutingError::AlreadyFolded { key });
                };
                self.folded.insert(index, key);
            }
            Command::Unfold { key } => {
                let index = self.folded.binary_search(&key).map_err(|_| RoutingError::NotFolded { key })?;
                self.folded.remove(index);
            }
            Command::Checkpoint | Command::SaveAll => {}
        }
        Ok(())
    }

    /// What has become of it.
    pub(super) fn finish(mut self) -> Assignment {
        let (division, changed) = (self.before.division(), std::mem::take(&mut self.changed));
        let division = match changed.is_empty() {
            true => Arc::clone(division),
            false => division.next(changed, |changed| self.division(changed)),
        };
        Assignment::of(division, self.folded.into())
    }

    fn merge(&mut self, left: KeyRange, right: KeyRange) -> Result<(), RoutingError> {
        let (left_owner, right_owner) = (self.owner(left)?, self.owner(right)?);
        if left.start() >= right.start() {
            return Err(RoutingError::Overlap { left: right, right: left });
        }
        if let Some(range) = left.last().checked_add(1).and_then(|next| KeyRange::new(next, right.start().into())) {
            return Err(RoutingError::Gap { range });
        }
        if left_owner != right_owner {
            let (left_owner, right_owner) = (left_owner as usize, right_owner as usize);
            return Err(RoutingError::DifferentOwners { left, right, left_owner, right_owner });
        }
        self.changed.remove(&right.start());
        self.set(left.hull(&right), left_owner);
        self.divided = true;
        Ok(())
    }

    fn set(&mut self, shard: KeyRange, owner: u32) {
        self.changed.insert(shard.start(), (shard.last(), owner));
    }

    /// The owner of the shard with just this range.
    fn owner(&self, range: KeyRange) -> Result<u32, RoutingError> {
        match self.shard_of(range.start()) {
            (shard, owner) if shard == range => Ok(owner),
            (nearest, _) => Err(RoutingError::UnknownRange { range, nearest }),
        }
    }

    /// The shard that holds a routing key, and its owner.
    fn shard_of(&self, key: u64) -> (KeyRange, u32) {
        let changed = self.changed.range(..=key).next_back().filter(|(_, (last, _))| key <= *last);
        match changed {
            Some((start, (last, owner))) => (KeyRange::single(*start).hull(&KeyRange::single(*last)), *owner),
            None => {
                let index = self.before.find(key);
                (self.before.range(index), self.before.owner(index) as u32)
            }
        }
    }

    /// All shards, and their owners.
    fn division(&self, changed: &Changes) -> Arc<Division> {
        let before = self.before.division();
        if self.divided {
            let (starts, owners) = self.shards(changed);
            return Division::new(Directory::new(starts), owners, before.workers);
        }
        let mut owners = before.owners.clone();
        changed.iter().for_each(|(start, (_, owner))| owners[before.shards.find(*start)] = *owner);
        Division::new(before.shards.clone(), owners, before.workers)
    }

    /// Where all shards start, and their owners.
    fn shards(&self, changed: &Changes) -> (Vec<u64>, Vec<u32>) {
        let (old_starts, old_owners) = (self.before.starts(), self.before.owners());
        let most = old_starts.len() + changed.len();
        let (mut starts, mut owners) = (Vec::with_capacity(most), Vec::with_capacity(most));
        let mut from = 0;
        for (start, (last, owner)) in changed {
            let first = self.before.find(*start).max(from);
            starts.extend_from_slice(&old_starts[from..first]);
            owners.extend_from_slice(&old_owners[from..first]);
            starts.push(*start);
            owners.push(*owner);
            from = self.before.find(*last) + 1;
        }
        starts.extend_from_slice(&old_starts[from..]);
        owners.extend_from_slice(&old_owners[from..]);
        (starts, owners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by definition: a list of shards, in which each command is looked for.
    fn naive(shards: &mut Vec<(KeyRange, usize)>, workers: usize, command: &Command) -> bool {
        let at = |range: KeyRange| shards.iter().position(|shard| shard.0 == range);
        match *command {
            Command::Split { shard, at: key } => {
                let (Some(index), Some((left, right))) = (at(shard), shard.split(key)) else { return false };
                let owner = shards[index].1;
                shards.splice(index..=index, [(left, owner), (right, owner)]);
            }
            Command::Merge { left, right } => {
                let (Some(l), Some(r)) = (at(left), at(right)) else { return false };
                if l + 1 != r || shards[l].1 != shards[r].1 {
                    return false;
                }
                let owner = shards[l].1;
                shards.splice(l..=r, [(left.hull(&right), owner)]);
            }
            Command::Move { shard, to } => match at(shard).filter(|_| to < workers) {
                Some(index) => shards[index].1 = to,
                None => return false,
            },
            _ => {}
        }
        true
    }

    proptest! {
        #[test]
        fn many_commands_are_carried_out_as_one_after_the_other(
            shards in 1..12usize, steps in prop::collection::vec((0..4u8, any::<u64>(), 0..4usize), 0..60)
        ) {
            let before = Assignment::even(shards, 3).unwrap();
            let mut expected: Vec<(KeyRange, usize)> = before.iter().collect();
            let (mut commands, mut accepted) = (Vec::new(), Vec::new());
            for (kind, key, to) in steps {
                let index = expected.iter().position(|shard| shard.0.contains(key)).unwrap();
                let (shard, next) = (expected[index].0, expected[(index + 1) % expected.len()].0);
                let command = match kind {
                    0 => Command::Split { shard, at: key },
                    1 => Command::Merge { left: shard, right: next },
                    2 => Command::Move { shard, to },
                    _ => Command::Move { shard: KeyRange::single(key), to },
                };
                if naive(&mut expected, 3, &command) {
                    accepted.push(command.clone());
                }
                commands.push(command);
            }
            let applied = before.apply_valid(commands);
            prop_assert_eq!(&applied.accepted, &accepted);
            prop_assert_eq!(applied.assignment.iter().collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!(&applied.assignment, &Assignment::new(expected, 3).unwrap());
            prop_assert_eq!(before.apply(&accepted).unwrap(), applied.assignment);
        }
    }

    /// In the time of a command for each shard, not of its square: with that this would take minutes.
    #[test]
    fn as_many_commands_as_shards_are_no_matter() {
        let before = Assignment::even(1 << 17, 1).unwrap();
        let pairs = (0..before.len()).step_by(2);
        let merges = pairs.map(|i| Command::Merge { left: before.range(i), right: before.range(i + 1) });
        let merged = before.apply(&merges.collect::<Vec<_>>()).unwrap();
        assert_eq!(merged, Assignment::even(1 << 16, 1).unwrap());
    }
}
