use smallvec::SmallVec;

use super::ShardLoad;

/// Workers that are looked at as the new owner of a shard, those with the least load for their capacity: which of them
/// fits best depends on the epochs in which their load comes. With up to so many workers nothing is left out.
const RECEIVERS: usize = 8;

/// What each worker carries, in fair shares: of a worker of mean capacity, so that a fair share is its capacity.
pub(super) struct Board {
    /// Relative to the mean of those above 0.
    pub(super) capacities: Vec<f64>,
    /// The largest of them.
    largest: f64,
    /// The expected load.
    pub(super) expected: Vec<f64>,
    /// The most expected load for its capacity.
    pub(super) busiest: f64,
    /// By worker and scenario, its load times the weight of the scenario, so that a product with the records of a shard
    /// is an expectation.
    carried: Vec<f64>,
    /// For each scenario, its likelihood over the square of the fair share.
    weights: Vec<f64>,
    /// For each scenario, the least that a worker carries for its capacity.
    least: Vec<f64>,
    receivers: Vec<usize>,
    /// Records per epoch of a fair share.
    fair: f64,
    /// What each worker has that can't be moved.
    evenly: f64,
}

/// How much lower it may be elsewhere.
pub(super) struct Slope {
    /// For each scenario, what the worker carries for its capacity over the least.
    over: SmallVec<[f64; 16]>,
    steepness: f64,
}

impl Board {
    /// `None` if there is nobody to carry anything.
    pub(super) fn new(capacities: &[f64], evenly: f64, shards: &[ShardLoad], likelihood: &[f64]) -> Option<Self> {
        let in_use = capacities.iter().filter(|c| **c > 0.0).count();
        let mean = capacities.iter().map(|c| c.max(0.0)).sum::<f64>() / in_use as f64;
        let capacities: Vec<f64> = capacities.iter().map(|c| c.max(0.0) / mean).collect();
        let fair = evenly + shards.iter().map(|s| s.load).sum::<f64>() / in_use as f64;
        if !(mean.is_finite() && fair >= 0.0 && fair.is_finite()) {
            return None;
        }
        // Where there is no load, any share is fair.
        let fair = if fair > 0.0 { fair } else { 1.0 };
        let weights: Vec<f64> = likelihood.iter().map(|l| l / (fair * fair)).collect();
        let mut carried = Vec::with_capacity(capacities.len() * weights.len());
        capacities.iter().for_each(|_| carried.extend(weights.iter().map(|w| w * evenly)));
        let expected = vec![evenly / fair; capacities.len()];
        let largest = capacities.iter().copied().fold(0.0, f64::max);
        let (least, receivers) = (vec![0.0; weights.len()], Vec::new());
        let mut board =
            Board { capacities, largest, expected, busiest: 0.0, carried, weights, least, receivers, fair, evenly };
        shards.iter().for_each(|shard| board.add(shard.owner, shard, 1.0));
        board.rank();
        Some(board)
    }

    pub(super) fn fair(&self) -> f64 {
        self.fair
    }

    /// The expected load of a shard.
    pub(super) fn load(&self, shard: &ShardLoad) -> f64 {
        shard.load / self.fair
    }

    /// A worker's expected load for its capacity.
    pub(super) fn ratio(&self, worker: usize) -> f64 {
        self.expected[worker] / self.capacities[worker]
    }

    /// A worker's expected load of shards.
    pub(super) fn movable(&self, worker: usize) -> f64 {
        self.expected[worker] - self.evenly / self.fair
    }

    pub(super) fn is_in_use(&self, worker: usize) -> bool {
        self.capacities.get(worker).is_some_and(|c| *c > 0.0)
    }

    /// By how much the squares lessen when a shard leaves its owner.
    pub(super) fn leaving(&self, shard: &ShardLoad) -> f64 {
        (2.0 * product(self.at(shard.owner), &shard.recent) - self.square(shard)) / self.capacities[shard.owner]
    }

