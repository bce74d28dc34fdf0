//! What checkpoints and failures cost on a trace.

use std::ops::RangeInclusive;

use clap::Args;
use thalweg::checkpoint::{CostModel, Costs};

/// What checkpoints and failures cost. Defaults are relative to the trace, so that the interval which is best at its
/// mean rate has the same length under each cost model.
#[derive(Clone, Copy, Debug, Args)]
pub struct Setting {
    /// Records processed per second, as a multiple of the most that arrive in an epoch.
    #[arg(long, value_name = "MULTIPLE", default_value = "2", value_parser = positive)]
    pub service_rate: f64,

    /// The interval between checkpoints that is best at the mean rate, in epochs: checkpoints are as dear as that
    /// takes.
    #[arg(
        long, value_name = "EPOCHS", default_value = "30", value_parser = positive,
        conflicts_with = "checkpoint_seconds"
    )]
    pub interval: f64,

    /// Seconds that a checkpoint takes. [default: as --interval takes]
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub checkpoint_seconds: Option<f64>,

    /// Seconds from a failure until records are replayed. [default: as long as a checkpoint takes]
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub outage_seconds: Option<f64>,

    /// Seconds between failures, on average. [default: 100 intervals]
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub mean_time_between_failures: Option<f64>,

    /// Epochs from the one that is decided from to the boundary of a checkpoint, at least 1: with 1 it is at its end.
    #[arg(long, value_name = "EPOCHS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub lead: u64,

    /// Seconds of an epoch.
    #[arg(skip = 1.0)]
    pub epoch_seconds: f64,
}

/// Failures are so many intervals apart, so that there is hardly ever more than one in one.
const INTERVALS_BETWEEN_FAILURES: f64 = 100.0;

impl Default for Setting {
    fn default() -> Self {
        Setting {
            service_rate: 2.0,
            interval: 30.0,
            checkpoint_seconds: None,
            outage_seconds: None,
            mean_time_between_failures: None,
            lead: 1,
            epoch_seconds: 1.0,
        }
    }
}

impl Setting {
    /// The same with epochs of so many seconds.
    pub fn with_epochs_of(self, epoch_seconds: f64) -> Self {
        Setting { epoch_seconds, ..self }
    }

    /// The costs on a trace with so many records in each epoch.
    pub fn costs(&self, records: &[f64], model: CostModel) -> Costs {
        let seconds = self.epoch_seconds;
        let mean = records.iter().sum::<f64>() / records.len() as f64 / seconds;
        let peak = records.iter().copied().fold(0.0, f64::max) / seconds;
        let interval = self.interval * seconds;
        let between = self.mean_time_between_failures.unwrap_or(INTERVALS_BETWEEN_FAILURES * interval);
        let costs = |checkpoint_seconds: f64| Costs {
            model,
            service_rate: self.service_rate * peak,
            checkpoint_seconds,
            outage_seconds: self.outage_seconds.unwrap_or(checkpoint_seconds),
            failure_rate: 1.0 / between,
        };
        let wanted = || rising(between, |checkpoint_seconds| costs(checkpoint_seconds).interval(mean) >= interval);
        costs(self.checkpoint_seconds.unwrap_or_else(wanted))
    }
}

/// Where, between 0 and `most`, what holds from there on begins to hold.
fn rising(most: f64, holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, most);
    for _ in 0..f64::MANTISSA_DIGITS {
        let middle = 0.5 * (low + high);
        if holds(middle) { high = middle } else { low = middle }
    }
    high
}

/// From a nanosecond to thirty thousand years: powers and products of these can still be reckoned with.
pub const POSITIVE: RangeInclusive<f64> = 1e-9..=1e12;

/// A number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| POSITIVE.contains(value));
    value.ok_or_else(|| {
        let (least, most) = POSITIVE.into_inner();
        format!("expected a number above 0, from {least:e} to {most:e}")
    })
}
