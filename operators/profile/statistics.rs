use serde::{Deserialize, Serialize};

use super::distinct::{Distinct, WORDS};
use super::head::Head;
use super::moments::Moments;
use super::sketches::{self, Samples, Sketches};
use super::{Sampler, Sizes, Summary};

/// What is known of some records of one shard, usually those of one epoch. Mergeable, and small on the wire.
///
/// Counts, moments of the value, and the sum and the largest of the sizes take in every record. The first
/// [`HEAD`](super::HEAD) records are kept as they are; beyond them, distinct keys take in every record, and heavy
/// keys, quantiles of sizes and the sample of keys take in those that the [`Sampler`] picks, weighted.
///
/// ```
/// use thalweg::profile::{Sampler, Statistics};
///
/// let mut sampler = Sampler::new(0.125, 0);
/// let mut statistics = Statistics::default();
/// for i in 0..100_000u64 {
///     let key = if i % 4 == 0 { 7 } else { i % 1_000 };
///     statistics.observe(key, i as f64, 24, &mut sampler);
/// }
/// let summary = statistics.summary(1);
/// assert_eq!((summary.records, summary.mean), (100_000, 49_999.5));
/// assert!((summary.distinct / 751.0 - 1.0).abs() < 0.05);
/// assert!(summary.heavy[0].key == 7 && (summary.heavy[0].share - 0.25).abs() < 0.02);
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Statistics {
    records: u64,
    moments: Moments,
    bytes: u64,
    largest: u64,
    busy_nanos: u64,
    detail: Detail,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Detail {
    Head(Head),
    Sketches(#[serde(serialize_with = "sketches::serialize")] Box<Sketches>),
}

impl Default for Detail {
    fn default() -> Self {
        Detail::Head(Head::default())
    }
}

impl Statistics {
    /// Of so many records that have one value and one size, and have only been counted.
    pub(super) fn counted(records: u64, value: f64, size: usize) -> Self {
        let mut statistics = Statistics::default();
        statistics.add_alike(records, value, size);
        statistics
    }

    /// Takes in a record: its routing key, its value, and its size in bytes. Whether the sampler picked it, so that
    /// the caller may time it and report that to [`add_busy`](Self::add_busy).
    ///
    /// A value that is NaN or infinite is left out of the mean and the deviation; the record counts all the same.
    pub fn observe(&mut self, routing: u64, value: f64, size: usize, sampler: &mut Sampler) -> bool {
        let sampled = sampler.sample();
        let size = size as u64;
        if !self.observe_first(routing, value, size, sampler) {
            self.count(value, size);
            let sketches = self.detail.sketches();
            sketches.distinct.observe(routing);
            if sampled {
                sketches.observe(routing, size, sampler.every());
            }
        }
        sampled
    }

    /// Takes in so many records that are all alike: what as many calls of [`observe`](Self::observe) would, but in time
    /// for those that the sampler picks. For simulations.
    pub fn observe_run(&mut self, routing: u64, value: f64, size: usize, mut records: u64, sampler: &mut Sampler) {
        while records > 0 && matches!(self.detail, Detail::Head(_)) {
            self.observe(routing, value, size, sampler);
            records -= 1;
        }
        let Detail::Sketches(sketches) = &mut self.detail else { return };
        if records == 0 {
            return;
        }
        let length = size as u64;
        self.records += records;
        self.moments.observe_run(value, records);
        self.bytes = self.bytes.saturating_add(length.saturating_mul(records));
        self.largest = self.largest.max(length);
        sketches.distinct.observe(routing);
        (0..sampler.sample_run(records)).for_each(|_| sketches.observe(routing, length, sampler.every()));
    }

    /// Adds time spent on the records, in nanoseconds. The time that a sampled record took is to be multiplied by
    /// [`Sampler::every`], for the records that it stands for.
    pub fn add_busy(&mut self, nanos: u64) {
        self.busy_nanos = self.busy_nanos.saturating_add(nanos);
    }

    /// Takes in all that the other one has.
    pub fn merge(&mut self, other: &Statistics) {
        if self.records == 0 {
            let busy_nanos = self.busy_nanos;
            *self = other.clone();
            self.add_busy(busy_nanos);
            return;
        }
        self.records = self.records.saturating_add(other.records);
        self.moments.merge(&other.moments);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.largest = self.largest.max(other.largest);
        self.add_busy(other.busy_nanos);
        self.detail.merge(&other.detail);
    }

    /// Time spent on the records, in nanoseconds.
    pub fn busy_nanos(&self) -> u64 {
        self.busy_nanos
    }

    /// The number of records.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The figures, as of this many epochs.
    pub fn summary(&self, epochs: u64) -> Summary {
        let blank = Summary { epochs, busy_nanos: self.busy_nanos, ..Summary::default() };
        if self.records == 0 {
            return blank;
        }
        let mut summary = Summary {
            records: self.records,
            mean: self.moments.mean(),
            deviation: self.moments.deviation(),
            sizes: Sizes { mean: self.bytes as f64 / self.records as f64, max: self.largest, ..Sizes::default() },
            ..blank
        };
        self.detail.describe(&mut summary);
        summary
    }

    /// Does what would have to be done each time that it is looked at or merged into others.
    pub(super) fn settle(&mut self) {
        if let Detail::Sketches(sketches) = &mut self.detail {
            sketches.settle();
        }
    }

    /// Takes in a record, all of it, if it is one of the first; whether it was.
    pub(super) fn observe_first(&mut self, routing: u64, value: f64, size: u64, sampler: &mut Sampler) -> bool {
        let Detail::Head(head) = &mut self.detail else { return false };
        if !head.has_room_for(1) {
            return false;
        }
        if head.is_empty() {
            head.seed = sampler.seed();
        }
        head.push(routing, size);
        self.count(value, size);
        true
    }

    /// Takes in a record, but for what the detail is about.
    pub(super) fn count(&mut self, value: f64, size: u64) {
        self.records += 1;
        self.moments.observe(value);
        self.bytes = self.bytes.saturating_add(size);
        self.largest = self.largest.max(size);
    }
}

/// For [`Gathering`](super::Gathering), which takes in the records after the first in parts, and keeps the distinct
/// keys to itself meanwhile.
impl Statistics {
    /// The distinct keys of the first records, to be continued; from now on there are sketches.
    pub(super) fn outgrow(&mut self) -> &Distinct {
        &self.detail.sketches().distinct
    }

    /// Leaves no more of the first records than of those that are only counted.
    pub(super) fn forget_first(&mut self) {
        self.detail = Detail::default();
    }

    /// Where [`Sums`](super::moments::Sums) of the values to come begin.
    pub(super) fn centre(&self) -> f64 {
        self.moments.centre()
    }

    /// Takes in records that the sampler picked, of which each stands for `weight`, but for counts, sums and distinct
    /// keys; leaves none.
    pub(super) fn take_in(&mut self, samples: &mut Samples, weight: u64) {
        if let Detail::Sketches(sketches) = &mut self.detail {
            sketches.take_in(samples, weight);
        }
    }

    /// Takes in counts and sums.
    pub(super) fn add(&mut self, records: u64, moments: &Moments, bytes: u64, largest: u64) {
        self.records += records;
        self.moments.merge(moments);
        self.bytes = self.bytes.saturating_add(bytes);
        self.largest = self.largest.max(largest);
    }

    /// Takes in counts and sums, and sizes, of records that have one value and one size.
    pub(super) fn add_alike(&mut self, records: u64, value: f64, size: usize) {
        let (mut moments, size) = (Moments::default(), size as u64);
        moments.observe_run(value, records);
        if records > 0 {
            self.add(records, &moments, size.saturating_mul(records), size);
            if let Detail::Sketches(sketches) = &mut self.detail {
                sketches.sizes.observe(size, records);
            }
        }
    }

    /// Takes in the distinct keys, and lets go of what is not worth sending.
    pub(super) fn finish(&mut self, distinct: &[u64; WORDS]) {
        if let Detail::Sketches(sketches) = &mut self.detail {
            sketches.distinct.set(distinct);
            sketches.heavy.shrink();
        }
    }
}

impl Detail {
    /// The sketches, which take over from the head for good.
    fn sketches(&mut self) -> &mut Sketches {
        if let Detail::Head(head) = self {
            *self = Detail::Sketches(Box::new(Sketches::of(head)));
        }
        match self {
            Detail::Sketches(sketches) => sketches,
            Detail::Head(_) => unreachable!("the head has just been replaced"),
        }
    }

    fn merge(&mut self, other: &Detail) {
        match (self, other) {
            (Detail::Head(ours), Detail::Head(theirs)) if ours.has_room_for(theirs.len()) => ours.append(theirs),
            (ours, Detail::Head(theirs)) => ours.sketches().absorb(theirs),
            (ours, Detail::Sketches(theirs)) => ours.sketches().merge(theirs),
        }
    }

    fn describe(&self, summary: &mut Summary) {
        match self {
            Detail::Head(head) => {
                if head.is_empty() {
                    return;
                }
                let keys = head.keys();
                let (distinct, heavy) = Head::weigh(&keys);
                summary.distinct = distinct as f64;
                summary.skew = heavy.first().map_or(1.0, |key| key.share * summary.distinct).max(1.0);
                summary.heavy = heavy;
                [summary.sizes.p50, summary.sizes.p99] = head.quantiles([0.5, 0.99]);
                summary.sample = keys;
            }
            Detail::Sketches(sketches) => {
                let sketches = sketches.settled();
                summary.distinct = sketches.distinct.estimate().min(summary.records as f64);
                summary.heavy = sketches.heavy.keys();
                summary.skew = sketches.heavy.skew(summary.heavy.first(), summary.distinct);
                let quantile = |share| sketches.sizes.quantile(share).min(summary.sizes.max);
                (summary.sizes.p50, summary.sizes.p99) = (quantile(0.5), quantile(0.99));
                summary.sample = sketches.keys.keys();
            }
        }
    }
}
