use std::collections::{BTreeMap, VecDeque};

use super::loads::{Loads, Shard};
use super::measure::Point;
use crate::keyspace::{Command, KeyRange};

/// A shard that carries less than a worker's fair share divided by this needs no split: moving it whole changes a worker's
/// load by 6 %. At 8 a stable stream was balanced 1 % worse; 32 only makes more shards.
const GRAINS: f64 = 16.0;

/// A shard is cold while in every epoch remembered it saw less than this part of the grain: far enough below 1 that
/// what was merged is not split again for noise.
const COLD: f64 = 0.25;

/// The shards of a plan in the making, and the commands that lead to them.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// The shards in order, with their owners.
    pub(crate) owners: Vec<(KeyRange, usize)>,
    pub(crate) commands: Vec<Command>,
}

/// The records per epoch over which a shard is worth a split: fine enough to balance with, and so that twice the hot
/// shards still fit into `max_shards`.
pub(crate) fn grain(total: f64, workers: usize, max_shards: usize) -> f64 {
    (total / (workers as f64 * GRAINS)).max(2.0 * total / max_shards as f64)
}

impl Draft {
    /// Makes one shard of cold neighbours that have their first shard and their owner in common.
    pub(crate) fn merge_cold(&mut self, shards: &[Shard], loads: &Loads, grain: f64) {
        self.owners.clear();
        let mut recent: Vec<f64> = Vec::new();
        for shard in shards {
            let together: Vec<f64> = recent.iter().zip(&shard.recent).map(|(left, right)| left + right).collect();
            let is_cold = together.iter().all(|records| *records <= COLD * grain);
            match self.owners.last_mut() {
                Some((left, owner))
                    if is_cold && *owner == shard.owner && loads.home(*left) == loads.home(shard.range) =>
                {
                    self.commands.push(Command::Merge { left: *left, right: shard.range });
                    *left = join(*left, shard.range);
                    recent = together;
                }
                _ => {
                    self.owners.push((shard.range, shard.owner));
                    recent.clone_from(&shard.recent);
                }
            }
        }
    }

    /// Merges this many of the coldest pairs of neighbours, wherever they are; each shard at most once.
    pub(crate) fn merge_excess(&mut self, shards: &[Shard], excess: usize) {
        let mut pairs: Vec<usize> = (1..shards.len()).collect();
        let load = |right: usize| shards[right - 1].load + shards[right].load;
        pairs.sort_by(|a, b| load(*a).total_cmp(&load(*b)));
        let mut taken = vec![false; shards.len()];
        let mut merged = Vec::new();
        for right in pairs {
            if merged.len() < excess && !taken[right - 1] && !taken[right] {
                (taken[right - 1], taken[right]) = (true, true);
                merged.push(right);
            }
        }
        merged.sort_unstable();
        for right in merged.into_iter().rev() {
            self.merge_at(right, &shards[right - 1], &shards[right]);
        }
    }

    /// Merges the shard at an index with the one before it; the one with less state goes to the other's owner.
    fn merge_at(&mut self, index: usize, left: &Shard, right: &Shard) {
        let (moved, stays) = if left.bytes < right.bytes { (left, right) } else { (right, left) };
        if moved.owner != stays.owner {
            self.commands.push(Command::Move { shard: moved.range, to: stays.owner });
        }
        self.commands.push(Command::Merge { left: left.range, right: right.range });
        self.owners.remove(index);
        self.owners[index - 1] = (join(left.range, right.range), stays.owner);
    }

    /// Splits what carries more than the grain, heaviest first, as far as `max_shards` allows.
    pub(crate) fn split_hot(&mut self, shards: &[Shard], loads: &Loads, grain: f64, max_shards: usize) {
        let mut hot: Vec<&Shard> = shards.iter().filter(|s| s.load > grain && !s.range.is_single()).collect();
        hot.sort_by(|a, b| b.load.total_cmp(&a.load).then(a.range.cmp(&b.range)));
        let mut room = max_shards.saturating_sub(self.owners.len());
        let mut ends = BTreeMap::new();
        for shard in hot {
            let mut cuts = cuts(&loads.points(shard.range), shard.range, grain);
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

/// Where to split a range so that no part but a single routing key carries more than the grain; what matters most first.
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
