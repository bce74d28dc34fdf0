use serde::{Deserialize, Serialize};

/// Decides which records the costly sketches see: one in [`every`](Sampler::every), after gaps that are
/// pseudo-random, so that an input with a period of its own is sampled fairly. The same seed gives the same gaps.
///
/// A worker has one for all its shards.
#[derive(Clone, Debug)]
pub struct Sampler {
    every: u64,
    countdown: u64,
    random: Random,
}

impl Sampler {
    /// Samples this share of records, taken as one in n for the nearest whole n.
    ///
    /// What is not in (0, 1] is taken for the nearer end; [`ProfileConfig::validate`](super::ProfileConfig::validate)
    /// is where to refuse it.
    pub fn new(share: f64, seed: u64) -> Self {
        let every = (1.0 / share.max(0.0)).round().clamp(1.0, f64::from(u32::MAX));
        let mut sampler = Sampler { every: every as u64, countdown: 0, random: Random::new(seed) };
        sampler.restart();
        sampler
    }

    /// How many records a sampled one stands for.
    pub fn every(&self) -> u64 {
        self.every
    }

    /// Counts a record; whether it is to be sampled.
    #[inline]
    pub fn sample(&mut self) -> bool {
        self.countdown -= 1;
        if self.countdown > 0 {
            return false;
        }
        self.restart();
        true
    }

    /// Counts so many records; how many of them are to be sampled.
    pub(super) fn sample_run(&mut self, records: u64) -> u64 {
        let mut sampled = 0;
        self.pick(records as usize, |_| sampled += 1);
        sampled
    }

    /// Records up to and with the next sampled one.
    pub(crate) fn gap(&mut self) -> u64 {
        self.restart();
        self.countdown
    }

    /// Counts so many records; gives which of them are to be sampled, by their positions.
    #[inline]
    pub(super) fn pick(&mut self, records: usize, mut each: impl FnMut(usize)) {
        let mut done = 0;
        while self.countdown <= records as u64 - done {
            done += self.countdown;
            each(done as usize - 1);
            self.restart();
        }
        self.countdown -= records as u64 - done;
    }

    /// A gap between 1 and `2 * every - 1`, whose mean is `every`.
    fn restart(&mut self) {
        self.countdown = 1 + self.random.below(2 * self.every - 1);
    }

    /// A seed for something that must not repeat what others of this worker draw.
    pub(super) fn seed(&mut self) -> u64 {
        self.random.next()
    }
}

/// `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform below this number, which is not 0.
    #[inline]
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// Uniform in (0, 1].
    pub(super) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_kept_and_a_period_does_not_show() {
        let mut sampler = Sampler::new(0.125, 3);
        let mut seen = [0u32; 8];
        for i in 0..80_000 {
            seen[i % 8] += u32::from(sampler.sample());
        }
        assert!(seen.iter().all(|n| (1100..1400).contains(n)), "{seen:?}");
    }

    #[test]
    fn any_share_gives_a_sampler() {
        for (share, every) in [
            (1.0, 1),
            (0.7, 1),
            (0.5, 2),
            (0.1, 10),
            (7.0, 1),
            (0.0, u32::MAX.into()),
            (-1.0, u32::MAX.into()),
            (f64::NAN, u32::MAX.into()),
        ] {
            assert_eq!(Sampler::new(share, 0).every(), every, "{share}");
        }
        let mut all = Sampler::new(1.0, 0);
        assert!((0..100).all(|_| all.sample()));
    }
}
