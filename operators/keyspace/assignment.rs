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

    /// As [`find`](Self::find) of each of these routing keys.
    #[inline]
    pub(crate) fn find_each(&self, keys: impl Iterator<Item = u64>) -> impl Iterator<Item = usize> {
        self.division.shards.find_each(keys)
    }

    /// The worker that owns the shard at this index. Panics if there is none.
    #[inline]
    pub fn owner(&self, index: usize) -> usize {
        self.division.owners[index] as usize
    }

    /// By worker, whether it owns shards.
    pub(crate) fn owning(&self) -> Vec<bool> {
        let mut owning = vec![false; self.workers()];
        self.division.owners.iter().for_each(|owner| owning[*owner as usize] = true);
        owning
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

    /// Whether it is a copy of the other one, or was made of a copy in the same way, whichever keys are folded. What
    /// has the same shards and owners by chance is not.
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
mod tests;
