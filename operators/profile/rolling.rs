use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::window::Window;
use super::{Profile, Statistics, Summary, health};
use crate::keyspace::KeyRange;

/// What one worker reports of a shard at the end of an epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShardEpoch {
    /// The shard.
    pub range: KeyRange,
    /// The worker that reports.
    pub worker: usize,
    /// Keys with state on that worker at the end of the epoch.
    pub keys: u64,
    /// Estimated bytes of that state, as encoded.
    pub state_bytes: u64,
    /// The shard's records of the epoch on that worker.
    pub statistics: Statistics,
}

impl ShardEpoch {
    /// Takes in what the same worker reports of the shard later in the epoch.
    fn update(&mut self, later: &ShardEpoch) {
        (self.keys, self.state_bytes) = (later.keys, later.state_bytes);
        self.statistics.merge(&later.statistics);
    }
}

/// Makes profiles of what the workers report, and remembers a window of epochs per shard. Pure.
///
/// A shard is known by its range: the parts of a split, and what a merge gives, begin with an empty window. A shard
/// none of whose reports is in the window any more is forgotten. A window of a single epoch is not remembered at all:
/// the rolling figures are those of the epoch.
#[derive(Clone, Debug)]
pub struct Rolling {
    window: u64,
    workers: usize,
    shards: BTreeMap<KeyRange, Shard>,
    /// The shards that were reported in each epoch of the window, oldest first.
    reported: VecDeque<(u64, Vec<KeyRange>)>,
}

#[derive(Clone, Debug)]
struct Shard {
    since: u64,
    last: u64,
    window: Window,
}

impl Rolling {
    /// Rolls over this many epochs (at least 1), and takes a fair share to be the load divided by `workers`.
    pub fn new(window: usize, workers: usize) -> Self {
        let (shards, reported) = (BTreeMap::new(), VecDeque::new());
        Rolling { window: (window as u64).max(1), workers, shards, reported }
    }

    /// The profiles of the shards that were reported for a complete epoch, in order of their ranges.
    ///
    /// Epochs are to come in ascending order; some may be left out, and count as idle. Of several reports for a shard
    /// the figures are merged, and the worker named is the one with most records. Shards are those of one
    /// assignment: their ranges do not overlap.
    pub fn advance(&mut self, epoch: u64, reports: Vec<ShardEpoch>) -> Vec<Profile> {
        let records = reports.iter().map(|r| r.statistics.records()).sum();
        self.advance_part(epoch, reports, records)
    }

    /// Like [`advance`](Self::advance), for some of the shards of the epoch, the number of records of all being known.
    pub fn advance_part(&mut self, epoch: u64, reports: Vec<ShardEpoch>, records: u64) -> Vec<Profile> {
        let oldest = epoch.saturating_add(1).saturating_sub(self.window);
        self.forget_before(oldest);
        let fair = records as f64 / self.workers as f64;
        let profiles: Vec<Profile> =
            merge(reports).into_iter().map(|report| self.profile(epoch, oldest, fair, report)).collect();
        if self.window > 1 {
            self.reported.push_back((epoch, profiles.iter().map(|profile| profile.range).collect()));
        }
        profiles
    }

    fn forget_before(&mut self, oldest: u64) {
        while self.reported.front().is_some_and(|(epoch, _)| *epoch < oldest)
            && let Some((_, ranges)) = self.reported.pop_front()
        {
            for range in ranges {
                if self.shards.get(&range).is_some_and(|shard| shard.last < oldest) {
                    self.shards.remove(&range);
                }
            }
        }
    }

    fn profile(&mut self, epoch: u64, oldest: u64, fair: f64, report: ShardEpoch) -> Profile {
        let ShardEpoch { range, worker, keys, state_bytes, mut statistics } = report;
        statistics.settle();
        let health = health(statistics.records() as f64, fair);
        let last = statistics.summary(1);
        let rolling = if self.window > 1 { self.roll(epoch, oldest, range, statistics) } else { last.clone() };
        Profile { epoch, range, worker, keys, state_bytes, last, rolling, health }
    }

