use serde::{Deserialize, Serialize};

/// Bits of the classes whose hashes are not rare, as a power of two. Seven such classes and eight rare ones, of an
/// eighth as many bits each, are four kilobytes.
const WIDE: u32 = 12;
const NARROW: u32 = WIDE - 3;
const WIDE_CLASSES: u32 = 7;

/// Class `c` has the hashes from `2^(HASH - c - 1)` on that are less than twice that, and none has the smallest ones.
const CLASSES: u32 = 15;

/// Bits that are used of a hash, the upper ones: they fit the mantissa of a float.
const HASH: u32 = 24;

pub(super) const WORDS: usize = 512;

/// Newton's method is at its end after half a dozen steps, unless nearly all bits are set.
const STEPS: usize = 24;

/// An estimate of the number of distinct keys, from a dozen to thirty million: a bitmap.
///
/// It sees every record, not only sampled ones: how often a key comes back says little about how many keys never
/// came in the sample.
///
/// The number of zeros at the start of a hash says in which class of bits it sets one, and what follows says which.
/// Each class is a linear counter (Whang and others, "A linear-time probabilistic counting algorithm", 1990) of half
/// the hashes of the class before, so that always some are neither empty nor full (Estan, Varghese and Fisk, "Bitmap
/// algorithms for counting active flows on high speed links", 2003). Neither order nor repetition matters, and merging
/// is an or. The estimate is the most likely number.
///
/// Its relative standard error is 0.8 % up to 20,000 hashes, 1 % up to 100,000, 1.4 % at a million and 3 % at ten
/// million; beyond thirty million nearly all bits are set.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(super) struct Distinct(Box<[u64; WORDS]>);

impl Default for Distinct {
    fn default() -> Self {
        Distinct(Box::new([0; WORDS]))
    }
}

impl Distinct {
    pub(super) fn observe(&mut self, key: u64) {
        let place = place(hash(key));
        self.0[place as usize / 64 % WORDS] |= 1 << (place % 64);
    }

    /// Takes on the bits of keys, as their places say.
    pub(super) fn set(&mut self, words: &[u64; WORDS]) {
        self.0.copy_from_slice(words);
    }

    pub(super) fn words(&self) -> &[u64; WORDS] {
        &self.0
    }

    pub(super) fn merge(&mut self, other: &Distinct) {
        self.0.iter_mut().zip(&*other.0).for_each(|(ours, theirs)| *ours |= theirs);
    }

    /// The most likely number of hashes.
    ///
    /// With `x` hashes, a bit of a class that has `b` bits and a share `s` of the hashes is still empty with the
    /// probability `exp(-x s / b)`. The derivative of the logarithm of what is to be maximised falls with `x` and is
    /// convex, so that Newton's method climbs, from below, to where it is 0. It starts from the bound that
    /// `y / (exp(y) - 1) >= 1 - y / 2` gives.
    pub(super) fn estimate(&self) -> f64 {
        let classes = self.count();
        let set: f64 = classes.iter().map(|class| class.set).sum();
        if set == 0.0 {
            return 0.0;
        }
        let empty: f64 = classes.iter().map(|class| class.empty * class.rate).sum();
        let half: f64 = classes.iter().map(|class| class.set * class.rate).sum::<f64>() / 2.0;
        let mut x = set / (empty + half);
        for _ in 0..STEPS {
            let (mut slope, mut bend) = (-empty, 0.0);
            for class in &classes {
                let growth = (x * class.rate).exp_m1();
                slope += class.set * class.rate / growth;
                bend += class.set * class.rate * class.rate * (1.0 + 1.0 / growth) / growth;
            }
            let step = slope / bend;
            if step.is_nan() || step <= 1e-9 * x {
                break;
            }
            x += step;
        }
        x
    }

    fn count(&self) -> [Class; CLASSES as usize] {
        std::array::from_fn(|class| {
            let (first, bits) = bits(class as u32);
            let (from, words) = (first as usize / 64, bits as usize / 64);
            let set = self.0[from..from + words].iter().map(|word| word.count_ones()).sum::<u32>();
            let share = (-(class as f64 + 1.0)).exp2();
            Class { set: set.into(), empty: f64::from(bits - set), rate: share / f64::from(bits) }
        })
    }
}

