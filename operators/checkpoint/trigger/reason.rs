use std::fmt;

use crate::checkpoint::cost::CostModel;
use crate::checkpoint::estimate::RecoveryEstimate;

/// Why a checkpoint is taken. Costs are in the unit of the cost model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// So many epochs lie between the last checkpoint's boundary and this one's.
    Every {
        /// The epochs.
        epochs: u64,
    },
    /// More records would arrive during a recovery than the threshold allows.
    Literal {
        /// Predicted arrival rate, in records per second.
        rate: f64,
        /// What a recovery would take.
        recovery: RecoveryEstimate,
        /// The threshold, in records.
        threshold: f64,
    },
    /// Failures are expected to have cost as much since the last checkpoint as a checkpoint does.
    Integral {
        /// In which costs are counted.
        model: CostModel,
        /// What a checkpoint would have spared of the cost of failures since the last one, as expected.
        loss: f64,
        /// What a checkpoint costs.
        cost: f64,
        /// Wall time since the last checkpoint.
        seconds: f64,
    },
    /// A later checkpoint is expected to cost more over the epochs that are forecast.
    Foresight {
        /// In which costs are counted.
        model: CostModel,
        /// What a checkpoint costs now.
        cost: f64,
        /// How much more it would cost to wait, at least: by failures until then, and by the later checkpoint.
        waiting: f64,
        /// Wall time since the last checkpoint.
        seconds: f64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Every { epochs } => write!(f, "every: {epochs} epochs since the last checkpoint"),
            Reason::Literal { rate, recovery, threshold } => {
                let records = rate * recovery.seconds();
                write!(f, "literal: {rate:.1} records/s x {recovery} = {records:.0} > {threshold} records")
            }
            Reason::Integral { model, loss, cost, seconds } => {
                let unit = model.unit();
                write!(
                    f,
                    "integral: {loss:.3} {unit} expected of failures in {seconds:.3} s >= {cost:.3} for a checkpoint"
                )
            }
            Reason::Foresight { model, cost, waiting, seconds } => {
                let unit = model.unit();
                write!(
                    f,
                    "foresight: {cost:.3} {unit} for a checkpoint {seconds:.3} s after the last one; to wait would \
                     cost {waiting:.3} more"
                )
            }
        }
    }
}
