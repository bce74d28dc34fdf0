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
use crate::keyed::waits::Frontiers;
use crate::keyspace::{Assignment, KeyRange};
use crate::profile::{CountedShards, Gathered, ShardCount, ShardEpoch, Statistics, Taken, encoded_bytes};

/// Shards told of at a time, at the most. At some 50 ns each, spent on memory that no cache has, this is about 50 µs.
const SHARDS_PER_TURN: usize = 1024;

/// One whose keys have been looked at takes as long as so many others.
const DETAILED_COST: usize = 64;

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
    /// The last time of the current epoch, if it can't be set aside yet: there is room for one.
    pub(super) fn kept_open(&self) -> Option<T> {
        self.current.clone().filter(|_| self.is_telling())
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
        let unreported = self.unreported.get_mut(&telling.last);
        debug_assert!(unreported.is_some(), "an epoch is let go of once all is told");
        let Some((capability, _)) = unreported else { return };
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
    pub(super) fn close(&mut self, frontiers: Frontiers<'_, T>, ports: &mut Ports<'_, T, L::Output>) -> bool {
        let was_telling = self.is_telling();
        self.tell(ports);
        self.note_ends(frontiers);
        self.report_ends(ports);
        was_telling || self.is_telling()
    }

    /// Takes note of what is held at the end of epochs that are over: it may change before all is told, of them and of
    /// those before them.
    fn note_ends(&mut self, frontiers: Frontiers<'_, T>) {
        let waits = self.waits(frontiers);
        let stashed = self.stashes.values().map(|stash| stash.capability.time());
        let undone = self.due.first().into_iter().chain(stashed).min().cloned();
        let is_over = |last: &T| waits.is_over(last) && undone.as_ref().is_none_or(|undone| undone > last);
        let held = self.holds();
        let over = self.unreported.iter_mut().take_while(|(last, at_end)| at_end.is_some() || is_over(last));
        over.for_each(|(_, at_end)| _ = at_end.get_or_insert_with(|| held.clone()));
    }

    /// Reports what is held at the end of epochs of which all has been told, in their order.
    fn report_ends(&mut self, ports: &mut Ports<'_, T, L::Output>) {
        while let Some(last) = self.first_over() {
            if self.current.as_ref() == Some(&last) {
                // Of a later epoch, which was the current one before a shard came with records that had waited for it.
                if self.is_telling() {
                    break;
                }
                self.set_aside();
                self.tell(ports);
            }
            if self.telling.as_ref().is_some_and(|telling| telling.last == last) {
                break;
            }
            let Some((_, capability, Some(held))) = self.unreported.release_first() else { break };
            ports.reports.session(&capability).give(held);
        }
    }

    /// The last time of the first epoch that is to be reported on, if it is over.
    fn first_over(&self) -> Option<T> {
        let (last, at_end) = self.unreported.iter().next()?;
        at_end.is_some().then(|| last.clone())
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
        let Taken { counted, described } = self.gathered.take_some(SHARDS_PER_TURN, DETAILED_COST);
        let count = |(shard, records): &(u32, u64)| {
            let (index, records) = (*shard as usize, *records);
            ShardCount { range: assignment.range(index), records, keys: keys.at_end(index) as u64 }
        };
        let shards: Vec<ShardCount> = counted.iter().map(count).collect();
        let describe = |(shard, statistics): (u32, Statistics)| {
            let (range, keys) = (assignment.range(shard as usize), keys.at_end(shard as usize) as u64);
            self.heat.push((range, statistics.records()));
            ShardEpoch { range, worker, keys, state_bytes: encoded_bytes(keys, row_bytes), statistics }
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
