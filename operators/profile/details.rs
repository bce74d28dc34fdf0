use super::Statistics;
use super::distinct::WORDS;
use super::sketches::Samples;

/// Bits of a bitmap, as a power of two.
pub(super) const BITS: u32 = (WORDS * 64).ilog2();

/// So many shards are looked at, at most: their bitmaps take 256 MB, and as much again while the
/// epoch before is told of. Fewer in tests of this.
pub(super) const MOST: usize = if cfg!(test) { 300 } else { u16::MAX as usize };

/// Of the shards of which records are looked at one by one, what these touch. Each is known by the number of its
/// bitmap.
#[derive(Debug)]
pub(super) struct Details {
    /// Distinct keys, one shard's after the other's: where a bit is takes no look at its shard. The first are nobody's.
    bitmaps: Vec<[u64; WORDS]>,
    /// What was allocated in one epoch is used in the next.
    pub samples: Vec<Samples>,
    /// The shards' rows.
    pub rows: Vec<usize>,
}

impl Default for Details {
    fn default() -> Self {
        Details { bitmaps: vec![[0; WORDS]], samples: vec![Samples::default()], rows: vec![0] }
    }
}

impl Details {
    /// How many shards are looked at.
    pub(super) fn count(&self) -> usize {
        self.rows.len() - 1
    }

    /// Goes on with the distinct keys of a shard; the number of its bitmap, if there is room.
    pub(super) fn add(&mut self, row: usize, statistics: &mut Statistics) -> Option<u16> {
        let number = u16::try_from(self.rows.len()).ok().filter(|_| self.count() < MOST)?;
        self.bitmaps.push(*statistics.outgrow().words());
        if self.samples.len() < self.bitmaps.len() {
            self.samples.push(Samples::default());
        }
        self.rows.push(row);
        Some(number)
    }

    /// Sets bits: of each the bitmap, above [`BITS`], and its place.
    #[inline]
    pub(super) fn set(&mut self, bits: &[u32]) {
        let words = self.bitmaps.as_flattened_mut();
        for bit in bits {
            if let Some(word) = words.get_mut((*bit / 64) as usize) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    /// Gives what belongs to a bitmap.
    pub(super) fn of(&mut self, bitmap: u16) -> (&[u64; WORDS], &mut Samples) {
        let at = usize::from(bitmap);
        (&self.bitmaps[at], &mut self.samples[at])
    }

    pub(super) fn clear(&mut self) {
        self.bitmaps.truncate(1);
        self.rows.truncate(1);
    }
}
