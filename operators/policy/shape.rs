use super::loads::{Loads, Shard, tune};
use super::measure::Point;
use crate::keyspace::{Command, KeyRange};

/// A worker's fair share divided by this is a shard that needs no further split.
fn grains() -> f64 {
    tune("GRAINS", 16.0)
}
/// A shard is cold whose records in every epoch remembered were under this part of the grain.
fn cold() -> f64 {
    tune("COLD", 0.25)
}

/// The shards of a plan in the making, and the commands that lead to them.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) owners: Vec<(KeyRange, usize)>,
    pub(crate) commands: Vec<Command>,
}

/// The load over which a shard is worth a split: fine enough to balance with, but so that the shards fit twice over.
pub(crate) fn grain(total: f64, workers: usize, max_shards: usize) -> f64 {
    (total / (workers as f64 * grains())).max(2.0 * total / max_shards as f64)
}

impl Draft {
    /// Makes one shard of cold neighbours that have their home and their owner in common.
    pub(crate) fn merge_cold(&mut self, shards: &[Shard], loads: &Loads, grain: f64) {
        let mut merged: Vec<(KeyRange, usize)> = Vec::with_capacity(shards.len());
        let mut recent: Vec<f64> = Vec::new();
        for shard in shards {
            let together: Vec<f64> =
                shard.recent.iter().zip(recent.iter().chain(std::iter::repeat(&0.0))).map(|(a, b)| a + b).collect();
            let is_cold = together.iter().all(|r| *r <= cold() * grain);
            match merged.last_mut() {
                Some((left, owner))
                    if is_cold && *owner == shard.owner && loads.home_of(*left) == loads.home_of(shard.range) =>
                {
                    self.commands.push(Command::Merge { left: *left, right: shard.range });
                    *left = KeyRange::new(left.start(), shard.range.end()).expect("neighbours");
                    recent = together;
                }
                _ => {
                    merged.push((shard.range, shard.owner));
                    recent = shard.recent.clone();
                }
            }
        }
        self.owners = merged;
    }

    /// Splits what carries more than the grain, heaviest first, as far as `max_shards` allows.
    pub(crate) fn split_hot(&mut self, shards: &[Shard], loads: &Loads, grain: f64, max_shards: usize) {
        let mut hot: Vec<&Shard> = shards.iter().filter(|s| s.load > grain && !s.range.is_single()).collect();
        hot.sort_by(|a, b| b.load.total_cmp(&a.load).then(a.range.cmp(&b.range)));
        let mut room = max_shards.saturating_sub(self.owners.len());
        for shard in hot {
            let mut cuts = cuts(&loads.points(shard.range), shard.range, grain);
            cuts.truncate(room);
            room -= cuts.len();
            cuts.sort_unstable();
            let mut rest = shard.range;
            for at in cuts {
                let Some((left, right)) = rest.split(at) else { continue };
                self.commands.push(Command::Split { shard: rest, at });
                self.owners.push((right, shard.owner));
                let index = self.owners.iter().position(|o| o.0 == rest).expect("known");
                self.owners[index].0 = left;
                rest = right;
            }
        }
        self.owners.sort_unstable();
    }
}

/// Where to split a range so that no part but a single routing key carries more than the grain; most important first.
fn cuts(points: &[Point], range: KeyRange, grain: f64) -> Vec<u64> {
    let mut cuts = Vec::new();
    let mut parts = std::collections::VecDeque::from([(points, range)]);
    while let Some((points, range)) = parts.pop_front() {
        let total: f64 = points.iter().map(|p| p.weight).sum();
        if total <= grain || range.is_single() {
            continue;
        }
        for at in cut(points, range, total) {
            cuts.push(at);
        }
        // The parts are what the new ends make of the range.
        let mut ends: Vec<u64> = cut(points, range, total);
        ends.sort_unstable();
        let (mut rest, mut rest_points) = (range, points);
        for at in ends {
            let Some((left, right)) = rest.split(at) else { continue };
            let (before, after) = rest_points.split_at(rest_points.partition_point(|p| p.key < at));
            parts.push_back((before, left));
            (rest, rest_points) = (right, after);
        }
        if rest != range {
            parts.push_back((rest_points, rest));
        }
    }
    cuts
}

/// One split of a range: around a key that is most of it, else at the median.
fn cut(points: &[Point], range: KeyRange, total: f64) -> Vec<u64> {
    let Some(top) =
        points.iter().filter(|p| p.seen).max_by(|a, b| a.weight.total_cmp(&b.weight).then(b.key.cmp(&a.key)))
    else {
        return median(points, range, total);
    };
    if top.weight * 2.0 >= total || points.len() == 1 {
        let after = top.key.checked_add(1).filter(|a| *a <= range.last());
        return [Some(top.key).filter(|k| *k > range.start()), after].into_iter().flatten().collect();
    }
    median(points, range, total)
}

/// The routing key where the second half of the weight begins.
fn median(points: &[Point], range: KeyRange, total: f64) -> Vec<u64> {
    let mut sum = 0.0;
    let mut best: Option<(f64, u64)> = None;
    for point in points {
        let off = (sum - total / 2.0).abs();
        if point.key > range.start() && best.is_none_or(|b| off < b.0) {
            best = Some((off, point.key));
        }
        sum += point.weight;
    }
    best.map(|b| b.1).into_iter().collect()
}
