use std::collections::VecDeque;

use super::exposure::Exposure;
use crate::checkpoint::cost::Costs;

/// What a rule would have cost so far, had it decided: failures as expected, and checkpoints as they turned out.
#[derive(Clone, Debug)]
pub(super) struct Paper {
    exposure: Exposure,
    /// Boundaries of checkpoints that are not over, with the records and seconds since.
    taken: VecDeque<(u64, f64, f64)>,
    cost: f64,
}

/// What is left of a cost one epoch later: five thousand epochs count, so that some two hundred checkpoints do where
/// they are 25 epochs apart.
const KEEP: f64 = 0.9998;

impl Paper {
    /// From a checkpoint at this boundary on.
    pub fn from(boundary: u64) -> Self {
        Paper { exposure: Exposure::from(boundary), taken: VecDeque::new(), cost: 0.0 }
    }

    /// What a failure would cost now.
    pub fn exposure(&self) -> &Exposure {
        &self.exposure
    }

    /// What has been paid so far; what is long ago counts less.
    pub fn cost(&self) -> f64 {
        self.cost
    }

    /// Pays for an epoch.
    pub fn observe(&mut self, epoch: u64, records: f64, seconds: f64, costs: &Costs) {
        self.cost *= KEEP;
        let before = self.exposure;
        self.exposure.add(epoch, records, seconds, costs);
        if self.exposure.seconds > before.seconds {
            let prices = costs.at(records / seconds);
            let failure = prices.failure(before.records + records / 2.0) - prices.failure(0.0);
            self.pay(costs.failure_rate * seconds * failure);
        }
        for (_, sum, time) in self.taken.iter_mut().filter(|taken| taken.0 <= epoch) {
            *sum += records;
            *time += seconds;
        }
        while let Some((at, sum, time)) = self.taken.front().copied() {
            if at > epoch || time < costs.checkpoint_seconds {
                break;
            }
            self.pay(costs.at(sum / time).checkpoint);
            self.taken.pop_front();
        }
    }

    /// Takes a checkpoint.
    pub fn take(&mut self, boundary: u64) {
        self.taken.push_back((boundary, 0.0, 0.0));
        self.exposure = Exposure::from(boundary);
    }

    fn pay(&mut self, cost: f64) {
        if cost.is_finite() {
            self.cost += cost;
        }
    }
}
