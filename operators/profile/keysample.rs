use serde::{Deserialize, Serialize};

use super::reservoir::Reservoir;
use super::sampler::Random;

/// Enough to cut a shard into parts of equal load to within a few percent.
pub const KEY_SAMPLE: usize = 64;

/// A sample of the records' routing keys, each with a chance in proportion to its weight.
///
/// Every record draws an exponential variate divided by its weight, and the smallest stay (Efraimidis and Spirakis,
/// "Weighted random sampling with a reservoir", 2006). So merging is to keep the smallest of both.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct KeySample {
    /// Ascending by what was drawn.
    kept: Vec<(f32, u64)>,
    random: Random,
}

impl KeySample {
    pub(super) fn new(seed: u64) -> Self {
        KeySample { kept: Vec::new(), random: Random::new(seed) }
    }

    pub(super) fn observe(&mut self, key: u64, weight: u64) {
        let (uniform, weight) = (self.random.unit(), weight as f64);
        // As -ln(u) >= 1 - u, most records are out before the logarithm.
        let may_stay =
            self.kept.get(KEY_SAMPLE - 1).is_none_or(|(worst, _)| 1.0 - uniform < f64::from(*worst) * weight);
        if may_stay {
            self.keep((-uniform.ln() / weight) as f32, key);
        }
    }

    pub(super) fn merge(&mut self, other: &KeySample) {
        other.kept.iter().for_each(|(drawn, key)| self.keep(*drawn, *key));
    }

    /// Takes in records of one weight, of which only some have been kept: a draw each, from the smallest that all of them
    /// would have had on (Rényi, "On the theory of order statistics", 1953).
    pub(super) fn absorb(&mut self, reservoir: Reservoir, weight: u64) {
        let (mut drawn, mut left) = (0.0, reservoir.seen());
        for key in reservoir.shuffled(&mut self.random) {
            drawn -= self.random.unit().ln() / (left * weight) as f64;
            left -= 1;
            self.keep(drawn as f32, key);
        }
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

    /// The same with a part that went through a reservoir.
    #[test]
    fn what_is_kept_of_many_counts_as_many() {
        let (mut low, mut first) = (0, 0);
        for seed in 0..400 {
            let (mut sample, mut reservoir, mut random) =
                (KeySample::new(seed), Reservoir::default(), Random::new(seed + 1_000));
            (0..1_000).for_each(|i| sample.observe(i % 100, 1));
            (100..1_100).for_each(|i| reservoir.observe(i, &mut random));
            sample.absorb(reservoir, 3);
            assert_eq!(sample.keys().len(), KEY_SAMPLE);
            low += sample.keys().iter().filter(|k| **k < 100).count();
            first += sample.keys().iter().filter(|k| (100..600).contains(*k)).count();
        }
        let share = |count: usize| count as f64 / (400.0 * KEY_SAMPLE as f64);
        assert!((share(low) - 0.25).abs() < 0.02, "{low}");
        assert!((share(first) - 0.375).abs() < 0.02, "{first}");
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
