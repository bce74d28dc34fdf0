//! What the profiles should say.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use thalweg::profile::Profile;
use thalweg::stable_hash;

use crate::stream::{Epoch, SHARDS, Stream};

/// A key with this share of its shard's records must be found.
const NOTABLE: f64 = 0.001;

/// Records of an epoch in which distinct keys are counted, and epochs: so many that the 99th percentile is one.
const DISTINCT_RECORDS: usize = 1 << 21;
const DISTINCT_EPOCHS: usize = 16;

/// How often the time of a shard's records is taken.
const REPEATS: usize = 25;

/// Of each shard: records by key, mean and deviation.
pub struct Truth {
    counts: Vec<HashMap<u64, u64>>,
    moments: Vec<(f64, f64)>,
}

pub struct DistinctErrors {
    pub shards: usize,
    pub keys: f64,
    pub p50: f64,
    pub p99: f64,
}

impl Truth {
    pub fn of(epochs: &[Epoch]) -> Self {
        let mut counts = vec![HashMap::new(); SHARDS];
        let mut values = vec![Vec::new(); SHARDS];
        for epoch in epochs {
            for record in epoch {
                *counts[record.shard() as usize].entry(record.key).or_default() += 1;
                values[record.shard() as usize].push(record.value);
            }
        }
        Truth { counts, moments: values.iter().map(|values| moments(values)).collect() }
    }

    pub fn mean_error(&self, profiles: &[Profile]) -> f64 {
        let errors = self.moments.iter().zip(profiles).map(|((mean, _), p)| (p.last.mean / mean - 1.0).abs());
        errors.fold(0.0, f64::max)
    }

    pub fn deviation_error(&self, profiles: &[Profile]) -> f64 {
        let errors = self.moments.iter().zip(profiles).map(|((_, d), p)| (p.last.deviation / d - 1.0).abs());
        errors.fold(0.0, f64::max)
    }

    /// The largest of the rolling figures.
    pub fn distinct_error(&self, profiles: &[Profile]) -> f64 {
        let error = |(counts, p): (&HashMap<_, _>, &Profile)| (p.rolling.distinct / counts.len() as f64 - 1.0).abs();
        self.counts.iter().zip(profiles).map(error).fold(0.0, f64::max)
    }

    /// The number of keys that must be found.
    pub fn notable(&self) -> usize {
        self.counts.iter().map(|counts| notable(counts).count()).sum()
    }

    /// How many of them are not among the heavy keys of the window.
    pub fn missed(&self, profiles: &[Profile]) -> usize {
        let missed = |(counts, profile): (&HashMap<u64, u64>, &Profile)| {
            notable(counts).filter(|key| profile.rolling.heavy.iter().all(|heavy| heavy.key != *key)).count()
        };
        self.counts.iter().zip(profiles).map(missed).sum()
    }
}

fn notable(counts: &HashMap<u64, u64>) -> impl Iterator<Item = u64> + '_ {
    let least = counts.values().sum::<u64>() as f64 * NOTABLE;
    counts.iter().filter(move |(_, count)| **count as f64 >= least).map(|(key, _)| *key)
}

/// Two passes, around the first value.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let offset = values.iter().map(|value| value - values[0]).sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - values[0] - offset).powi(2)).sum();
    (values[0] + offset, (squares / count).sqrt())
}

/// The errors for many shards, each with keys of its own.
pub fn distinct_errors(stream: &mut Stream, profiles: impl Fn(&Epoch) -> Vec<Profile>) -> DistinctErrors {
    let (mut errors, mut keys) = (Vec::new(), 0);
    for _ in 0..DISTINCT_EPOCHS {
        stream.redraw_keys();
        let epoch = stream.epoch(DISTINCT_RECORDS);
        let profiles = profiles(&epoch);
        for (counts, profile) in Truth::of(&[epoch]).counts.iter().zip(&profiles) {
            errors.push((profile.last.distinct / counts.len() as f64 - 1.0).abs());
            keys += counts.len();
        }
    }
    errors.sort_by(f64::total_cmp);
    let quantile = |share: f64| errors[(share * errors.len() as f64).ceil() as usize - 1];
    let shards = errors.len();
    DistinctErrors { shards, keys: keys as f64 / shards as f64, p50: quantile(0.5), p99: quantile(0.99) }
}

/// Spearman's rank correlation of `1 - health` with the time that work of one kind on every record takes, shard by
/// shard.
pub fn health_correlation(epoch: &Epoch, profiles: &[Profile]) -> f64 {
    let mut shards: Vec<Vec<u64>> = vec![Vec::new(); SHARDS];
    epoch.iter().for_each(|record| shards[record.shard() as usize].push(record.key));
    let busy: Vec<f64> = shards.iter().map(|keys| busy(keys)).collect();
    let load: Vec<f64> = profiles.iter().map(|profile| 1.0 - profile.health).collect();
    let (busy, load) = (ranks(&busy), ranks(&load));
    let count = SHARDS as f64;
    let apart: f64 = busy.iter().zip(&load).map(|(a, b)| (a - b).powi(2)).sum();
    1.0 - 6.0 * apart / (count * (count * count - 1.0))
}

/// The least time of a few, in seconds: what disturbs only adds.
fn busy(keys: &[u64]) -> f64 {
    let once = |_| {
        let before = Instant::now();
        black_box(keys.iter().fold(0, |sum: u64, key| stable_hash(&(sum, *key))));
        before.elapsed().as_secs_f64()
    };
    (0..REPEATS).map(once).fold(f64::INFINITY, f64::min)
}

/// Values are taken to differ.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    order.into_iter().enumerate().for_each(|(rank, at)| ranks[at] = rank as f64);
    ranks
}