/// What is known of the bits of a class.
struct Class {
    set: f64,
    empty: f64,
    /// The chance of one of its bits to be the one that a hash sets.
    rate: f64,
}

/// The first bit of a class, and the number of its bits. Wide classes come first, and rarer ones before others.
fn bits(class: u32) -> (u32, u32) {
    match (WIDE_CLASSES - 1).checked_sub(class) {
        Some(before) => (before << WIDE, 1 << WIDE),
        None => ((WIDE_CLASSES << WIDE) + ((CLASSES - 1 - class) << NARROW), 1 << NARROW),
    }
}

/// The bit that a hash sets: in arithmetic that the compiler does for several of them at once. Without a branch:
/// whether a hash is a new one can't be foreseen.
///
/// A float has as its exponent how many zeros an integer starts with, and then what follows. What is added keeps the
/// smallest hashes apart from what has no class; of the largest, one in `2^15` sets a bit that is not its own.
#[inline]
pub(super) fn place(hash: u32) -> u32 {
    let float = (((hash >> (u32::BITS - HASH)) + (1 << (HASH - CLASSES))) as i32 as f32).to_bits();
    let exponent = f32::MAX_EXP as u32 - 2 + HASH;
    let wide = (float >> (f32::MANTISSA_DIGITS - 1 - WIDE)).wrapping_sub((exponent - WIDE_CLASSES + 1) << WIDE) as i32;
    let narrow = (float >> (f32::MANTISSA_DIGITS - 1 - NARROW)).wrapping_sub((exponent - CLASSES + 1) << NARROW) as i32;
    (if wide >= 0 { wide } else { narrow + (WIDE_CLASSES << WIDE) as i32 }) as u32
}

/// Products of the key's halves with large odd constants, folded, and the middle of about the square of that: products
/// with constants alone spread keys that are numbered more evenly than chance does, which estimates take for more keys.
#[inline]
pub(super) fn hash(key: u64) -> u32 {
    const LOW: u64 = u32::MAX as u64;
    let key = key ^ 0x243f_6a88_85a3_08d3;
    let product = (key & LOW).wrapping_mul(0x9e37_79b9).wrapping_add((key >> 32).wrapping_mul(0xd6e8_feb9));
    let folded = ((product >> 32) ^ product) & LOW;
    (folded.wrapping_mul(folded ^ 0xc2b2_ae3d) >> 16) as u32
}

/// As on the wire: the words that are not 0, by their positions, or all of them.
#[derive(Serialize, Deserialize)]
enum Written {
    Few(Vec<(u16, u64)>),
    Many(#[serde(with = "serde_bytes")] Vec<u8>),
}

impl From<Distinct> for Written {
    fn from(distinct: Distinct) -> Self {
        let few: Vec<(u16, u64)> = (0..).zip(*distinct.0).filter(|(_, word)| *word != 0).collect();
        if few.len() < WORDS / 2 {
            return Written::Few(few);
        }
        Written::Many(distinct.0.iter().flat_map(|word| word.to_le_bytes()).collect())
    }
}

/// Any bits are possible, where there are some.
impl TryFrom<Written> for Distinct {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let mut distinct = Distinct::default();
        match written {
            Written::Few(few) => {
                for (at, word) in few {
                    *distinct.0.get_mut(usize::from(at)).ok_or("a sketch of distinct keys ends before its bits")? |=
                        word;
                }
            }
            Written::Many(bytes) if bytes.len() == WORDS * 8 => {
                let words = bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
                distinct.0.iter_mut().zip(words).for_each(|(ours, theirs)| *ours = theirs);
            }
            Written::Many(_) => return Err("a sketch of distinct keys has another number of bits"),
        }
        Ok(distinct)
    }
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
            _ => u64::from_be_bytes(*b"key00000") + ((i / 100) << 16) + ((i / 10 % 10) << 8) + i % 10,
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
    fn few_keys_are_told_nearly_exactly() {
        for kind in 0..KINDS {
            for count in [0, 1, 5, 64, 190] {
                let estimate = of((0..count).chain(0..count).map(|i| key(kind, i))).estimate();
                assert!(
                    (estimate - count as f64).abs() <= (0.02 * count as f64).max(0.01),
                    "{kind}: {estimate} of {count}"
                );
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
