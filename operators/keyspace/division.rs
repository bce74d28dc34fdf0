use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Directory;

/// How the key space is divided into shards, and who owns them. Copies of an assignment have it in common.
#[derive(Debug)]
pub(super) struct Division {
    pub shards: Directory,
    pub owners: Vec<u32>,
    pub workers: usize,
    /// What became of it last: gates, operators and the orchestrator of a worker all do the same to it.
    next: Mutex<Option<(Changes, Weak<Division>)>>,
}

/// The shards that are not as they were, by where they start, each with the last of its routing keys and its owner.
/// Together they cover shards as they were.
pub(super) type Changes = BTreeMap<u64, (u64, u32)>;

impl Division {
    pub fn new(shards: Directory, owners: Vec<u32>, workers: usize) -> Arc<Self> {
        Arc::new(Division { shards, owners, workers, next: Mutex::default() })
    }

    /// What `make` makes of it by these changes; what is there of the same ones already.
    pub fn next(&self, changes: Changes, make: impl FnOnce(&Changes) -> Arc<Division>) -> Arc<Division> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = next.as_ref().filter(|next| next.0 == changes).and_then(|next| next.1.upgrade()) {
            return made;
        }
        let made = make(&changes);
        *next = Some((changes, Arc::downgrade(&made)));
        made
    }
}

impl PartialEq for Division {
    fn eq(&self, other: &Self) -> bool {
        self.workers == other.workers && self.owners == other.owners && self.shards == other.shards
    }
}

impl Eq for Division {}
