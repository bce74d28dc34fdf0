use super::details::BITS;
use super::distinct::{hash, place};

/// Records that are taken in at a time: what is noted of them stays in the first-level cache.
pub(super) const CHUNK: usize = 1024;

/// What is noted of the records at hand.
#[derive(Debug)]
pub(super) struct Noted {
    /// Their shards' bitmaps, or 0 if they are not looked at one by one.
    pub bitmaps: [u16; CHUNK],
    /// Of those that are: where they are among the records at hand.
    positions: [u16; CHUNK],
    keys: [u64; CHUNK],
    /// The bits that the keys set.
    bits: [u32; CHUNK],
}

impl Default for Noted {
    fn default() -> Self {
        Noted { bitmaps: [0; CHUNK], positions: [0; CHUNK], keys: [0; CHUNK], bits: [0; CHUNK] }
    }
}

/// The records that are looked at one by one.
pub(super) struct Looked<'a> {
    pub bitmaps: &'a [u16],
    pub keys: &'a [u64],
    /// The bits that the keys set: of each the bitmap, above [`BITS`], and its place.
    pub bits: &'a [u32],
    /// Where they are among the records at hand, unless they are all of them.
    positions: Option<&'a [u16]>,
}

impl Noted {
    /// Those of the records at hand that are looked at, by the keys of all.
    pub(super) fn look<'a>(&'a mut self, keys: &'a [u64]) -> Looked<'a> {
        let Noted { bitmaps, positions, keys: looked_at, bits } = self;
        let is_all = bitmaps[..keys.len()].iter().fold(u16::MAX, |least, bitmap| least.min(*bitmap)) > 0;
        let (keys, positions) = if is_all {
            (keys, None)
        } else {
            let count = compact(bitmaps, positions, looked_at, keys);
            (&looked_at[..count], Some(&positions[..count]))
        };
        let (bitmaps, bits) = (&bitmaps[..keys.len()], &mut bits[..keys.len()]);
        // One pass for what has 64 bits, and one for what has 32, of which twice as many are done at once.
        bits.iter_mut().zip(keys).for_each(|(bit, key)| *bit = hash(*key));
        bits.iter_mut().zip(bitmaps).for_each(|(bit, bitmap)| *bit = place(*bit) | u32::from(*bitmap) << BITS);
        Looked { bitmaps, keys, bits, positions }
    }
}

/// Moves what is looked at to the front; how many.
fn compact(
    bitmaps: &mut [u16; CHUNK],
    positions: &mut [u16; CHUNK],
    looked_at: &mut [u64; CHUNK],
    keys: &[u64],
) -> usize {
    let mut count = 0;
    for (at, key) in keys.iter().enumerate().take(CHUNK) {
        let bitmap = bitmaps[at];
        (bitmaps[count], positions[count], looked_at[count]) = (bitmap, at as u16, *key);
        // Without a branch: which shard is next can't be foreseen.
        count += usize::from(bitmap > 0);
    }
    count
}

impl Looked<'_> {
    /// Where a record is among the records at hand.
    #[inline]
    pub(super) fn position(&self, at: usize) -> usize {
        self.positions.map_or(at, |positions| positions[at].into())
    }
}
