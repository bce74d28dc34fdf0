use thalweg::policy::PolicyConfig;

use super::arm::Loads;

/// What the workers can do, and what that makes of their loads.
#[derive(Clone, Debug)]
pub struct Workers {
    /// In records per epoch, or 1 each where that isn't known.
    capacities: Vec<f64>,
    is_known: bool,
    /// The part of a capacity that is to be used.
    utilization: f64,
    /// How many are in use always.
    least: usize,
}

impl Workers {
    /// So many of them.
    pub fn new(count: usize, config: &PolicyConfig) -> Self {
        let (capacities, least) = (config.capacities(count), config.min_workers.unwrap_or(1));
        Workers { capacities, is_known: !config.capacity.is_empty(), utilization: config.utilization, least }
    }

    /// The load over the capacity, for the worker where that is most, relative to all that are in use together: where
    /// they are alike, the busiest one's load over the mean. 1 without records.
    pub fn max_mean(&self, loads: &Loads) -> f64 {
        let records = loads.of_those_in_use() as f64;
        let most = loads.by_worker.iter().zip(&self.capacities).map(|(load, capacity)| *load as f64 / capacity);
        if records > 0.0 { most.fold(0.0, f64::max) * self.in_use(&loads.in_use) / records } else { 1.0 }
    }

    /// The capacity of those in use together.
    pub fn in_use(&self, in_use: &[bool]) -> f64 {
        self.capacities.iter().zip(in_use).filter(|(_, used)| **used).map(|(capacity, _)| capacity).sum()
    }

    /// The capacity of the fewest workers, from the first on, into whose part to be used so many records fit.
    pub fn needed(&self, records: u64) -> f64 {
        let mut room = 0.0;
        for (worker, capacity) in self.capacities.iter().enumerate() {
            if worker >= self.least && room * self.utilization >= records as f64 {
                break;
            }
            room += capacity;
        }
        room
    }

    /// Whether a worker has more than it can do, as far as that is known.
    pub fn is_over(&self, loads: &[u64]) -> bool {
        self.is_known && loads.iter().zip(&self.capacities).any(|(load, capacity)| *load as f64 > *capacity)
    }

    /// The capacities.
    pub fn capacities(&self) -> &[f64] {
        &self.capacities
    }
}
