use serde::{Deserialize, Serialize};

use super::bitmap::Bitmap;
use super::coupons::Coupons;

/// An estimate of the number of distinct keys.
///
/// It sees every record, not only sampled ones: how often a key comes back says little about how many keys never
/// came in the sample. Few hashes of keys are kept as they are; when there are too many for that, a bitmap takes over.
/// Neither depends on the order of records and merges.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Distinct {
    Few(Box<Coupons>),
    Many(Bitmap),
}

impl Default for Distinct {
    fn default() -> Self {
        Distinct::Few(Box::default())
    }
}

impl Distinct {
    #[inline]
    pub(super) fn observe(&mut self, key: u64) {
        let hash = hash(key);
        match self {
            Distinct::Many(bitmap) => bitmap.observe(hash),
            Distinct::Few(_) => self.observe_one_of_few(hash),
        }
    }

    pub(super) fn merge(&mut self, other: &Distinct) {
        match other {
            Distinct::Few(theirs) => theirs.iter().for_each(|hash| match self {
                Distinct::Many(bitmap) => bitmap.observe(hash),
                Distinct::Few(_) => self.observe_one_of_few(hash),
            }),
            Distinct::Many(theirs) => self.bitmap().merge(theirs),
        }
    }

    pub(super) fn estimate(&self) -> f64 {
        match self {
            Distinct::Few(coupons) => coupons.len() as f64,
            Distinct::Many(bitmap) => bitmap.estimate(),
        }
    }

    #[inline(never)]
    fn observe_one_of_few(&mut self, hash: u64) {
        if let Distinct::Few(coupons) = self
            && !coupons.observe(hash)
        {
            self.bitmap().observe(hash);
        }
    }

    /// The bitmap, which takes over from the few for good.
    fn bitmap(&mut self) -> &mut Bitmap {
        if let Distinct::Few(coupons) = self {
            let mut bitmap = Bitmap::default();
            coupons.iter().for_each(|hash| bitmap.observe(hash));
            *self = Distinct::Many(bitmap);
        }
        match self {
            Distinct::Many(bitmap) => bitmap,
            Distinct::Few(_) => unreachable!("the few have just been replaced"),
        }
    }
}

/// A product with a large odd constant, folded, and one more: with one alone, keys that are numbered would be spread
/// more evenly than chance does, which estimates take for more keys. Use the upper bits first.
#[inline]
fn hash(key: u64) -> u64 {
    let product = u128::from(key ^ 0x243f_6a88_85a3_08d3) * 0x9e37_79b9_7f4a_7c15;
    let folded = (product >> 64) as u64 ^ product as u64;
    (folded ^ (folded >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::sampler::Random;

    fn of(keys: impl Iterator<Item = u64>) -> Distinct {
        let mut distinct = Distinct::default();
        keys.for_each(|k| distinct.observe(k));
        distinct
    }

    /// What routing keys look like: small integers, multiples, those of one shard of many, hashes, numbers as text.
    fn key(kind: usize, i: u64) -> u64 {
        match kind {
            0 => i,
            1 => i << 40,
            2 => i * 1000,
            3 => (7 << 52) | (i * 0x1_0001),
            4 => crate::stable_hash(&i),
            5 => crate::stable_hash(&i) >> 16,
            _ => u64::from_be_bytes(*b"key00000") + (i / 100 << 16) + (i / 10 % 10 << 8) + i % 10,
        }
    }

    const KINDS: usize = 7;

    /// The errors of estimates of so many keys, relative, smallest first, over starting points of each kind.
    fn errors(kind: usize, count: u64, tries: u64) -> Vec<f64> {
        let mut random = Random::new(count);
        let error = |from: u64| of((from..from + count).map(|i| key(kind, i))).estimate() / count as f64 - 1.0;
        let mut errors: Vec<f64> = (0..tries).map(|_| error(random.next() % (1 << 20)).abs()).collect();
        errors.sort_by(f64::total_cmp);
        errors
    }

    #[test]
    fn few_keys_are_counted() {
        for kind in 0..KINDS {
            for count in [0, 1, 5, 64, 190] {
                assert_eq!(of((0..count).chain(0..count).map(|i| key(kind, i))).estimate(), count as f64, "{kind}");
            }
        }
    }

    #[test]
    fn many_keys_are_estimated_whatever_they_look_like() {
        for kind in 0..KINDS {
            for count in [2_000, 8_000, 16_000, 60_000] {
                let errors = errors(kind, count, 40);
                assert!(errors[20] < 0.011 && errors[39] < 0.04, "{kind}, {count}: {errors:?}");
            }
        }
        let error = of(0..3_000_000).estimate() / 3e6 - 1.0;
        assert!(error.abs() < 0.04, "{error}");
    }

    #[test]
    fn merging_gives_the_estimate_of_one_pass() {
        for (left, right) in [(0..0, 0..9), (0..200, 100..300), (0..30_000, 20_000..60_000), (0..50_000, 0..3)] {
            let mut merged = of(left.clone());
            merged.merge(&of(right.clone()));
            let mut reversed = of(right.clone());
            reversed.merge(&of(left.clone()));
            let whole = of(left.chain(right)).estimate();
            assert_eq!((merged.estimate(), reversed.estimate()), (whole, whole));
        }
    }

    #[test]
    fn a_damaged_sketch_is_an_error() {
        for count in [10, 10_000] {
            let bytes = postcard::to_allocvec(&of(0..count)).unwrap();
            assert_eq!(postcard::from_bytes::<Distinct>(&bytes).unwrap().estimate(), of(0..count).estimate());
            assert!(postcard::from_bytes::<Distinct>(&bytes[..bytes.len() - 1]).is_err());
        }
        let other = postcard::to_allocvec(&(1u32, serde_bytes::ByteBuf::from(vec![0; 100]))).unwrap();
        assert!(postcard::from_bytes::<Distinct>(&other).is_err());
        let full = postcard::to_allocvec(&(1u32, serde_bytes::ByteBuf::from(vec![0xff; 4096]))).unwrap();
        assert!(postcard::from_bytes::<Distinct>(&full).unwrap().estimate().is_finite());
    }

    /// For the figures in the documentation: `cargo test --release -- --ignored errors_of --nocapture`.
    #[test]
    #[ignore = "takes minutes, to print figures"]
    fn errors_of_many_estimates() {
        for kind in 0..KINDS {
            for count in [1_000, 4_000, 8_000, 16_000, 24_000, 100_000] {
                let errors = errors(kind, count, 1_000);
                let root = (errors.iter().map(|e| e * e).sum::<f64>() / 1e3).sqrt();
                println!("kind {kind}, {count:7} keys: {:.2} %, p99 {:.2} %", 100.0 * root, 100.0 * errors[989]);
            }
        }
    }
}