    /// By how much they grow when it joins a worker.
    pub(super) fn joining(&self, shard: &ShardLoad, square: f64, worker: usize) -> f64 {
        (2.0 * product(self.at(worker), &shard.recent) + square) / self.capacities[worker]
    }

    /// What a worker has over the least that any has.
    pub(super) fn slope(&self, worker: usize) -> Slope {
        let capacity = self.capacities[worker];
        let over = self.at(worker).iter().zip(&self.least).map(|(load, least)| load / capacity - least).collect();
        Slope { over, steepness: capacity.recip() + self.largest.recip() }
    }

    /// No less than what the squares lessen by when a shard leaves its worker, wherever it goes.
    pub(super) fn relief_at_most(&self, slope: &Slope, shard: &ShardLoad) -> f64 {
        let (mut down, mut square) = (0.0, 0.0);
        for ((x, over), weight) in shard.recent.iter().zip(&slope.over).zip(&self.weights) {
            down += over * x;
            square += weight * x * x;
        }
        2.0 * down - slope.steepness * square
    }

    pub(super) fn square(&self, shard: &ShardLoad) -> f64 {
        shard.recent.iter().zip(&self.weights).map(|(x, weight)| weight * x * x).sum()
    }

    /// The workers that a shard may join without becoming busier than the busiest.
    pub(super) fn receivers(&self, shard: &ShardLoad) -> impl Iterator<Item = usize> {
        let load = self.load(shard);
        let fits = move |worker: &usize| {
            self.is_in_use(*worker) && self.expected[*worker] + load <= self.busiest * self.capacities[*worker]
        };
        let home = (!self.receivers.contains(&shard.home)).then_some(shard.home);
        let (owner, receivers) = (shard.owner, self.receivers.iter().copied().chain(home));
        receivers.filter(move |worker| *worker != owner).filter(fits)
    }

    pub(super) fn go(&mut self, shard: &ShardLoad, to: usize) {
        self.add(shard.owner, shard, -1.0);
        self.add(to, shard, 1.0);
    }

    /// Looks for the busiest, and for those with the most room.
    pub(super) fn rank(&mut self) {
        let mut workers: Vec<usize> = (0..self.capacities.len()).filter(|w| self.is_in_use(*w)).collect();
        self.busiest = workers.iter().map(|w| self.ratio(*w)).fold(0.0, f64::max);
        let by_ratio = |a: &usize, b: &usize| self.ratio(*a).total_cmp(&self.ratio(*b)).then(a.cmp(b));
        if workers.len() > RECEIVERS {
            workers.select_nth_unstable_by(RECEIVERS, by_ratio);
            workers.truncate(RECEIVERS);
        }
        workers.sort_unstable_by(by_ratio);
        self.receivers = workers;
        self.least.fill(f64::INFINITY);
        let in_use = self.carried.chunks_exact(self.weights.len().max(1)).zip(&self.capacities).filter(|w| *w.1 > 0.0);
        for (carried, capacity) in in_use {
            self.least.iter_mut().zip(carried).for_each(|(least, load)| *least = least.min(load / capacity));
        }
    }

    fn at(&self, worker: usize) -> &[f64] {
        let scenarios = self.weights.len();
        &self.carried[worker * scenarios..][..scenarios]
    }

    fn add(&mut self, worker: usize, shard: &ShardLoad, sign: f64) {
        let scenarios = self.weights.len();
        if worker < self.expected.len() {
            self.expected[worker] += sign * shard.load / self.fair;
            let carried = &mut self.carried[worker * scenarios..][..scenarios];
            let loads = shard.recent.iter().zip(&self.weights);
            carried.iter_mut().zip(loads).for_each(|(sum, (x, weight))| *sum += sign * x * weight);
        }
    }
}

/// In four sums at once, which don't wait for each other.
fn product(a: &[f64], b: &[f64]) -> f64 {
    let common = a.len().min(b.len());
    let (a, b) = (a[..common].chunks_exact(4), b[..common].chunks_exact(4));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; 4];
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f64>() + rest
}
