use super::Reason;
use crate::checkpoint::cost::Costs;

/// The least share of its mean since the last checkpoint that the arrival rate is taken for: a lull makes a
/// checkpoint cheap but not free, so that the interval does not fall below √0.1 ≈ 0.3 of what it would be.
pub const LULL: f64 = 0.1;

/// What a failure would cost if the checkpoint at this boundary were the last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exposure {
    pub boundary: u64,
    pub records: f64,
    pub seconds: f64,
    /// What a checkpoint would have spared of the cost of failures, as expected.
    pub loss: f64,
}

impl Exposure {
    pub fn from(boundary: u64) -> Self {
        Exposure { boundary, ..Exposure::default() }
    }

    /// Adds an epoch, unless it lies before the boundary.
    pub fn add(&mut self, epoch: u64, records: f64, seconds: f64, costs: &Costs) {
        if epoch < self.boundary {
            return;
        }
        // On average over the epoch, half of its records have arrived.
        let spared = costs.at(records / seconds).spared(self.records + records / 2.0);
        if spared.is_finite() {
            self.loss += costs.failure_rate * seconds * spared;
        }
        self.records += records;
        self.seconds += seconds;
    }

    /// Whether a checkpoint is due by the integral rule, when records arrive at this rate.
    pub fn is_due(&self, rate: f64, costs: &Costs) -> Option<Reason> {
        let mean = if self.seconds > 0.0 { self.records / self.seconds } else { 0.0 };
        let cost = costs.at(rate.max(LULL * mean)).checkpoint;
        let Exposure { loss, seconds, .. } = *self;
        (loss > 0.0 && loss >= cost).then_some(Reason::Integral { model: costs.model, loss, cost, seconds })
    }
}
