use datasketches::hll::{HllSketch, HllType, HllUnion};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// 4096 registers of a byte: a relative standard error of 1.6 %.
const LG_REGISTERS: u8 = 12;

/// Where the registers begin in the written form of a sketch that has any.
const REGISTERS_AT: usize = 40;

/// No register of 64-bit hashes is larger; the sketch trusts what it reads.
const LARGEST_REGISTER: u8 = 63;

/// Enough to catch the heavy keys of a skewed shard; two kilobytes stay in the first-level cache.
const LG_RECENT: u32 = 8;

/// An estimate of the number of distinct keys.
///
/// It sees every record, not only sampled ones: how often a key comes back says little about how many keys never
/// came in the sample. What makes that cheap is a table of recent keys in front, which a key that has just been seen
/// does not pass. The estimate is the composite one, which does not depend on the order of records and merges.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Distinct {
    #[serde(serialize_with = "write", deserialize_with = "read")]
    union: HllUnion,
    #[serde(skip)]
    recent: Recent,
}

impl Default for Distinct {
    fn default() -> Self {
        Distinct { union: empty(), recent: Recent::default() }
    }
}

impl Distinct {
    #[inline]
    pub(super) fn observe(&mut self, key: u64) {
        if self.recent.is_new(key) {
            self.union.update_value(key);
        }
    }

    pub(super) fn merge(&mut self, other: &Distinct) {
        self.union.update(&other.union.to_sketch(HllType::Hll8));
    }

    pub(super) fn estimate(&self) -> f64 {
        self.union.composite_estimate()
    }
}

fn empty() -> HllUnion {
    HllUnion::new(LG_REGISTERS).expect("the number of registers is a valid one")
}

fn write<S: Serializer>(union: &HllUnion, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(&union.to_sketch(HllType::Hll8).serialize())
}

/// A sketch of another size would lower the precision of all it is merged with; it can't be one of ours.
fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HllUnion, D::Error> {
    let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
    let registers = bytes.get(REGISTERS_AT..REGISTERS_AT + (1 << LG_REGISTERS)).unwrap_or_default();
    if registers.iter().any(|register| *register > LARGEST_REGISTER) {
        return Err(de::Error::custom("a sketch of distinct keys has an impossible register"));
    }
    let sketch = HllSketch::deserialize(&bytes).map_err(de::Error::custom)?;
    if (sketch.lg_config_k(), sketch.target_type()) != (LG_REGISTERS, HllType::Hll8) {
        return Err(de::Error::custom("a sketch of distinct keys has another number of registers"));
    }
    let mut union = empty();
    union.update(&sketch);
    Ok(union)
}

/// A direct-mapped table of keys seen lately. It only saves work, so copies start without it.
#[derive(Debug, Default)]
struct Recent(Vec<u64>);

impl Recent {
    /// Whether the key may not have been seen before; remembers it.
    #[inline]
    fn is_new(&mut self, key: u64) -> bool {
        let slot = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - LG_RECENT)) as usize;
        match self.0.get_mut(slot) {
            Some(there) if *there == key => false,
            Some(there) => {
                *there = key;
                true
            }
            None => self.start(),
        }
    }

    /// An empty slot holds a key that belongs into another: 0 belongs into the first, 1 does not.
    #[cold]
    fn start(&mut self) -> bool {
        self.0.resize(1 << LG_RECENT, 0);
        self.0[0] = 1;
        true
    }
}

impl Clone for Recent {
    fn clone(&self) -> Self {
        Recent::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(keys: impl Iterator<Item = u64>) -> Distinct {
        let mut distinct = Distinct::default();
        keys.for_each(|k| distinct.observe(k));
        distinct
    }

    /// Small integers, multiples of a power of two, hashes: what routing keys look like.
    fn key(kind: usize, i: u64) -> u64 {
        [i, i << 40, crate::stable_hash(&i)][kind]
    }

    fn near(estimate: f64, count: u64) -> bool {
        (estimate / count as f64 - 1.0).abs() < 0.05
    }

    #[test]
    fn the_estimate_is_within_five_percent() {
        for count in [1, 5, 100, 1_000, 10_000, 200_000] {
            for kind in 0..3 {
                let distinct = of((0..count).chain(0..count).map(|i| key(kind, i)));
                assert!(near(distinct.estimate(), count), "{kind}: {} for {count}", distinct.estimate());
            }
        }
    }

    #[test]
    fn merging_gives_the_estimate_of_one_pass() {
        for (left, right) in [(0..0, 0..9), (0..200, 100..300), (0..30_000, 20_000..60_000), (0..50_000, 0..3)] {
            let mut merged = of(left.clone());
            merged.merge(&of(right.clone()));
            let whole = of(left.chain(right));
            assert!((merged.estimate() - whole.estimate()).abs() < 1e-6 * whole.estimate());
        }
    }

    #[test]
    fn every_key_passes_the_first_time() {
        let mut recent = Recent::default();
        assert!((0..2_000).all(|k| recent.is_new(k)));
        assert!(!recent.is_new(1_999));
    }

    #[test]
    fn a_damaged_sketch_is_an_error() {
        let bytes = postcard::to_allocvec(&of(0..10_000)).unwrap();
        assert!(near(postcard::from_bytes::<Distinct>(&bytes).unwrap().estimate(), 10_000));
        assert!(postcard::from_bytes::<Distinct>(&bytes[..100]).is_err());
        let other = HllSketch::new(4, HllType::Hll8).unwrap().serialize();
        let other = postcard::to_allocvec(&serde_bytes::ByteBuf::from(other)).unwrap();
        assert!(postcard::from_bytes::<Distinct>(&other).unwrap_err().to_string().len() > 1);
    }
}
