use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::division::Division;
use super::edit::Edit;
use super::{Command, Directory, KeyRange, RoutingError};

/// Which worker owns each shard, for all of the key space, and which keys are folded.
///
/// Looking up a routing key reads one slot of a directory; where shards begin inside that slot, a binary search among
/// those few follows. A copy costs next to nothing, as it has all in common with the original.
///
/// ```
/// use thalweg::{Assignment, Command, KeyRange};
///
/// let before = Assignment::even(4, 2).unwrap();
/// let shard = before.range(before.find(7));
/// let after = before.apply(&[
///     Command::Split { shard, at: 7 },
///     Command::Move { shard: KeyRange::new(7, shard.end()).unwrap(), to: 1 },
/// ]).unwrap();
/// assert_eq!((after.owner(after.find(6)), after.owner(after.find(7))), (0, 1));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Shards", into = "Shards")]
pub struct Assignment {
    division: Arc<Division>,
    /// Routing keys, ascending.
    folded: Arc<[u64]>,
}

/// A part of the key space that changes its owner between two assignments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The routing keys: a shard, or a part of one.
    pub range: KeyRange,
    /// The worker that gives it up.
    pub from: usize,
    /// The worker that takes it.
    pub to: usize,
}

/// What [`Assignment::apply_valid`] makes of some commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The assignment after the accepted commands.
    pub assignment: Assignment,
    /// The commands that could be carried out, in their order.
    pub accepted: Vec<Command>,
    /// The others, and why they could not.
    pub refused: Vec<(Command, RoutingError)>,
}

impl Assignment {
    /// Shards of equal width, dealt to the workers in turn.
    pub fn even(shards: usize, workers: usize) -> Result<Self, RoutingError> {
        check_bounds(shards, workers)?;
        let start = |i: usize| ((i as u128) << 64).div_ceil(shards as u128) as u64;
        Ok(Self::unfolded(Directory::new((0..shards).map(start).collect()), dealt(shards, workers), workers))
    }

    /// These shards with their owners, in order of their ranges. No key is folded.
    pub fn new(shards: impl IntoIterator<Item = (KeyRange, usize)>, workers: usize) -> Result<Self, RoutingError> {
        let (mut starts, mut owners) = (Vec::new(), Vec::new());
        let mut previous: Option<KeyRange> = None;
        for (range, worker) in shards {
            check_worker(range, worker, workers)?;
            let expected = previous.map_or(0, |p| p.end());
            let start = u128::from(range.start());
            if let Some(left) = previous.filter(|_| start < expected) {
                return Err(RoutingError::Overlap { left, right: range });
            }
            if let Some(missing) = u64::try_from(expected).ok().and_then(|from| KeyRange::new(from, start)) {
                return Err(RoutingError::Gap { range: missing });
            }
            starts.push(range.start());
            owners.push(worker as u32);
            previous = Some(range);
        }
        check_bounds(starts.len(), workers)?;
        match previous {
            Some(last) if last.last() < u64::MAX => Err(RoutingError::Gap { range: KeyRange::from(last.last() + 1..) }),
            _ => Ok(Self::unfolded(Directory::new(starts), owners, workers)),
        }
    }

    fn unfolded(shards: Directory, owners: Vec<u32>, workers: usize) -> Self {
        Self::of(Division::new(shards, owners, workers), Arc::default())
    }

    pub(super) fn of(division: Arc<Division>, folded: Arc<[u64]>) -> Self {
        Assignment { division, folded }
    }

    /// The number of shards.
    #[allow(clippy::len_without_is_empty, reason = "there is always a shard")]
    pub fn len(&self) -> usize {
        self.division.shards.len()
    }

    /// The number of workers that may own shards.
    pub fn workers(&self) -> usize {
        self.division.workers
    }

    /// The index of the shard that holds the routing key.
    #[inline]
    pub fn find(&self, key: u64) -> usize {
        self.division.shards.find(key)
    }

    /// The worker that owns the shard at this index. Panics if there is none.
    #[inline]
    pub fn owner(&self, index: usize) -> usize {
        self.division.owners[index] as usize
    }

    /// The range of the shard that holds the routing key.
    pub fn shard_of(&self, key: u64) -> KeyRange {
        self.range(self.find(key))
    }

    /// The worker that owns the routing key.
    #[inline]
    pub fn owner_of(&self, key: u64) -> usize {
        self.owner(self.find(key))
    }

    /// The range of the shard at this index. Panics if there is none.
    pub fn range(&self, index: usize) -> KeyRange {
        self.division.shards.range(index)
    }

