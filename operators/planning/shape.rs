use std::collections::{BTreeMap, VecDeque};

use super::{CUTS, Point, ShardLoad};
use crate::keyspace::{Assignment, Command, KeyRange};

/// A shard that carries less than a worker's fair share divided by this needs no split: moving it whole changes a
/// worker's load by 6 %. At 8 a stable stream was balanced 1 % worse; 32 was no better.
const GRAINS: f64 = 16.0;

/// A shard is cold while in every epoch remembered it saw less than this part of the grain: far enough below 1 that
/// what was merged is not split again for noise.
const COLD: f64 = 0.25;

/// The shards of a plan in the making, and the commands that lead to them.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// The shards that are listed, in order, with their owners.
    pub(crate) owners: Vec<(KeyRange, usize)>,
    /// How many others there are: idle ones, whole and at home, so that there is nothing to do with them but to merge
    /// them where there are too many.
    pub(crate) others: usize,
    pub(crate) commands: Vec<Command>,
}

/// How finely, and how far, shards are split and merged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_shards: usize,
    /// The records per epoch over which a shard is worth a split.
    grain: f64,
    /// Bytes of state that a worker would rather move than carry a cold shard's records.
    bytes: f64,
    window: u64,
}

impl Limits {
    /// The grain is fine enough to balance with, and so that twice the hot shards still fit into `max_shards`.
    pub(crate) fn new(
        max_shards: usize,
        window: u64,
        horizon: usize,
        move_cost: f64,
        shards: &[ShardLoad],
        fair: f64,
    ) -> Self {
        let total: f64 = shards.iter().map(|s| s.load).sum();
        let grain = (fair / GRAINS).max(2.0 * total / max_shards as f64);
        let bytes = COLD * grain * horizon as f64 / move_cost;
        Limits { max_shards, grain, bytes, window }
    }

    fn is_hot(&self, shard: &ShardLoad) -> bool {
        shard.load > self.grain && !shard.range.is_single()
    }
}

impl Draft {
    /// Makes one shard of cold neighbours that have their first shard and their owner in common.
    pub(crate) fn merge_cold(
        &mut self,
        shards: &[ShardLoad],
        home: impl Fn(KeyRange) -> Option<(KeyRange, usize)>,
        limits: &Limits,
    ) {
        self.owners.clear();
        let mut recent: Vec<f64> = Vec::new();
        for shard in shards {
            let together = || recent.iter().zip(&shard.recent).map(|(left, right)| left + right);
            let is_cold = || together().all(|records| records <= COLD * limits.grain);
            match self.owners.last_mut() {
                Some((left, owner)) if *owner == shard.owner && is_cold() && home(*left) == home(shard.range) => {
                    self.commands.push(Command::Merge { left: *left, right: shard.range });
                    *left = join(*left, shard.range);
                    recent = together().collect();
                }
                _ => {
                    self.owners.push((shard.range, shard.owner));
                    recent.clone_from(&shard.recent);
                }
            }
        }
    }

    /// Whether shards are to be merged to make room, for which all must be listed.
    pub(crate) fn wants_room(&self, shards: &[ShardLoad], limits: &Limits, to_split: bool) -> bool {
        let hot = shards.iter().filter(|s| to_split && limits.is_hot(s)).count();
        self.len() + CUTS * hot > limits.max_shards
    }

    /// Lists the other shards of the assignment too.
    pub(crate) fn list_all(&mut self, assignment: &Assignment) {
        let mut listed = std::mem::take(&mut self.owners).into_iter().peekable();
        for shard in assignment.iter() {
            if let Some(first) = listed.next_if(|listed| listed.0.start() == shard.0.start()) {
                self.owners.push(first);
            } else if self.owners.last().is_none_or(|last| last.0.last() < shard.0.start()) {
                self.owners.push(shard);
            }
        }
        self.others = 0;
    }

    fn len(&self) -> usize {
        self.owners.len() + self.others
    }

