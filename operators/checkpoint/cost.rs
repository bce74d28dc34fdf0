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
#[serde(rename_all = "lowercase")]
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
        // Over an interval of t seconds, Σ φ N F'(N) is a t² + b t³.
        let [a, b] = [linear * rate / 2.0, 2.0 * square * rate * rate / 3.0].map(|term| self.failure_rate * term);
        let mut high = (checkpoint / a).sqrt().min((checkpoint / b).cbrt());
        if !high.is_finite() || b <= 0.0 {
            return if high.is_finite() { high } else { f64::INFINITY };
        }
        let mut low = 0.0;
        for _ in 0..f64::MANTISSA_DIGITS {
            let middle: f64 = 0.5 * (low + high);
            if middle * middle * (a + b * middle) < checkpoint { low = middle } else { high = middle }
        }
        high
    }
}

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

    /// By how much a failure would have been cheaper had the last checkpoint been a little later, in proportion:
    /// N F'(N) of N records. Where a failure costs in proportion to them, this is what it costs.
    pub fn spared(&self, records: f64) -> f64 {
        let [_, linear, square] = self.failure;
        records * (linear + 2.0 * records * square)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(model: CostModel) -> Costs {
        Costs { model, service_rate: 300.0, checkpoint_seconds: 2.0, outage_seconds: 4.0, failure_rate: 1e-4 }
    }

    #[test]
    fn costs_are_those_of_the_models() {
        let at = |model| costs(model).at(100.0);
        let [replay, delay, backlog] = CostModel::ALL.map(at);
        assert_eq!((replay.checkpoint, replay.failure(600.0)), (2.0, 2.0));
        assert_eq!((delay.checkpoint, delay.failure(600.0)), (200.0, 200.0));
        assert_eq!((backlog.checkpoint, backlog.failure(600.0)), (100.0, 2500.0));
        // Arrivals at the service rate and above make a backlog dear, not infinitely so.
        let full = costs(CostModel::Backlog).at(300.0).failure(600.0);
        assert!(full.is_finite() && full > backlog.failure(600.0));
    }

    #[test]
    fn spared_is_the_slope() {
        for model in CostModel::ALL {
            let prices = costs(model).at(70.0);
            let slope = (prices.failure(501.0) - prices.failure(499.0)) / 2.0;
            assert!((prices.spared(500.0) - 500.0 * slope).abs() < 1e-6, "{model}");
        }
    }

    #[test]
    fn no_other_interval_costs_less() {
        for model in CostModel::ALL {
            let costs = costs(model);
            let prices = costs.at(100.0);
            // By the midpoint rule, which is exact for a line.
            let per_second = |interval: f64| {
                let part = interval / 1000.0;
                let lost = |i: i32| prices.failure(100.0 * part * (f64::from(i) + 0.5));
                let lost: f64 = (0..1000).map(lost).sum();
                (prices.checkpoint + costs.failure_rate * part * lost) / interval
            };
            let best = costs.interval(100.0);
            assert!(
                per_second(best) < per_second(0.98 * best) && per_second(best) < per_second(1.02 * best),
                "{model}"
            );
        }
        let young = (2.0 * 2.0 * 300.0 / (100.0 * 1e-4_f64)).sqrt();
        assert!((costs(CostModel::Delay).interval(100.0) - young).abs() < 1e-9);
        assert!(CostModel::ALL.iter().all(|model| costs(*model).interval(0.0) == f64::INFINITY));
    }

    #[test]
    fn models_are_read_as_they_are_printed() {
        for model in CostModel::ALL {
            assert_eq!(model.to_string().parse::<CostModel>().unwrap(), model);
            assert_eq!(serde_json::to_string(&model).unwrap(), format!("\"{model}\""));
        }
        assert!("Delay".parse::<CostModel>().unwrap_err().to_string().contains("\"Delay\": expected `replay`"));
    }
}
