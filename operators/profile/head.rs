use serde::{Deserialize, Serialize};

use super::HeavyKey;
use super::heavy;
use super::keysample::KEY_SAMPLE;

/// Records of a shard and epoch that are kept as they are. All of them fit the sample of keys, so that it is the whole.
pub const HEAD: usize = KEY_SAMPLE;

/// So many are few.
const FEW: usize = 4;

/// The first records of a shard in an epoch, as they are: exact, and cheaper than any sketch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Head {
    /// Where randomness starts once the sketches take over.
    pub(super) seed: u64,
    /// Routing keys, and sizes up to the largest that fits.
    records: Vec<(u64, u32)>,
}

impl Head {
    pub(super) fn has_room_for(&self, more: usize) -> bool {
        self.records.len() + more <= HEAD
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn push(&mut self, key: u64, size: u64) {
        // Most shards have either few records or more than there is room for.
        if self.records.len() == FEW {
            self.records.reserve_exact(HEAD - FEW);
        }
        self.records.push((key, u32::try_from(size).unwrap_or(u32::MAX)));
    }

    pub(super) fn append(&mut self, other: &Head) {
        self.records.extend(&other.records);
    }

    /// Routing keys and sizes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.records.iter().map(|(key, size)| (*key, u64::from(*size)))
    }

    /// The routing keys, ascending.
    pub(super) fn keys(&self) -> Vec<u64> {
        let mut keys: Vec<u64> = self.records.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// The number of distinct keys among these, which ascend, and the heaviest of them.
    pub(super) fn weigh(keys: &[u64]) -> (usize, Vec<HeavyKey>) {
        let weights: Vec<(u64, u64)> = keys.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u64)).collect();
        (weights.len(), heavy::rank(weights, keys.len() as u64))
    }

    /// The sizes that these shares of the records do not exceed; 0 without records.
    pub(super) fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [u64; N] {
        let mut sizes: Vec<u64> = self.iter().map(|(_, size)| size).collect();
        if !sizes.is_sorted() {
            sizes.sort_unstable();
        }
        shares.map(|share| {
            let rank = (share * sizes.len() as f64).ceil() as usize;
            sizes.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        })
    }
}
