use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::window::Window;
use super::{Profile, Statistics, health};
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

/// Makes profiles of what the workers report, and remembers a window of epochs per shard. Pure.
///
/// A shard is known by its range: the parts of a split, and what a merge gives, begin with an empty window.
/// A shard none of whose reports is in the window any more is forgotten.
#[derive(Clone, Debug)]
pub struct Rolling {
    window: u64,
    workers: usize,
    shards: BTreeMap<KeyRange, Shard>,
}

#[derive(Clone, Debug)]
struct Shard {
    since: u64,
    last: u64,
    window: Window,
}

/// The reports of one shard in one epoch, together.
struct Merged {
    report: ShardEpoch,
    /// The most records that one worker reported.
    most: u64,
}

impl Rolling {
    /// Rolls over this many epochs (at least 1), and takes a fair share to be the load divided by `workers`.
    pub fn new(window: usize, workers: usize) -> Self {
        Rolling { window: (window as u64).max(1), workers, shards: BTreeMap::new() }
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
        self.shards.retain(|_, shard| shard.last >= oldest);
        let fair = records as f64 / self.workers as f64;
        merge(reports).into_values().map(|merged| self.profile(epoch, oldest, fair, merged.report)).collect()
    }

    fn profile(&mut self, epoch: u64, oldest: u64, fair: f64, report: ShardEpoch) -> Profile {
        let ShardEpoch { range, worker, keys, state_bytes, statistics } = report;
        let health = health(statistics.records() as f64, fair);
        let last = statistics.summary(1);
        let new = || Shard { since: epoch, last: epoch, window: Window::default() };
        let shard = self.shards.entry(range).or_insert_with(new);
        shard.last = epoch;
        shard.window.drop_before(oldest);
        shard.window.push(epoch, statistics);
        let epochs = epoch.saturating_sub(shard.since.max(oldest)) + 1;
        let rolling = shard.window.sum().summary(epochs);
        Profile { epoch, range, worker, keys, state_bytes, last, rolling, health }
    }
}

fn merge(reports: Vec<ShardEpoch>) -> BTreeMap<KeyRange, Merged> {
    let mut shards: BTreeMap<KeyRange, Merged> = BTreeMap::new();
    for report in reports {
        let records = report.statistics.records();
        if let Some(merged) = shards.get_mut(&report.range) {
            merged.add(report, records);
        } else {
            shards.insert(report.range, Merged { report, most: records });
        }
    }
    shards
}

impl Merged {
    /// Of workers with as many records, the first is named.
    fn add(&mut self, other: ShardEpoch, records: u64) {
        if records > self.most || (records == self.most && other.worker < self.report.worker) {
            self.most = records;
            self.report.worker = other.worker;
        }
        self.report.keys = self.report.keys.saturating_add(other.keys);
        self.report.state_bytes = self.report.state_bytes.saturating_add(other.state_bytes);
        self.report.statistics.merge(&other.statistics);
    }
}