    /// Merges the coldest neighbours, wherever they are, while there are too many shards; and where `max_shards`
    /// doesn't leave enough room `to_split` what is hot, such as are cold and cheap to bring together. Of the pairs
    /// that this takes it merges one in `window`, and each shard once.
    pub(crate) fn make_room(&mut self, shards: &[ShardLoad], limits: &Limits, to_split: bool) {
        let hot = shards.iter().filter(|s| to_split && limits.is_hot(s)).count();
        let excess = |shards: usize| shards.saturating_sub(limits.max_shards) as u64;
        let pairs = |shards| excess(shards).div_ceil(limits.window) as usize;
        let (forced, wanted) = (pairs(shards.len()), pairs(shards.len() + CUTS * hot));
        let load = |right: usize| shards[right - 1].load + shards[right].load;
        let mut by_load: Vec<usize> = (1..shards.len()).collect();
        by_load.sort_by(|a, b| load(*a).total_cmp(&load(*b)));
        let mut free = vec![true; shards.len()];
        let mut chosen = Vec::new();
        for right in by_load {
            let is_cheap = load(right) <= COLD * limits.grain && shards[right].bytes <= limits.bytes;
            let enough = if is_cheap { wanted } else { forced };
            if chosen.len() < enough && free[right - 1] && free[right] {
                (free[right - 1], free[right]) = (false, false);
                chosen.push(right);
            }
        }
        chosen.sort_unstable();
        self.merge_at(&chosen);
    }

    /// Merges the shards at these indices, ascending, each into the one before it, whose home will be that of both.
    fn merge_at(&mut self, indices: &[usize]) {
        let mut indices = indices.iter().peekable();
        let mut owners: Vec<(KeyRange, usize)> = Vec::with_capacity(self.owners.len());
        for (index, &(right, from)) in self.owners.iter().enumerate() {
            match owners.last_mut().filter(|_| indices.next_if_eq(&&index).is_some()) {
                Some((left, to)) => {
                    if from != *to {
                        self.commands.push(Command::Move { shard: right, to: *to });
                    }
                    self.commands.push(Command::Merge { left: *left, right });
                    *left = join(*left, right);
                }
                None => owners.push((right, from)),
            }
        }
        self.owners = owners;
    }

    /// Splits what carries more than the grain, heaviest first, as far as `max_shards` allows.
    pub(crate) fn split_hot(&mut self, shards: &[ShardLoad], points: impl Fn(KeyRange) -> Vec<Point>, limits: &Limits) {
        let mut hot: Vec<&ShardLoad> = shards.iter().filter(|s| limits.is_hot(s)).collect();
        hot.sort_by(|a, b| b.load.total_cmp(&a.load).then(a.range.cmp(&b.range)));
        let mut room = limits.max_shards.saturating_sub(self.len());
        let mut ends = BTreeMap::new();
        for shard in hot {
            let mut cuts = cuts(&points(shard.range), shard.range, limits.grain);
            cuts.truncate(room);
            room -= cuts.len();
            cuts.sort_unstable();
            ends.insert(shard.range, cuts);
        }
        for (shard, owner) in std::mem::take(&mut self.owners) {
            let mut rest = shard;
            for at in ends.remove(&shard).unwrap_or_default() {
                if let Some((left, right)) = rest.split(at) {
                    self.commands.push(Command::Split { shard: rest, at });
                    self.owners.push((left, owner));
                    rest = right;
                }
            }
            self.owners.push((rest, owner));
        }
    }
}

fn join(left: KeyRange, right: KeyRange) -> KeyRange {
    KeyRange::new(left.start(), right.end()).expect("a range and the one after it are not empty")
}

/// Where to split a range so that no part but a single routing key carries more than the grain; what matters most
/// first.
fn cuts(points: &[Point], range: KeyRange, grain: f64) -> Vec<u64> {
    let mut cuts = Vec::new();
    let mut parts = VecDeque::from([(points, range)]);
    while let Some((points, range)) = parts.pop_front() {
        let total: f64 = points.iter().map(|p| p.weight).sum();
        if total <= grain {
            continue;
        }
        let (mut points, mut rest) = (points, range);
        for at in cut(points, total) {
            if let Some((left, right)) = rest.split(at) {
                let (before, after) = points.split_at(points.partition_point(|p| p.key < at));
                parts.push_back((before, left));
                (points, rest) = (after, right);
                cuts.push(at);
            }
        }
        if rest != range {
            parts.push_back((points, rest));
        }
    }
    cuts
}

