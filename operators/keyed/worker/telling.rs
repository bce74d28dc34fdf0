//! What a worker tells of an epoch: what its shards have seen, a few of them at a time, and when all is told, what it
//! holds.
//!
//! What the shards have seen is set aside when the next epoch begins, or a boundary is crossed, with all that it takes
//! to tell of them as they were then. So records are not held up by what there is to be told of the epoch before
//! theirs.

use super::Worker;
use crate::epoch::Ticks;
use crate::keyed::Report;
use crate::keyed::codec::Codec;
use crate::keyed::logic::Logic;
use crate::keyed::ports::Ports;
use crate::keyed::shards::KeyCounts;
use crate::keyed::waits::{Frontiers, Step};
use crate::keyspace::{Assignment, KeyRange};
use crate::profile::{CountedShards, Gathered, ShardCount, ShardEpoch, Statistics, Taken};

/// Shards told of at a time, at the most. At some 50 ns each, spent on memory that no cache has, this is about 50 µs.
const TOLD: usize = 1024;

/// One of which more than a count is told takes as long as so many others.
const DESCRIBED: usize = 64;

/// What of an epoch is still to be told.
pub(super) struct Telling<T> {
    /// The last time of the epoch.
    last: T,
    gathered: Gathered,
    /// Whose shards they are.
    assignment: Assignment,
    /// Bytes of a key as encoded, as of the end of the epoch.
    row_bytes: f64,
    /// The shards that have been told of, and their records: of those that are more than counted, as others are too
    /// light to matter.
    heat: Vec<(KeyRange, u64)>,
}

impl<T, L, C> Worker<T, L, C>
where
    T: Ticks,
    L: Logic<T>,
    C: Codec<L::Key, L::State>,
{
    /// Whether a step has to wait until all is told of an epoch: it would set aside the current one, and there is room
    /// for one.
    pub(super) fn must_tell_before(&self, step: &Step) -> bool {
        let is_current = |at: &T| self.current.as_ref() == Some(&self.epochs.around(at).1);
        let goes_on = || *step == Step::Data && self.work.first().is_some_and(is_current);
        self.is_telling() && self.current.is_some() && !goes_on()
    }

    /// Sets aside what the shards have seen in the current epoch.
    pub(super) fn set_aside(&mut self) {
        let Some(last) = self.current.take() else { return };
        debug_assert!(!self.is_telling(), "there is room for one epoch");
        let mut gathered = self.traces.gathering.turn_over();
        let Some(first) = gathered.first() else { return self.traces.gathering.reuse(gathered) };
        let assignment = self.shards.assignment().clone();
        self.shards.weigh(assignment.range(first as usize).start());
        self.shards.keys().begin_telling();
        let row_bytes = self.shards.row_bytes();
        self.telling = Some(Telling { last, gathered, assignment, row_bytes, heat: Vec::new() });
    }

    /// Tells of some shards.
    fn tell(&mut self, ports: &mut Ports<'_, T, L::Output>) {
        let Some(mut telling) = self.telling.take() else { return };
        let seen = self.seen.get_mut(&telling.last);
        debug_assert!(seen.is_some(), "an epoch is let go of once all is told");
        let Some((capability, _)) = seen else { return };
        let mut session = ports.reports.session(&capability);
        let (more, reports) = telling.next_reports(self.worker, self.shards.keys());
        session.give_iterator(reports);
        if more {
            self.telling = Some(telling);
            return;
        }
        self.shards.keys().end_telling();
        // What is left of an epoch that has been told says nothing of the next.
        if self.told.as_ref().is_none_or(|told| *told < telling.last) {
            self.shards.note_heat(telling.heat);
            self.told = Some(telling.last);
        }
        self.traces.gathering.reuse(telling.gathered);
    }

    /// Whether there is more to be told of an epoch that is over.
    fn is_telling(&self) -> bool {
        self.telling.is_some()
    }

    /// Tells some of what is to be told, and lets go of epochs that are over once all is. Whether there was, or is,
    /// anything to be told: then there may be more, or what has waited for it can go on.
    pub fn close(&mut self, frontiers: Frontiers<'_, T>, ports: &mut Ports<'_, T, L::Output>) -> bool {
        let was_telling = self.is_telling();
        self.tell(ports);
        let waits = self.waits(frontiers);
        let stashed = self.stashes.values().map(|stash| stash.capability.time());
        let undone = self.work.first().into_iter().chain(stashed).min().cloned();
        let is_over = |last: &T| waits.is_over(last) && undone.as_ref().is_none_or(|undone| undone > last);
        // What is held may change before all is told, of this epoch and of those before it.
        let held = self.holds();
        let over = self.seen.iter_mut().take_while(|(last, at_end)| at_end.is_some() || is_over(last));
        over.for_each(|(_, at_end)| _ = at_end.get_or_insert_with(|| held.clone()));
        while let Some(last) = self.seen.first().cloned() {
            if !self.seen.iter().next().is_some_and(|(_, at_end)| at_end.is_some()) {
                break;
            }
            if self.current.as_ref() == Some(&last) {
                self.set_aside();
                self.tell(ports);
            }
            if self.telling.as_ref().is_some_and(|telling| telling.last == last) {
                break;
            }
            let Some((_, capability, Some(held))) = self.seen.release_if(|_, _| true) else { break };
            ports.reports.session(&capability).give(held);
        }
        was_telling || self.is_telling()
    }

    fn holds(&self) -> Report {
        let ((keys, bytes), unsaved_bytes) = (self.shards.size(), self.shards.unsaved_bytes());
        Report::Holds { worker: self.worker, keys, bytes, unsaved_bytes }
    }
}

impl<T> Telling<T> {
    /// Tells of some shards; whether there are more.
    fn next_reports(&mut self, worker: usize, keys: &mut KeyCounts) -> (bool, impl Iterator<Item = Report> + use<T>) {
        let ((value, size), row_bytes, assignment) = (self.gathered.alike(), self.row_bytes, &self.assignment);
        let Taken { counted, described } = self.gathered.take_some(TOLD, DESCRIBED);
        let count = |(shard, records): &(u32, u64)| {
            let (index, records) = (*shard as usize, *records);
            ShardCount { range: assignment.range(index), records, keys: keys.at_end(index) as u64 }
        };
        let shards: Vec<ShardCount> = counted.iter().map(count).collect();
        let describe = |(shard, statistics): (u32, Statistics)| {
            let (range, keys) = (assignment.range(shard as usize), keys.at_end(shard as usize) as u64);
            self.heat.push((range, statistics.records()));
            ShardEpoch { range, worker, keys, state_bytes: (keys as f64 * row_bytes) as u64, statistics }
        };
        let described: Vec<ShardEpoch> = described.into_iter().map(describe).collect();
        let records = shards.iter().map(|shard| shard.records).sum();
        let counted = CountedShards { worker, value, size, row_bytes, records, shards };
        let counted = Some(counted).filter(|counted| !counted.shards.is_empty()).map(Report::Counted);
        let described = Some(described).filter(|described| !described.is_empty()).map(Report::Shards);
        let next = self.gathered.first();
        next.iter().for_each(|next| keys.told_before(*next as usize));
        (next.is_some(), counted.into_iter().chain(described))
    }
}
