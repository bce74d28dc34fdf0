use super::imbalance;
use crate::keyspace::{Command, KeyRange};
use crate::planning::ShardLoad;

/// Slices per worker over which cold neighbours are merged: from the paper, as are the next four.
const MANY_SLICES: usize = 50;

/// Slices per worker up to which hot ones are split.
const MOST_SLICES: usize = 150;

/// The part of the state that a round may move in order to merge.
const MERGE_CHURN: f64 = 0.01;

/// The part of the state that a round may move in order to balance.
const MOVE_CHURN: f64 = 0.09;

/// Mean slices over which one is hot.
const HOT: f64 = 2.0;

/// Weighted move, the algorithm of Slicer (Adya et al., Slicer: Auto-Sharding for Datacenter Applications, OSDI 2016,
/// section 4.4), without its replicas.
///
/// In rounds: cold neighbours are merged; slices move from the busiest worker to the one with the most room, that one
/// first which lessens the imbalance of the two most for the state it moves; and hot slices are split where half of
/// their load lies, for the next round.
#[derive(Clone, Debug)]
pub struct WeightedMove {
    slices: Vec<ShardLoad>,
    capacities: Vec<f64>,
    evenly: f64,
    state: f64,
    bytes: f64,
}

impl WeightedMove {
    /// Begins with these shards, which are in order. Their owners are below the number of capacities, and those above
    /// 0.
    pub fn new(shards: Vec<ShardLoad>, capacities: Vec<f64>, evenly: f64) -> Self {
        let state = shards.iter().map(|s| s.bytes).sum();
        WeightedMove { slices: shards, capacities, evenly, state, bytes: 0.0 }
    }

    /// The shards as they are now.
    pub fn shards(&self) -> &[ShardLoad] {
        &self.slices
    }

    /// The imbalance as it is now.
    pub fn imbalance(&self) -> f64 {
        imbalance(&self.slices, &self.capacities, self.evenly)
    }

    /// Bytes of state moved so far.
    pub fn bytes(&self) -> f64 {
        self.bytes
    }

    /// One round, which ends once the imbalance is at most the target. `halves` divides a shard, if it can be. Gives
    /// the commands: none where nothing could be improved.
    pub fn round(
        &mut self,
        target: f64,
        halves: impl Fn(&ShardLoad) -> Option<(ShardLoad, ShardLoad)>,
    ) -> Vec<Command> {
        let mut commands = Vec::new();
        self.merge(&mut commands);
        self.balance(target, &mut commands);
        if self.imbalance() > target {
            self.split(halves, &mut commands);
        }
        commands
    }

    /// Merges cold neighbours, the one with less state going to the other, while there are many slices.
    fn merge(&mut self, commands: &mut Vec<Command>) {
        let mean = self.slices.iter().map(|s| s.load).sum::<f64>() / self.slices.len() as f64;
        let mut excess = self.slices.len().saturating_sub(MANY_SLICES * self.capacities.len());
        let (mut carried, mut churn) = (self.carried(), MERGE_CHURN * self.state);
        let limit = (0..carried.len()).map(|w| self.ratio(&carried, w, 0.0)).fold(0.0, f64::max);
        let mut merged: Vec<ShardLoad> = Vec::with_capacity(self.slices.len());
        for right in std::mem::take(&mut self.slices) {
            let Some(left) = merged.last_mut().filter(|left| excess > 0 && left.load + right.load < mean) else {
                merged.push(right);
                continue;
            };
            let (goes, to) =
                if left.bytes < right.bytes { (left.clone(), right.owner) } else { (right.clone(), left.owner) };
            let cost = if goes.owner == to { 0.0 } else { goes.bytes };
            let after = (carried[to] + goes.load) / self.capacities[to];
            if cost > 0.0 && (cost > churn || after > limit) {
                merged.push(right);
                continue;
            }
            if goes.owner != to {
                carried[goes.owner] -= goes.load;
                carried[to] += goes.load;
                commands.push(Command::Move { shard: goes.range, to });
            }
            commands.push(Command::Merge { left: left.range, right: right.range });
            churn -= cost;
            self.bytes += cost;
            excess -= 1;
            let recent = left.recent.iter().zip(&right.recent).map(|(l, r)| l + r).collect();
            let (load, bytes) = (left.load + right.load, left.bytes + right.bytes);
            *left = ShardLoad { range: left.range.hull(&right.range), owner: to, home: left.home, load, recent, bytes };
        }
        self.slices = merged;
    }

