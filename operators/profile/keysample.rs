use serde::{Deserialize, Serialize};

use super::sampler::Random;

/// Enough to cut a shard into parts of equal load to within a few percent.
pub const KEY_SAMPLE: usize = 64;

/// A sample of the records' routing keys, each with a chance in proportion to its weight.
///
/// Every record draws an exponential variate divided by its weight, and the smallest stay, so that merging is to keep
/// the smallest of both (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006). How much weight
/// goes by before a record stays is an exponential variate too: most records are only counted down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct KeySample {
    /// Ascending by what was drawn.
    kept: Vec<(f32, u64)>,
    /// Weight that goes by before the next record stays; without meaning before there are [`KEY_SAMPLE`].
    passing: f64,
    random: Random,
}

impl KeySample {
    pub(super) fn new(seed: u64) -> Self {
        KeySample { kept: Vec::new(), passing: 0.0, random: Random::new(seed) }
    }

    #[inline]
    pub(super) fn observe(&mut self, key: u64, weight: u64) {
        self.passing -= weight as f64;
        if self.passing <= 0.0 {
            self.draw(key, weight as f64);
        }
    }

    pub(super) fn merge(&mut self, other: &KeySample) {
        other.kept.iter().for_each(|(drawn, key)| self.keep(*drawn, *key));
        self.pass();
    }

    /// A record stays: what it has drawn is less than the worst.
    #[cold]
    fn draw(&mut self, key: u64, weight: f64) {
        let chance = self.worst().map_or(1.0, |worst| -(-f64::from(worst) * weight).exp_m1());
        let drawn = -(-self.random.unit() * chance).ln_1p() / weight;
        self.keep(drawn as f32, key);
        self.pass();
    }

    /// Nothing has to be remembered of what has gone by already: the variate has no memory.
    fn pass(&mut self) {
        self.passing = match self.worst() {
            Some(worst) => -self.random.unit().ln() / f64::from(worst),
            None => 0.0,
        };
    }

    /// What has to be undercut for a place; none while there is one for all.
    fn worst(&self) -> Option<f32> {
        self.kept.get(KEY_SAMPLE - 1).map(|(drawn, _)| *drawn)
    }

    /// The sampled keys, ascending.
    pub(super) fn keys(&self) -> Vec<u64> {
        let mut keys: Vec<u64> = self.kept.iter().map(|(_, key)| *key).collect();
        keys.sort_unstable();
        keys
    }

    fn keep(&mut self, drawn: f32, key: u64) {
        let at = self.kept.partition_point(|(kept, _)| *kept <= drawn);
        if at < KEY_SAMPLE {
            self.kept.truncate(KEY_SAMPLE - 1);
            self.kept.insert(at, (drawn, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_keys_are_all_there() {
        let mut sample = KeySample::new(1);
        (0..KEY_SAMPLE as u64).rev().for_each(|k| sample.observe(k, 8));
        assert_eq!(sample.keys(), (0..KEY_SAMPLE as u64).collect::<Vec<_>>());
    }

    /// Over many seeds, how much of the sample comes from keys below 100: these are a quarter of the weight.
    #[test]
    fn weights_count_across_merges() {
        let mut low = 0;
        for seed in 0..200 {
            let (mut left, mut right) = (KeySample::new(seed), KeySample::new(seed + 1_000));
            (0..1_000).for_each(|i| left.observe(i % 100, 1));
            (0..1_000).for_each(|i| right.observe(100 + i, 3));
            left.merge(&right);
            assert_eq!(left.keys().len(), KEY_SAMPLE);
            low += left.keys().iter().filter(|k| **k < 100).count();
        }
        let share = f64::from(low as u32) / (200.0 * KEY_SAMPLE as f64);
        assert!((share - 0.25).abs() < 0.02, "{share}");
    }

    #[test]
    fn early_and_late_records_have_the_same_chance() {
        let mut late = 0;
        for seed in 0..200 {
            let mut sample = KeySample::new(seed);
            (0..10_000).for_each(|i| sample.observe(i, 1));
            late += sample.keys().iter().filter(|k| **k >= 5_000).count();
        }
        assert!((f64::from(late as u32) / (200.0 * KEY_SAMPLE as f64) - 0.5).abs() < 0.02);
    }
}
