use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::codec::RowRef;

/// What is kept for a key.
pub(super) struct Entry<S> {
    pub routing: u64,
    /// The last snapshot that has this key as it was at the snapshot's boundary.
    pub saved: u32,
    /// The logic has forgotten the key, and no record has come since: only its timers keep it.
    pub forgotten: bool,
    pub state: S,
}

impl<S> Entry<S> {
    /// All that is kept for the key.
    pub fn row<'a, K>(&'a self, key: &'a K, timers: &'a [u64]) -> RowRef<'a, K, S> {
        (self.routing, key, &self.state, timers, self.forgotten)
    }
}

/// Keys with what is kept for them, in an order in which a few can be taken at a time.
pub(super) type States<K, S> = IndexMap<K, Entry<S>, RandomState>;
