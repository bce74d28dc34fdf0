use std::ops::Range;

use super::ordered::Ordered;

/// Parts of a worker that are looked at again and again, before all others are. With as many shards on each worker, or
/// fewer, nothing is left out.
const PROMISING: usize = 64;

/// What each worker has that may move.
pub(super) struct Parts {
    all: Vec<Vec<usize>>,
    promising: Vec<Vec<usize>>,
}

impl Parts {
    /// Of the owners of all parts, where they may move.
    pub(super) fn of(owners: &[Option<usize>], workers: usize) -> Self {
        let mut all = vec![Vec::new(); workers];
        let movable = owners.iter().enumerate().filter_map(|(part, owner)| Some((part, (*owner)?)));
        movable.filter(|(_, owner)| *owner < workers).for_each(|(part, owner)| all[owner].push(part));
        Parts { all, promising: vec![Vec::new(); workers] }
    }

    /// The workers that have any.
    pub(super) fn workers(&self) -> impl Iterator<Item = usize> {
        (0..self.all.len()).filter(|worker| !self.all[*worker].is_empty())
    }

    /// All of a worker.
    pub(super) fn all(&self, worker: usize) -> &[usize] {
        &self.all[worker]
    }

    /// More of a worker.
    pub(super) fn add(&mut self, worker: usize, parts: Range<usize>) {
        self.all[worker].extend(parts);
        self.promising[worker].clear();
    }

    /// Those found when last looked for, with what they promise now.
    pub(super) fn promising(&self, worker: usize, promise: impl Fn(usize) -> Option<Ordered>) -> Vec<(Ordered, usize)> {
        self.promising[worker].iter().filter_map(|part| Some((promise(*part)?, *part))).collect()
    }

    /// Looks for the most promising parts of a worker.
    pub(super) fn look(&mut self, worker: usize, promise: impl Fn(usize) -> Option<Ordered>) -> Vec<(Ordered, usize)> {
        let of_all = self.all[worker].iter();
        let mut found: Vec<(Ordered, usize)> = of_all.filter_map(|part| Some((promise(*part)?, *part))).collect();
        if found.len() > PROMISING {
            found.select_nth_unstable_by(PROMISING, |a, b| b.cmp(a));
            found.truncate(PROMISING);
        }
        self.promising[worker] = found.iter().map(|(_, part)| *part).collect();
        found
    }
}
