use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What a checkpoint and a failure are thought to cost. As text: `replay`, `delay` or `backlog`.
///
/// With arrivals at rate λ, service at rate μ, a checkpoint of C seconds, an outage of R seconds before records are
/// replayed, and N records since the last checkpoint:
///
/// | model     | unit           | a checkpoint      | a failure                |
/// |-----------|----------------|-------------------|--------------------------|
/// | `replay`  | seconds        | C                 | N / μ                    |
/// | `delay`   | records        | λ C               | λ N / μ                  |
/// | `backlog` | record-seconds | (λ C)² / 2(μ − λ) | (N + λ R)² / 2(μ − λ)    |
///
/// `replay` counts the work that is done twice. `delay` counts the records that arrive while nothing is processed, and
/// have to wait. `backlog` counts how long all of them wait together: a backlog of N records is worked off at the rate
/// μ − λ, and so is a triangle of that area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CostModel {
    /// Work done twice, in seconds.
    Replay,
    /// Records that have to wait.
    #[default]
    Delay,
    /// Records that have to wait times how long.
    Backlog,
}

impl CostModel {
    /// All there are.
    pub const ALL: [CostModel; 3] = [CostModel::Replay, CostModel::Delay, CostModel::Backlog];

    /// What its costs are counted in.
    pub fn unit(self) -> &'static str {
        match self {
            CostModel::Replay => "seconds of replay",
            CostModel::Delay => "records delayed",
            CostModel::Backlog => "record-seconds of backlog",
        }
    }
}

impl fmt::Display for CostModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            CostModel::Replay => "replay",
            CostModel::Delay => "delay",
            CostModel::Backlog => "backlog",
        })
    }
}

impl FromStr for CostModel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        CostModel::ALL.into_iter().find(|model| model.to_string() == text).ok_or_else(|| {
            Error::usage(format!("no cost model is called {text:?}: expected `replay`, `delay` or `backlog`"))
        })
    }
}

impl TryFrom<String> for CostModel {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<CostModel> for String {
    fn from(model: CostModel) -> Self {
        model.to_string()
    }
}

/// The part of the service rate that is taken to be left for a backlog at least. Arrivals at or above the service rate
/// would make any backlog cost infinitely much; they end some time, and until then a backlog is worked off twenty times
/// as slowly as with no arrivals.
pub const LEAST_HEADROOM: f64 = 0.05;

/// A cost model with its figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// What is counted.
    pub model: CostModel,
    /// Records processed per second where there are enough, μ.
    pub service_rate: f64,
    /// What a checkpoint takes, C.
    pub checkpoint_seconds: f64,
    /// From a failure until records are replayed, R.
    pub outage_seconds: f64,
    /// Failures of the whole computation per second, on average, φ.
    pub failure_rate: f64,
}

impl Costs {
    /// What is paid while records arrive at this rate, per second.
    pub fn at(&self, rate: f64) -> Prices {
        let service = self.service_rate;
        let lost = rate * self.outage_seconds;
        let checkpoint = rate * self.checkpoint_seconds;
        match self.model {
            CostModel::Replay => Prices { checkpoint: self.checkpoint_seconds, failure: [0.0, 1.0 / service, 0.0] },
            CostModel::Delay => Prices { checkpoint, failure: [0.0, rate / service, 0.0] },
            CostModel::Backlog => {
                let triangle = 0.5 / (service - rate).max(LEAST_HEADROOM * service);
                let failure = [lost * lost, 2.0 * lost, 1.0].map(|term| term * triangle);
                Prices { checkpoint: checkpoint * checkpoint * triangle, failure }
            }
        }
    }

    /// The interval between checkpoints that costs least at a constant rate, in seconds: where a longer one would cost
    /// more than the mean. For `replay` and `delay` it is Young's, √(2 C μ / (λ φ)).
    pub fn interval(&self, rate: f64) -> f64 {
        let Prices { checkpoint, failure: [_, linear, square] } = self.at(rate);
        // Σ φ N F'(N) dt over an interval of t seconds is φ (b λ t² / 2 + 2 c λ² t³ / 3), and rises with t.
        let (square, linear) = (linear * rate / 2.0, 2.0 * square * rate * rate / 3.0);
        let spared = |t: f64| self.failure_rate * (square + linear * t) * t * t;
        let upper = (checkpoint / (self.failure_rate * square)).sqrt();
        let upper = upper.min((checkpoint / (self.failure_rate * linear)).cbrt());
        if !(upper.is_finite() && linear > 0.0) {
            return if upper.is_finite() { upper } else { f64::INFINITY };
        }
        let (mut low, mut high) = (0.0, upper);
        for _ in 0..BISECTIONS {
            let middle = 0.5 * (low + high);
            if spared(middle) < checkpoint { low = middle } else { high = middle }
        }
        high
    }
}

/// As many as a float has bits of precision.
const BISECTIONS: usize = 53;

/// What is paid at one arrival rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prices {
    /// For a checkpoint.
    pub checkpoint: f64,
    /// For a failure, by the powers of the records since the last checkpoint: their coefficients, from that of 1 on.
    pub failure: [f64; 3],
}

impl Prices {
    /// For a failure so many records after a checkpoint.
    pub fn failure(&self, records: f64) -> f64 {
        let [constant, linear, square] = self.failure;
        constant + records * (linear + records * square)
    }

    /// By how much a failure would have been cheaper had the last checkpoint been a little later, in proportion: N F'(N)
    /// of N records. Where a failure costs in proportion to them, this is what it costs.
    pub fn spared(&self, records: f64) -> f64 {
        let [_, linear, square] = self.failure;
        records * (linear + 2.0 * records * square)
    }
}
