use serde::{Deserialize, Serialize};

/// Four kilobytes: as much as the registers take that follow.
const MOST_SLOTS: usize = 1024;

/// What a shard begins with that has just outgrown its head.
const FEWEST_SLOTS: usize = 128;

/// A small set of hashes: open addressing, with 0 for an empty slot.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<u32>", into = "Vec<u32>")]
pub(super) struct Coupons {
    /// A power of two; none before the first hash.
    slots: Vec<u32>,
    len: usize,
}

impl Coupons {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots.iter().copied().filter(|hash| *hash != 0)
    }

    /// Adds a hash, 0 being taken for 1; `false` if it is a new one and there is no room for it.
    pub(super) fn observe(&mut self, hash: u32) -> bool {
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
    fn find(&self, hash: u32) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
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
impl From<Coupons> for Vec<u32> {
    fn from(coupons: Coupons) -> Self {
        let mut hashes: Vec<u32> = coupons.iter().collect();
        hashes.sort_unstable();
        hashes
    }
}

impl TryFrom<Vec<u32>> for Coupons {
    type Error = &'static str;

    fn try_from(hashes: Vec<u32>) -> Result<Self, Self::Error> {
        let mut coupons = Coupons::default();
        let room = hashes.into_iter().all(|hash| coupons.observe(hash));
        if room { Ok(coupons) } else { Err("a sketch of distinct keys has too many of them") }
    }
}