    /// Moves slices from the busiest worker while there is one worth its state, and churn is left.
    fn balance(&mut self, target: f64, commands: &mut Vec<Command>) {
        let (mut carried, mut churn) = (self.carried(), MOVE_CHURN * self.state);
        let fair = carried.iter().sum::<f64>() / self.capacities.iter().sum::<f64>();
        let mut of: Vec<Vec<usize>> = vec![Vec::new(); self.capacities.len()];
        self.slices.iter().enumerate().for_each(|(index, slice)| of[slice.owner].push(index));
        loop {
            let by_ratio =
                |a: &usize, b: &usize| self.ratio(&carried, *a, 0.0).total_cmp(&self.ratio(&carried, *b, 0.0));
            let workers = 0..self.capacities.len();
            let (Some(from), Some(to)) = (workers.clone().max_by(by_ratio), workers.min_by(by_ratio)) else { return };
            let busy = self.ratio(&carried, from, 0.0);
            if busy <= target * fair {
                return;
            }
            let weight = |index: &usize| {
                let slice = &self.slices[*index];
                let after = self.ratio(&carried, from, -slice.load).max(self.ratio(&carried, to, slice.load));
                (busy - after) / slice.bytes.max(1.0)
            };
            let affordable = of[from].iter().copied().filter(|index| self.slices[*index].bytes <= churn);
            let best = affordable.map(|i| (weight(&i), i)).filter(|b| b.0 > 0.0).max_by(|a, b| a.0.total_cmp(&b.0));
            let Some((_, index)) = best else { return };
            of[from].retain(|other| *other != index);
            of[to].push(index);
            let slice = &mut self.slices[index];
            carried[from] -= slice.load;
            carried[to] += slice.load;
            churn -= slice.bytes;
            self.bytes += slice.bytes;
            slice.owner = to;
            commands.push(Command::Move { shard: slice.range, to });
        }
    }

    /// Splits the slices that are hot, the hottest first.
    fn split(&mut self, halves: impl Fn(&ShardLoad) -> Option<(ShardLoad, ShardLoad)>, commands: &mut Vec<Command>) {
        let hot = HOT * self.slices.iter().map(|s| s.load).sum::<f64>() / self.slices.len() as f64;
        let mut order: Vec<usize> = (0..self.slices.len()).filter(|i| self.slices[*i].load >= hot).collect();
        order.sort_by(|a, b| self.slices[*b].load.total_cmp(&self.slices[*a].load));
        order.truncate((MOST_SLICES * self.capacities.len()).saturating_sub(self.slices.len()));
        for index in order {
            let whole: KeyRange = self.slices[index].range;
            if let Some((left, right)) = halves(&self.slices[index]) {
                commands.push(Command::Split { shard: whole, at: right.range.start() });
                self.slices[index] = left;
                self.slices.push(right);
            }
        }
        self.slices.sort_by_key(|s| s.range);
    }

    fn carried(&self) -> Vec<f64> {
        let mut carried = vec![self.evenly; self.capacities.len()];
        self.slices.iter().for_each(|s| carried[s.owner] += s.load);
        carried
    }

    fn ratio(&self, carried: &[f64], worker: usize, more: f64) -> f64 {
        (carried[worker] + more) / self.capacities[worker]
    }
}