    /// The index of the shard with just this range.
    pub fn position(&self, range: KeyRange) -> Option<usize> {
        self.division.shards.starts().binary_search(&range.start()).ok().filter(|i| self.range(*i) == range)
    }

    /// The shards and their owners, in order of their ranges.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (KeyRange, usize)> + '_ {
        (0..self.len()).map(|i| (self.range(i), self.owner(i)))
    }

    /// The routing keys that are folded, ascending.
    pub fn folded(&self) -> &[u64] {
        &self.folded
    }

    /// Whether the routing key is folded.
    #[inline]
    pub fn is_folded(&self, key: u64) -> bool {
        !self.folded.is_empty() && self.folded.binary_search(&key).is_ok()
    }

    /// The assignment after these commands, or the first one's error that can't be carried out.
    pub fn apply<'a>(&self, commands: impl IntoIterator<Item = &'a Command>) -> Result<Self, RoutingError> {
        let mut edit = Edit::new(self);
        commands.into_iter().try_for_each(|command| edit.carry_out(command))?;
        Ok(edit.finish())
    }

    /// The assignment after those of these commands that can be carried out, each in its turn.
    pub fn apply_valid(&self, commands: Vec<Command>) -> Applied {
        let mut edit = Edit::new(self);
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        for command in commands {
            match edit.carry_out(&command) {
                Ok(()) => accepted.push(command),
                Err(error) => refused.push((command, error)),
            }
        }
        Applied { assignment: edit.finish(), accepted, refused }
    }

    /// Which parts of the key space another worker owns in `next`, in order of their ranges. Whether keys are folded
    /// makes no difference: their state stays where it is.
    pub fn handovers(&self, next: &Assignment) -> Vec<Handover> {
        let mut handovers = Vec::new();
        let (mut old, mut new) = (0, 0);
        while old < self.len() && new < next.len() {
            let (before, after) = (self.range(old), next.range(new));
            if self.division.owners[old] != next.division.owners[new]
                && let Some(range) = before.intersection(&after)
            {
                handovers.push(Handover { range, from: self.owner(old), to: next.owner(new) });
            }
            old += usize::from(before.last() <= after.last());
            new += usize::from(after.last() <= before.last());
        }
        handovers
    }

    /// The same shards and folded keys on so many workers: with their owners if there are as many as before, else dealt
    /// anew in turn.
    pub fn rescaled(&self, workers: usize) -> Result<Self, RoutingError> {
        check_bounds(self.len(), workers)?;
        if workers == self.workers() {
            return Ok(self.clone());
        }
        let division = Division::new(self.division.shards.clone(), dealt(self.len(), workers), workers);
        Ok(Self::of(division, Arc::clone(&self.folded)))
    }

    /// Whether it is a copy of the other one, or was made of a copy in the same way, whichever keys are folded. What has
    /// the same shards and owners by chance is not.
    pub(crate) fn is_divided_like(&self, other: &Assignment) -> bool {
        Arc::ptr_eq(&self.division, &other.division)
    }

    /// Where the shards start.
    pub(crate) fn starts(&self) -> &[u64] {
        self.division.shards.starts()
    }

    /// Their owners.
    pub(crate) fn owners(&self) -> &[u32] {
        &self.division.owners
    }

    /// What copies have in common, whichever keys are folded.
    pub(super) fn division(&self) -> &Arc<Division> {
        &self.division
    }
}

/// The owners of shards that are dealt to the workers in turn.
fn dealt(shards: usize, workers: usize) -> Vec<u32> {
    (0..shards).map(|i| (i % workers) as u32).collect()
}

fn check_bounds(shards: usize, workers: usize) -> Result<(), RoutingError> {
    let possible = 1..=u32::MAX as usize;
    if possible.contains(&shards) && possible.contains(&workers) {
        Ok(())
    } else {
        Err(RoutingError::OutOfBounds { shards, workers })
    }
}

pub(super) fn check_worker(range: KeyRange, worker: usize, workers: usize) -> Result<(), RoutingError> {
    if worker < workers { Ok(()) } else { Err(RoutingError::WorkerOutOfRange { range, worker, workers }) }
}

/// An assignment as it is written: its directory is derived, its invariants are checked on reading.
#[derive(Serialize, Deserialize)]
struct Shards {
    workers: usize,
    shards: Vec<(KeyRange, usize)>,
    /// What was written before keys could be folded has none.
    #[serde(default)]
    folded: Vec<u64>,
}

impl From<Assignment> for Shards {
    fn from(assignment: Assignment) -> Self {
        Shards {
            workers: assignment.workers(),
            shards: assignment.iter().collect(),
            folded: assignment.folded.to_vec(),
        }
    }
}

