use serde::{Deserialize, Serialize};

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

    pub(super) fn merge(&mut self, other: &KeySample) {
        self.keep(&other.kept);
    }

    /// Takes in keys of one weight, and leaves them in another order: a draw each, from the smallest that all of them
    /// would have had on (Rényi, "On the theory of order statistics", 1953), as long as they stay.
    pub(super) fn absorb(&mut self, keys: &mut [u64], weight: u64) {
        let worst = self.kept.get(KEY_SAMPLE - 1).map_or(f32::INFINITY, |(worst, _)| *worst);
        let (mut drawn, mut new) = (0.0, Vec::with_capacity(KEY_SAMPLE));
        for at in 0..keys.len().min(KEY_SAMPLE) {
            let left = (keys.len() - at) as u64;
            drawn -= self.random.unit().ln() / (left * weight) as f64;
            if drawn as f32 >= worst {
                break;
            }
            keys.swap(at, at + self.random.below(left) as usize);
            new.push((drawn as f32, keys[at]));
        }
        self.keep(&new);
    }

    /// The sampled keys, ascending.
    pub(super) fn keys(&self) -> Vec<u64> {
        let mut keys: Vec<u64> = self.kept.iter().map(|(_, key)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// Keeps the smallest of those that are kept and of others, which ascend too.
    fn keep(&mut self, others: &[(f32, u64)]) {
        let mut kept = Vec::with_capacity(KEY_SAMPLE);
        let (mut ours, mut theirs) = (self.kept.iter().peekable(), others.iter().peekable());
        while kept.len() < KEY_SAMPLE {
            let is_ours = match (ours.peek(), theirs.peek()) {
                (Some((our, _)), Some((their, _))) => our <= their,
                (our, _) => our.is_some(),
            };
            let Some(next) = (if is_ours { ours.next() } else { theirs.next() }) else { break };
            kept.push(*next);
        }
        self.kept = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_keys_are_all_there() {
        let mut sample = KeySample::new(1);
        sample.absorb(&mut (0..KEY_SAMPLE as u64).rev().collect::<Vec<_>>(), 8);
        assert_eq!(sample.keys(), (0..KEY_SAMPLE as u64).collect::<Vec<_>>());
    }

    /// Over many seeds, how much of the sample comes from keys below 100: these are a quarter of the weight.
    #[test]
    fn weights_count_across_merges() {
        let mut low = 0;
        for seed in 0..200 {
            let (mut left, mut right) = (KeySample::new(seed), KeySample::new(seed + 1_000));
            left.absorb(&mut (0..1_000).map(|i| i % 100).collect::<Vec<_>>(), 1);
            right.absorb(&mut (100..1_100).collect::<Vec<_>>(), 3);
            left.merge(&right);
            assert_eq!(left.keys().len(), KEY_SAMPLE);
            low += left.keys().iter().filter(|k| **k < 100).count();
        }
        let share = f64::from(low as u32) / (200.0 * KEY_SAMPLE as f64);
        assert!((share - 0.25).abs() < 0.02, "{share}");
    }

    /// The same within one sample, which takes in a part after the other.
    #[test]
    fn weights_count_across_parts() {
        let (mut low, mut first) = (0, 0);
        for seed in 0..400 {
            let mut sample = KeySample::new(seed);
            sample.absorb(&mut (0..1_000).map(|i| i % 100).collect::<Vec<_>>(), 1);
            sample.absorb(&mut (100..1_100).collect::<Vec<_>>(), 3);
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
            (0..10).for_each(|part| sample.absorb(&mut (0..1_000).map(|i| part * 1_000 + i).collect::<Vec<_>>(), 1));
            late += sample.keys().iter().filter(|k| **k >= 5_000).count();
        }
        assert!((f64::from(late as u32) / (200.0 * KEY_SAMPLE as f64) - 0.5).abs() < 0.02);
    }
}
