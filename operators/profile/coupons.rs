use serde::{Deserialize, Serialize};

/// Two kilobytes, half of the bitmap that follows.
const MOST_SLOTS: usize = 256;

/// What a shard begins with that has just outgrown its head.
const FEWEST_SLOTS: usize = 128;

/// A small set of hashes: open addressing, with 0 for an empty slot.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<u64>", into = "Vec<u64>")]
pub(super) struct Coupons {
    /// A power of two; none before the first hash.
    slots: Vec<u64>,
    len: usize,
}

impl Coupons {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots.iter().copied().filter(|hash| *hash != 0)
    }

    /// Adds a hash, 0 being taken for 1; `false` if it is a new one and there is no room for it.
    pub(super) fn observe(&mut self, hash: u64) -> bool {
        let hash = hash.max(1);
        match self.find(hash) {
            Some(at) if self.slots[at] == hash => return true,
            Some(at) if self.len * 4 < self.slots.len() * 3 => self.slots[at] = hash,
            _ => return self.grow() && self.observe(hash),
        }
        self.len += 1;
        true
    }

    /// Where the hash is, or where it would be; none if there are no slots.
    fn find(&self, hash: u64) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = (hash >> 32) as usize & mask;
        while self.slots[at] != hash && self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        Some(at)
    }

    fn grow(&mut self) -> bool {
        let slots = (self.slots.len() * 2).max(FEWEST_SLOTS);
        if slots > MOST_SLOTS {
            return false;
        }
        let old = std::mem::replace(&mut self.slots, vec![0; slots]);
        self.len = 0;
        old.into_iter().filter(|hash| *hash != 0).all(|hash| self.observe(hash))
    }
}

/// Ascending, so that equal sets are written alike.
impl From<Coupons> for Vec<u64> {
    fn from(coupons: Coupons) -> Self {
        let mut hashes: Vec<u64> = coupons.iter().collect();
        hashes.sort_unstable();
        hashes
    }
}

impl TryFrom<Vec<u64>> for Coupons {
    type Error = &'static str;

    fn try_from(hashes: Vec<u64>) -> Result<Self, Self::Error> {
        let mut coupons = Coupons::default();
        let room = hashes.into_iter().all(|hash| coupons.observe(hash));
        if room { Ok(coupons) } else { Err("a sketch of distinct keys has too many of them") }
    }
}
