use super::Statistics;
use super::distinct::{Distinct, WORDS};

/// Bits of a bitmap, as a power of two.
pub(super) const BITS: u32 = (WORDS * 64).ilog2();

/// The distinct keys of all shards that are looked at, one after the other: where a bit is takes no look at its shard.
#[derive(Debug)]
pub(super) struct Bitmaps {
    /// The first bitmap is nobody's.
    words: Vec<[u64; WORDS]>,
    /// By bitmap, its shard's row.
    rows: Vec<usize>,
}

impl Default for Bitmaps {
    fn default() -> Self {
        Bitmaps { words: vec![[0; WORDS]], rows: vec![0] }
    }
}

impl Bitmaps {
    /// How many shards are looked at.
    pub(super) fn count(&self) -> usize {
        self.words.len() - 1
    }

    /// Goes on with the distinct keys of a shard; the number of its bitmap, or 0 if there is no room.
    pub(super) fn add(&mut self, row: usize, statistics: &mut Statistics) -> u16 {
        let Ok(number) = u16::try_from(self.words.len()) else { return 0 };
        self.words.push(*statistics.outgrow().words());
        self.rows.push(row);
        number
    }

    /// Sets bits: of each the bitmap, above [`BITS`], and its place.
    #[inline]
    pub(super) fn observe(&mut self, bits: &[u32]) {
        let words = self.words.as_flattened_mut();
        for bit in bits {
            if let Some(word) = words.get_mut((*bit / 64) as usize) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    pub(super) fn row(&self, bitmap: u16) -> usize {
        self.rows[usize::from(bitmap)]
    }

    pub(super) fn distinct(&self, bitmap: u16) -> Distinct {
        Distinct::new(&self.words[usize::from(bitmap)])
    }

    pub(super) fn clear(&mut self) {
        self.words.truncate(1);
        self.rows.truncate(1);
    }
}