    /// Adds an epoch of a shard to its window, and sums it up.
    fn roll(&mut self, epoch: u64, oldest: u64, range: KeyRange, statistics: Statistics) -> Summary {
        let new = || Shard { since: epoch, last: epoch, window: Window::default() };
        let shard = self.shards.entry(range).or_insert_with(new);
        shard.last = epoch;
        shard.window.drop_before(oldest);
        shard.window.push(epoch, statistics);
        let epochs = epoch.saturating_sub(shard.since.max(oldest)) + 1;
        shard.window.sum().summary(epochs)
    }
}

/// One report per shard and worker, of the parts in which one operator has told them: the last one says what is held.
pub(crate) fn join_parts(reports: &mut Vec<ShardEpoch>) {
    reports.sort_by_key(|report| (report.range, report.worker));
    reports.dedup_by(|later, report| {
        let is_same = (later.range, later.worker) == (report.range, report.worker);
        if is_same {
            report.update(later);
        }
        is_same
    });
}

/// One report per shard, in order of their ranges.
fn merge(mut reports: Vec<ShardEpoch>) -> Vec<ShardEpoch> {
    // Each worker tells of its shards in order.
    reports.sort_by_key(|report| report.range);
    let mut merged: Vec<ShardEpoch> = Vec::with_capacity(reports.len());
    // The most records that one worker reported of the last shard.
    let mut most = 0;
    for report in reports {
        let records = report.statistics.records();
        match merged.last_mut().filter(|last| last.range == report.range) {
            Some(last) => {
                // Of workers with as many records, the first is named.
                if records > most || (records == most && report.worker < last.worker) {
                    last.worker = report.worker;
                }
                most = most.max(records);
                last.keys = last.keys.saturating_add(report.keys);
                last.state_bytes = last.state_bytes.saturating_add(report.state_bytes);
                last.statistics.merge(&report.statistics);
            }
            None => {
                most = records;
                merged.push(report);
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Sampler;

    fn report(range: KeyRange, worker: usize, keys: &[u64]) -> ShardEpoch {
        let (mut statistics, mut sampler) = (Statistics::default(), Sampler::new(1.0, 0));
        keys.iter().for_each(|key| _ = statistics.observe(*key, 1.0, 8, &mut sampler));
        ShardEpoch { range, worker, keys: 1, state_bytes: 10, statistics }
    }

    #[test]
    fn a_window_of_one_epoch_is_not_remembered() {
        let mut rolling = Rolling::new(1, 2);
        for epoch in 0..5 {
            let profiles = rolling.advance(epoch, vec![report(KeyRange::ALL, 0, &[1, 2, epoch])]);
            assert_eq!((profiles[0].rolling.records, &profiles[0].rolling), (3, &profiles[0].last));
            assert!(rolling.shards.is_empty() && rolling.reported.is_empty());
        }
    }

    #[test]
    fn what_is_not_reported_in_a_window_is_forgotten() {
        let mut rolling = Rolling::new(3, 2);
        let held = |rolling: &Rolling| rolling.shards.keys().map(KeyRange::start).collect::<Vec<_>>();
        for (epoch, keys) in [(0, &[1, 2][..]), (1, &[2]), (2, &[1]), (4, &[3]), (5, &[3])] {
            rolling.advance(epoch, keys.iter().map(|key| report(KeyRange::single(*key), 0, &[*key])).collect());
            let expected: &[u64] = [&[1, 2][..], &[1, 2], &[1, 2], &[], &[1, 3], &[3]][epoch as usize];
            assert_eq!(held(&rolling), expected, "epoch {epoch}");
        }
    }

    #[test]
    fn reports_of_a_shard_are_one_profile_that_names_the_worker_with_most_records() {
        let (left, right) = (KeyRange::single(1), KeyRange::single(2));
        let reports = vec![
            report(left, 2, &[1]),
            report(right, 2, &[2, 2]),
            report(left, 1, &[1, 1]),
            report(right, 0, &[2]),
            report(left, 0, &[1, 1]),
        ];
        let profiles = Rolling::new(1, 3).advance(0, reports);
        let shown: Vec<_> = profiles.iter().map(|p| (p.range, p.worker, p.last.records, p.state_bytes)).collect();
        assert_eq!(shown, [(left, 0, 5, 30), (right, 2, 3, 20)]);
    }
}