/// Around a routing key that is half of the weight or more, else at the median.
fn cut(points: &[Point], total: f64) -> Vec<u64> {
    match points.iter().find(|p| p.seen && 2.0 * p.weight >= total) {
        Some(top) => [Some(top.key), top.key.checked_add(1)].into_iter().flatten().collect(),
        None => median(points, total).into_iter().collect(),
    }
}

/// The routing key that divides the weight most evenly into what is before it, and it with what is after.
fn median(points: &[Point], total: f64) -> Option<u64> {
    let mut before = 0.0;
    let mut best: Option<(f64, u64)> = None;
    for (i, point) in points.iter().enumerate() {
        let off = (before - total / 2.0).abs();
        if i > 0 && best.is_none_or(|b| off < b.0) {
            best = Some((off, point.key));
        }
        before += point.weight;
    }
    best.map(|b| b.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(points: &[(u64, f64)]) -> Vec<Point> {
        points.iter().map(|(key, weight)| Point { key: *key, weight: *weight, seen: true }).collect()
    }

    #[test]
    fn load_is_cut_at_its_median_again_and_again() {
        let even: Vec<_> = (0..8).map(|i| (10 * i, 1.0)).collect();
        assert_eq!(cuts(&points(&even), KeyRange::ALL, 4.0), [40]);
        assert_eq!(cuts(&points(&even), KeyRange::ALL, 2.0), [40, 20, 60]);
        assert_eq!(cuts(&points(&even), KeyRange::ALL, 8.0), [0; 0]);
    }

    #[test]
    fn a_key_that_is_most_of_it_is_cut_out() {
        let hot = |key| cuts(&points(&[(key, 9.0)]), KeyRange::ALL, 4.0);
        assert_eq!(hot(7), [7, 8]);
        assert_eq!(hot(0), [1]);
        assert_eq!(hot(u64::MAX), [u64::MAX]);
        assert_eq!(cuts(&points(&[(3, 9.0), (4, 9.0)]), KeyRange::ALL, 4.0), [3, 4, 5]);
        assert_eq!(cuts(&points(&[(7, 9.0)]), KeyRange::single(7), 4.0), [0; 0]);
    }

    #[test]
    fn what_was_never_seen_is_not_cut_out() {
        let assumed: Vec<_> = [10, 20].map(|key| Point { key, weight: 9.0, seen: false }).into();
        assert_eq!(cuts(&assumed, KeyRange::ALL, 4.0), [20]);
    }

    #[test]
    fn splits_keep_to_the_room_and_are_possible() {
        let assignment = Assignment::even(2, 2).unwrap();
        let even: Vec<_> = (0..100u64).map(|i| (i << 56, 6.4)).collect();
        let (owners, range): (Vec<_>, _) = (assignment.iter().collect(), assignment.range(0));
        let shard = |(range, owner): (KeyRange, usize)| {
            let load = if owner == 0 { 640.0 } else { 0.0 };
            ShardLoad { range, owner, home: owner, load, recent: vec![load], bytes: 9.0 }
        };
        let shards: Vec<_> = owners.iter().copied().map(shard).collect();
        let mut draft = Draft { owners, others: 0, commands: Vec::new() };
        let limits = Limits { max_shards: 9, grain: 40.0, bytes: 0.0, window: 1 };
        draft.split_hot(&shards, |asked| points(if asked == range { &even } else { &[] }), &limits);
        assert_eq!(draft.owners.len(), 9);
        assert_eq!(assignment.apply(&draft.commands).unwrap().iter().collect::<Vec<_>>(), draft.owners);
    }
}