impl TryFrom<Shards> for Assignment {
    type Error = RoutingError;

    fn try_from(written: Shards) -> Result<Self, RoutingError> {
        let folds: Vec<Command> = written.folded.into_iter().map(|key| Command::Fold { key }).collect();
        Assignment::new(written.shards, written.workers)?.apply(&folds)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn range(start: u64, end: u128) -> KeyRange {
        KeyRange::new(start, end).unwrap()
    }

    #[test]
    fn what_is_wrong_is_named() {
        let all = 1 << 64;
        let two = Assignment::new([(range(0, 9), 0), (range(9, all), 1)], 2).unwrap();
        assert_eq!(
            Assignment::new([(range(0, 9), 0), (range(8, all), 1)], 2),
            Err(RoutingError::Overlap { left: range(0, 9), right: range(8, all) })
        );
        assert_eq!(
            Assignment::new([(range(0, 9), 0), (range(10, all), 1)], 2),
            Err(RoutingError::Gap { range: range(9, 10) })
        );
        assert_eq!(Assignment::new([(range(0, 9), 0)], 2), Err(RoutingError::Gap { range: range(9, all) }));
        assert_eq!(Assignment::new([(range(3, all), 0)], 2), Err(RoutingError::Gap { range: range(0, 3) }));
        assert_eq!(
            Assignment::new([(range(0, all), 2)], 2),
            Err(RoutingError::WorkerOutOfRange { range: KeyRange::ALL, worker: 2, workers: 2 })
        );
        assert!(matches!(Assignment::even(0, 2), Err(RoutingError::OutOfBounds { .. })));
        let error = |command| two.apply([&command]).unwrap_err();
        assert_eq!(
            error(Command::Split { shard: range(0, 8), at: 3 }),
            RoutingError::UnknownRange { range: range(0, 8), nearest: range(0, 9) }
        );
        assert_eq!(
            error(Command::Split { shard: range(0, 9), at: 0 }),
            RoutingError::SplitOutside { range: range(0, 9), at: 0 }
        );
        assert_eq!(
            error(Command::Move { shard: range(0, 9), to: 2 }),
            RoutingError::WorkerOutOfRange { range: range(0, 9), worker: 2, workers: 2 }
        );
        let merge = Command::Merge { left: range(0, 9), right: range(9, all) };
        assert!(matches!(error(merge.clone()), RoutingError::DifferentOwners { .. }));
        assert_eq!(two.apply([&Command::Move { shard: range(0, 9), to: 1 }, &merge]).unwrap().len(), 1);
    }

    #[test]
    fn a_key_is_folded_once_and_unfolded_once() {
        let two = Assignment::even(2, 2).unwrap();
        let (fold, unfold) = (Command::Fold { key: 7 }, Command::Unfold { key: 7 });
        assert_eq!(two.apply([&unfold]), Err(RoutingError::NotFolded { key: 7 }));
        let folded = two.apply([&Command::Fold { key: 9 }, &fold]).unwrap();
        assert_eq!(folded.folded(), [7, 9]);
        assert!(folded.is_folded(7) && !folded.is_folded(8) && folded != two);
        assert_eq!(folded.apply([&fold]), Err(RoutingError::AlreadyFolded { key: 7 }));
        let Applied { assignment, accepted, refused } = folded.apply_valid(vec![unfold.clone(), unfold.clone()]);
        assert_eq!((assignment.folded(), accepted), (&[9][..], vec![unfold.clone()]));
        assert_eq!(refused, [(unfold, RoutingError::NotFolded { key: 7 })]);
        assert_eq!(RoutingError::AlreadyFolded { key: 7 }.to_string(), "the key 0x7 is folded already");
        assert_eq!(fold.to_string(), "fold key 0x7");
    }

    #[test]
    fn folded_keys_stay_so_on_other_workers() {
        let folded = Assignment::even(4, 2).unwrap().apply([&Command::Fold { key: 7 }]).unwrap();
        assert_eq!(folded.rescaled(2).unwrap(), folded);
        assert_eq!(folded.rescaled(3).unwrap().folded(), [7]);
    }

    #[test]
    fn what_was_written_before_folds_is_read() {
        let old = r#"{ "workers": 2, "shards": [[[0, 8], 1], [[9, 18446744073709551615], 0]] }"#;
        let read: Assignment = serde_json::from_str(old).unwrap();
        assert_eq!((read.len(), read.folded()), (2, &[][..]));
        let twice = old.replace(r#""workers": 2"#, r#""workers": 2, "folded": [7, 3, 7]"#);
        assert!(serde_json::from_str::<Assignment>(&twice).unwrap_err().to_string().contains("0x7 is folded already"));
    }

    #[test]
    fn what_is_made_in_the_same_way_is_there_once() {
        let two = Assignment::even(2, 2).unwrap();
        let folded = two.apply([&Command::Fold { key: 7 }, &Command::Checkpoint]).unwrap();
        assert!(folded.is_divided_like(&two) && two.rescaled(2).unwrap().is_divided_like(&two));
        let shift = |shard: usize, to| Command::Move { shard: two.range(shard), to };
        let moved = folded.apply([&shift(0, 1)]).unwrap();
        let again = two.apply_valid(vec![shift(0, 1), Command::Unfold { key: 1 }]).assignment;
        assert!(again.is_divided_like(&moved) && (again.folded(), moved.folded()) == (&[][..], &[7][..]));
        let (other, back) = (two.apply([&shift(1, 0)]).unwrap(), moved.apply([&shift(0, 0)]).unwrap());
        assert!([&moved, &other, &back].iter().all(|one| !one.is_divided_like(&two)) && back == folded);
    }

    /// Ends of shards, some of them crowded into one slot of the directory.
    fn ends() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::btree_set(prop_oneof![1..200u64, any::<u64>().prop_map(|e| e.max(1))], 0..40)
            .prop_map(|ends| ends.into_iter().collect())
    }

    fn assignment(ends: &[u64], workers: usize) -> Assignment {
        let starts = [0].into_iter().chain(ends.iter().copied());
        let ends = ends.iter().map(|e| u128::from(*e)).chain([1 << 64]);
        Assignment::new(starts.zip(ends).enumerate().map(|(i, (s, e))| (range(s, e), i % workers)), workers).unwrap()
    }

    fn folding(assignment: &Assignment, keys: &BTreeSet<u64>) -> Assignment {
        assignment.apply(&keys.iter().rev().map(|key| Command::Fold { key: *key }).collect::<Vec<_>>()).unwrap()
    }

    proptest! {
        #[test]
        fn a_lookup_finds_the_shard_that_holds_the_key(ends in ends(), keys: Vec<u64>) {
            let assignment = assignment(&ends, 3);
            for key in keys.iter().chain(&ends).chain(&[0, 1, 199, u64::MAX]) {
                prop_assert!(assignment.range(assignment.find(*key)).contains(*key));
            }
        }

        #[test]
        fn handovers_are_where_owners_differ(old in ends(), new in ends(), keys: Vec<u64>, folded: BTreeSet<u64>) {
            let (old, new) = (assignment(&old, 2), assignment(&new, 3));
            prop_assert_eq!(old.handovers(&folding(&new, &folded)), old.handovers(&new));
            let handovers = old.handovers(&new);
            prop_assert!(handovers.windows(2).all(|w| w[0].range.last() < w[1].range.start()));
            for key in keys.into_iter().chain(0..200) {
                let (from, to) = (old.owner(old.find(key)), new.owner(new.find(key)));
                let handover = handovers.iter().find(|h| h.range.contains(key)).map(|h| (h.from, h.to));
                prop_assert_eq!(handover, (from != to).then_some((from, to)));
            }
        }

        #[test]
        fn a_key_is_folded_if_it_was_folded_last(
            commands in prop::collection::vec((any::<bool>(), 0..20u64), 0..60), ends in ends()
        ) {
            let (mut folded, mut assignment) = (BTreeSet::new(), assignment(&ends, 3));
            for (fold, key) in commands {
                let changes = if fold { folded.insert(key) } else { folded.remove(&key) };
                let command = if fold { Command::Fold { key } } else { Command::Unfold { key } };
                let next = assignment.apply([&command]);
                prop_assert_eq!(next.is_ok(), changes);
                assignment = next.unwrap_or(assignment);
            }
            prop_assert!(assignment.folded().iter().eq(&folded));
            prop_assert!((0..20).all(|key| assignment.is_folded(key) == folded.contains(&key)));
        }

        #[test]
        fn an_assignment_survives_being_written(ends in ends(), folded: BTreeSet<u64>) {
            let assignment = folding(&assignment(&ends, 3), &folded);
            prop_assert_eq!(&serde_json::from_str::<Assignment>(&serde_json::to_string(&assignment).unwrap()).unwrap(), &assignment);
            let written = postcard::to_allocvec(&assignment).unwrap();
            prop_assert_eq!(&postcard::from_bytes::<Assignment>(&written).unwrap(), &assignment);
        }
    }
}
