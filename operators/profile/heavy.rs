use std::cmp::Reverse;

use datasketches::frequencies::{ErrorType, FrequentItemsSketch};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::HeavyKey;

/// Up to 384 counters: a share is never wrong by more than 0.7 %, on real streams by less than 0.2 %.
const COUNTERS: usize = 512;

/// More keys than this can't each have a notable share.
pub const MAX_HEAVY: usize = 16;

/// How often a key must have been sampled for its share to say more than chance does: 35 % relative standard error.
const MIN_HITS: u64 = 8;

/// How many standard deviations of sampling the heaviest key must lie above the average one to count as skew.
/// The heaviest of many equal keys often lies three above.
const SIGNIFICANT: f64 = 4.0;

/// No honest count of records comes near it, and sums of two are still far from overflowing.
const MAX_WEIGHT: u64 = 1 << 56;

/// The heaviest keys among weighted ones: Misra-Gries counters, by Anderson and others ("A high-performance algorithm
/// for identifying frequent items in data streams", 2017).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Heavy {
    #[serde(serialize_with = "write", deserialize_with = "read")]
    counters: FrequentItemsSketch<u64>,
    /// The largest weight seen: how many records a sampled one stands for.
    unit: u64,
}

impl Default for Heavy {
    fn default() -> Self {
        let counters = FrequentItemsSketch::new(COUNTERS).expect("the number of counters is a power of two");
        Heavy { counters, unit: 0 }
    }
}

impl Heavy {
    pub(super) fn observe(&mut self, key: u64, weight: u64) {
        self.counters.update_with_count(key, weight);
        self.unit = self.unit.max(weight);
    }

    pub(super) fn merge(&mut self, other: &Heavy) {
        self.counters.merge(&other.counters);
        self.unit = self.unit.max(other.unit);
    }

    /// The heaviest keys whose share is known with some certainty, heaviest first.
    pub(super) fn keys(&self) -> Vec<HeavyKey> {
        let certain = if self.is_exact() { 0 } else { MIN_HITS.saturating_mul(self.unit) - 1 };
        let rows = self.counters.frequent_items_with_threshold(ErrorType::NoFalsePositives, certain);
        rank(rows.iter().map(|row| (*row.item(), row.estimate())).collect(), self.counters.total_weight())
    }

    /// The heaviest key's share times the number of keys, unless chance alone explains it: then 1.
    pub(super) fn skew(&self, heaviest: Option<&HeavyKey>, distinct: f64) -> f64 {
        let total = self.counters.total_weight() as f64;
        let (average, unit) = (total / distinct, self.unit as f64);
        let chance = average + SIGNIFICANT * (average * unit).sqrt() + SIGNIFICANT * unit;
        match heaviest {
            Some(key) if self.is_exact() || key.share * total > chance => (key.share * distinct).max(1.0),
            _ => 1.0,
        }
    }

    /// Whether every record was seen.
    fn is_exact(&self) -> bool {
        self.unit <= 1
    }
}

/// The heaviest of these keys with their shares of the total weight, heaviest first.
pub(super) fn rank(mut weights: Vec<(u64, u64)>, total: u64) -> Vec<HeavyKey> {
    weights.sort_unstable_by_key(|(key, weight)| (Reverse(*weight), *key));
    weights.truncate(MAX_HEAVY);
    let share = |weight: u64| (weight as f64 / total as f64).min(1.0);
    weights.into_iter().map(|(key, weight)| HeavyKey { key, share: share(weight) }).collect()
}

fn write<S: Serializer>(counters: &FrequentItemsSketch<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(&counters.serialize())
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FrequentItemsSketch<u64>, D::Error> {
    let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
    // What the sketch allocates follows from its fourth and fifth byte.
    if bytes.iter().skip(3).take(2).any(|lg| 1usize.checked_shl((*lg).into()).is_none_or(|size| size > COUNTERS)) {
        return Err(de::Error::custom("a sketch of heavy keys has too many counters"));
    }
    let counters = FrequentItemsSketch::<u64>::deserialize(&bytes).map_err(de::Error::custom)?;
    if counters.total_weight() > MAX_WEIGHT || counters.maximum_error() > MAX_WEIGHT {
        return Err(de::Error::custom("a sketch of heavy keys has an impossible weight"));
    }
    Ok(counters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_among_many_is_found_and_weighs_a_tenth() {
        let (mut left, mut right) = (Heavy::default(), Heavy::default());
        for i in 0..50_000u64 {
            let key = if i % 10 == 0 { 7 } else { i + 1_000 };
            if i % 3 == 0 { left.observe(key, 8) } else { right.observe(key, 8) }
        }
        left.merge(&right);
        let keys = left.keys();
        assert_eq!(keys[0].key, 7);
        assert!((keys[0].share - 0.1).abs() < 0.01, "{keys:?}");
        assert!(left.skew(keys.first(), 45_000.0) > 4_000.0);
    }

    #[test]
    fn equal_keys_have_no_skew_however_they_were_sampled() {
        for keys in [2, 100, 5_000, 1_000_000] {
            let (mut heavy, mut random) = (Heavy::default(), super::super::sampler::Random::new(keys));
            (0..20_000).for_each(|_| heavy.observe(random.next() % keys, 8));
            assert!(heavy.skew(heavy.keys().first(), keys as f64) < 1.1, "{keys}: {:?}", heavy.keys());
        }
    }

    #[test]
    fn a_damaged_sketch_is_an_error() {
        let mut heavy = Heavy::default();
        (0..1_000).for_each(|i| heavy.observe(i % 9, 8));
        let bytes = postcard::to_allocvec(&heavy).unwrap();
        assert_eq!(postcard::from_bytes::<Heavy>(&bytes).unwrap().keys(), heavy.keys());
        assert!(postcard::from_bytes::<Heavy>(&bytes[..bytes.len() / 2]).is_err());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            let _ = postcard::from_bytes::<Heavy>(&damaged).map(|h| h.keys());
        }
    }
}
