use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::HeavyKey;
use super::counters::Counters;

/// A key with less is not named. A third of a thousandth: one with a thousandth is found whatever chance makes of it.
const MIN_SHARE: f64 = 1.0 / 3000.0;

/// More keys than this can't each have a thousandth.
pub const MAX_HEAVY: usize = 1000;

/// How often a key must have been sampled for its share to say more than chance does: 35 % relative standard error.
const MIN_HITS: u64 = 8;

/// How many standard deviations of sampling the heaviest key must lie above the average one to count as skew.
/// The heaviest of many equal keys often lies three above.
const SIGNIFICANT: f64 = 4.0;

/// No honest count of records comes near it, and sums of a few are still far from overflowing.
const MAX_WEIGHT: u64 = 1 << 56;

/// The heaviest keys among weighted ones.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(super) struct Heavy {
    counters: Counters,
    /// The weight of all.
    total: u64,
    /// The largest weight seen: how many records a sampled one stands for.
    unit: u64,
}

impl Heavy {
    /// Takes in keys of one weight, and leaves them sorted.
    pub(super) fn absorb(&mut self, keys: &mut [u64], weight: u64) {
        keys.sort_unstable();
        self.counters.merge(&Counters::of(keys, weight));
        self.total += keys.len() as u64 * weight;
        self.unit = self.unit.max(weight);
    }

    pub(super) fn merge(&mut self, other: &Heavy) {
        self.counters.merge(&other.counters);
        self.total += other.total;
        self.unit = self.unit.max(other.unit);
    }

    /// Forgets the light keys, to take little room.
    pub(super) fn shrink(&mut self) {
        self.counters.shrink();
    }

    /// The heaviest keys whose share is known with some certainty, heaviest first.
    pub(super) fn keys(&self) -> Vec<HeavyKey> {
        let certain = if self.is_exact() { 0 } else { MIN_HITS.saturating_mul(self.unit) };
        let certain = certain.max((self.total as f64 * MIN_SHARE) as u64);
        rank(self.counters.iter().filter(|(_, weight)| *weight >= certain).collect(), self.total)
    }

    /// The heaviest key's share times the number of keys, unless chance alone explains it: then 1.
    pub(super) fn skew(&self, heaviest: Option<&HeavyKey>, distinct: f64) -> f64 {
        let total = self.total as f64;
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

/// As on the wire: counters in the order of their keys.
#[derive(Serialize, Deserialize)]
struct Written {
    counters: Vec<(u64, u64)>,
    total: u64,
    unit: u64,
}

impl From<Heavy> for Written {
    fn from(heavy: Heavy) -> Self {
        Written { counters: heavy.counters.iter().collect(), total: heavy.total, unit: heavy.unit }
    }
}

impl TryFrom<Written> for Heavy {
    type Error = &'static str;

    fn try_from(Written { counters, total, unit }: Written) -> Result<Self, Self::Error> {
        if total > MAX_WEIGHT || counters.iter().any(|(_, weight)| *weight == 0 || *weight > total) {
            return Err("a sketch of heavy keys has an impossible weight");
        }
        let counters = Counters::new(counters).ok_or("the keys of a sketch of heavy keys do not ascend")?;
        Ok(Heavy { counters, total, unit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_among_many_is_found_and_weighs_a_tenth() {
        let (mut left, mut right) = (Heavy::default(), Heavy::default());
        let keys: Vec<u64> = (0..50_000).map(|i| if i % 10 == 0 { 7 } else { i + 1_000 }).collect();
        for (i, part) in keys.chunks(1_000).enumerate() {
            let heavy = if i % 3 == 0 { &mut left } else { &mut right };
            heavy.absorb(&mut part.to_vec(), 8);
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
            for _ in 0..5 {
                let mut sampled: Vec<u64> = (0..4_000).map(|_| random.next() % keys).collect();
                heavy.absorb(&mut sampled, 8);
            }
            assert!(heavy.skew(heavy.keys().first(), keys as f64) < 1.1, "{keys}: {:?}", heavy.keys());
        }
    }

    #[test]
    fn a_damaged_sketch_is_an_error() {
        let mut heavy = Heavy::default();
        heavy.absorb(&mut (0..1_000).map(|i| i % 9).collect::<Vec<_>>(), 8);
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
