use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::codec::{FORGOTTEN, GONE, RowRef};

/// What is kept for a key.
pub(super) struct Entry<S> {
    pub routing: u64,
    /// The last snapshot that has looked at this key as it was at the snapshot's boundary.
    pub seen: u32,
    /// The logic has forgotten the key, and no record has come since: only its timers keep it, if it isn't gone.
    pub forgotten: bool,
    /// The key is no more; the entry is there until a snapshot has said so.
    pub gone: bool,
    /// The last checkpoint has the key, as it is or as it was.
    pub stored: bool,
    /// It has changed since.
    pub unsaved: bool,
    pub state: S,
}

const STORED: u8 = 4;
const UNSAVED: u8 = 8;

impl<S> Entry<S> {
    /// A key that no checkpoint knows.
    pub fn new(routing: u64, seen: u32, state: S) -> Self {
        Entry { routing, seen, forgotten: false, gone: false, stored: false, unsaved: false, state }
    }

    /// A key that has come from another worker.
    pub fn moved(routing: u64, seen: u32, marks: u8, state: S) -> Self {
        let is = |mark| marks & mark != 0;
        let (forgotten, gone, stored, unsaved) = (is(FORGOTTEN), is(GONE), is(STORED), is(UNSAVED));
        Entry { routing, seen, forgotten, gone, stored, unsaved, state }
    }

    /// A key that has come from a checkpoint. That it is gone is kept, as earlier snapshots may have it still; and it
    /// is told again, so that the next one lets go of it.
    pub fn restored(routing: u64, seen: u32, marks: u8, state: S) -> Self {
        let gone = marks & GONE != 0;
        Entry { stored: true, unsaved: gone, ..Entry::moved(routing, seen, marks, state) }
    }

    /// All that is kept for the key.
    pub fn row<'a, K>(&'a self, key: &'a K, timers: &'a [u64]) -> RowRef<'a, K, S> {
        let mark = |is, mark| if is { mark } else { 0 };
        let marks = mark(self.forgotten, FORGOTTEN)
            | mark(self.gone, GONE)
            | mark(self.stored, STORED)
            | mark(self.unsaved, UNSAVED);
        (self.routing, key, &self.state, timers, marks)
    }
}

/// Keys with what is kept for them, in an order in which a few can be taken at a time.
pub(super) type States<K, S> = IndexMap<K, Entry<S>, RandomState>;
