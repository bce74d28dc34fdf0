use thalweg::KeyRange;

use super::trace::{Epoch, within};

/// Which keys have state: those that have had a record.
pub struct Holdings {
    keys: Vec<u64>,
    held: Vec<bool>,
    /// Counts of keys with state as a binary indexed tree (Fenwick, "A new data structure for cumulative frequency
    /// tables", 1994), from 1.
    tree: Vec<u32>,
    total: u64,
}

impl Holdings {
    /// None of these routing keys, which are ascending.
    pub fn new(keys: Vec<u64>) -> Self {
        let (held, tree) = (vec![false; keys.len()], vec![0; keys.len() + 1]);
        Holdings { keys, held, tree, total: 0 }
    }

    /// The routing key at this index.
    pub fn key(&self, index: u32) -> u64 {
        self.keys[index as usize]
    }

    /// All routing keys.
    pub fn keys(&self) -> &[u64] {
        &self.keys
    }

    /// Whether the key has state.
    pub fn is_held(&self, index: u32) -> bool {
        self.held[index as usize]
    }

    /// How many keys have state.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many keys in a range have state.
    pub fn within(&self, range: KeyRange) -> u64 {
        let indices = within(&self.keys, range);
        self.before(indices.end) - self.before(indices.start)
    }

    /// Gives the keys of an epoch state.
    pub fn take_in(&mut self, epoch: &Epoch) {
        for (index, _) in &epoch.counts {
            if !std::mem::replace(&mut self.held[*index as usize], true) {
                self.total += 1;
                let mut at = *index as usize + 1;
                while let Some(count) = self.tree.get_mut(at) {
                    *count += 1;
                    at += at & at.wrapping_neg();
                }
            }
        }
    }

    fn before(&self, mut index: usize) -> u64 {
        let mut count = 0;
        while index > 0 {
            count += u64::from(self.tree[index]);
            index &= index - 1;
        }
        count
    }
}
