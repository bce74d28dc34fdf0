//! What is kept for a key, and what is noted of it in a few bits.

use super::codec::{FORGOTTEN, GONE, RowRef};

// The lowest two bits are those that a codec's row has: `FORGOTTEN` and `GONE`.

/// The last checkpoint has the key, as it is or as it was.
const STORED: u8 = 4;

/// It has changed since.
const UNSAVED: u8 = 8;

/// Its next owner has a copy of it as it is.
const COPIED: u8 = 16;

/// Its next owner has a copy of it as it was.
const OUTDATED: u8 = 32;

/// What is kept for a key, where records look for it. The less it takes, the more of it is in the caches.
pub(super) struct Entry<K, S> {
    pub key: K,
    pub state: S,
    /// The last snapshot that has saved this key, or had begun when it changed: it is not to save it any more.
    pub seen: u32,
    /// The marks, and above them the check of the routing key.
    tag: u32,
}

/// The bits of a tag that are marks.
const MARKS: u32 = 0xff;

/// Tells most routing keys apart, in the bits above the marks.
#[inline]
pub(super) fn check(routing: u64) -> u32 {
    (routing.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 & !MARKS
}

impl<K, S> Entry<K, S> {
    /// A key that no checkpoint knows.
    pub fn new(routing: u64, key: K, seen: u32, state: S) -> Self {
        Entry { key, state, seen, tag: check(routing) }
    }

    /// A key that has come from another worker.
    pub fn moved((routing, key, state): (u64, K, S), seen: u32, marks: u8) -> Self {
        let marks = marks & (FORGOTTEN | GONE | STORED | UNSAVED);
        Entry { key, state, seen, tag: check(routing) | u32::from(marks) }
    }

    /// A key that has come from a checkpoint. That it is gone is kept, as earlier snapshots may have it still; and it
    /// is told again, so that the next one lets go of it.
    pub fn restored(row: (u64, K, S), seen: u32, marks: u8) -> Self {
        let unsaved = if marks & GONE == 0 { 0 } else { UNSAVED };
        Entry::moved(row, seen, marks & (FORGOTTEN | GONE) | STORED | unsaved)
    }

    /// All that is kept for the key.
    pub fn row<'a>(&'a self, routing: u64, timers: &'a [u64]) -> RowRef<'a, K, S> {
        (routing, &self.key, &self.state, timers, self.marks() & !(COPIED | OUTDATED))
    }

    /// Whether this is what is kept for the key whose routing key has this check.
    #[inline]
    pub fn is_of(&self, check: u32, key: &K) -> bool
    where
        K: Eq,
    {
        self.key == *key && self.tag & !MARKS == check
    }

    /// Whether a change makes no difference to what is noted: the key is live and has changed since the snapshot with
    /// this number, which is not to save it any more if it is in progress, and nobody has a copy of it as it is.
    #[inline]
    pub fn is_noted(&self, seen: u32) -> bool {
        self.seen == seen && self.marks() & !(STORED | OUTDATED) == UNSAVED
    }

    /// The logic has forgotten the key, and no record has come since: only its timers keep it, if it isn't gone.
    pub fn is_forgotten(&self) -> bool {
        self.marks() & FORGOTTEN != 0
    }

    /// The key is no more; the entry is there until all who have had the key have been told.
    pub fn is_gone(&self) -> bool {
        self.marks() & GONE != 0
    }

    /// Nobody has to be told that the key is gone: no checkpoint has it, and no next owner.
    pub fn is_unknown(&self) -> bool {
        self.marks() & (STORED | COPIED | OUTDATED) == 0
    }

    /// It has changed since the last checkpoint.
    pub fn is_unsaved(&self) -> bool {
        self.marks() & UNSAVED != 0
    }

    /// Its next owner has a copy of it as it is.
    pub fn is_copied(&self) -> bool {
        self.marks() & COPIED != 0
    }

    pub fn set_forgotten(&mut self, forgotten: bool) {
        self.mark(FORGOTTEN, forgotten);
    }

    pub fn set_gone(&mut self, gone: bool) {
        self.mark(GONE, gone);
    }

    pub fn set_stored(&mut self, stored: bool) {
        self.mark(STORED, stored);
    }

    pub fn set_unsaved(&mut self, unsaved: bool) {
        self.mark(UNSAVED, unsaved);
    }

    /// Its next owner is given a copy.
    pub fn set_copied(&mut self) {
        self.mark(OUTDATED, false);
        self.mark(COPIED, true);
    }

    /// It is not as it was any more; whether its next owner has a copy of it as it was until now.
    pub fn outdate(&mut self) -> bool {
        let was_copied = self.is_copied();
        if was_copied {
            self.mark(COPIED, false);
            self.mark(OUTDATED, true);
        }
        was_copied
    }

    fn marks(&self) -> u8 {
        self.tag as u8
    }

    fn mark(&mut self, mark: u8, is: bool) {
        let mark = u32::from(mark);
        self.tag = if is { self.tag | mark } else { self.tag & !mark };
    }
}
