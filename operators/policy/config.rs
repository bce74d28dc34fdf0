use serde::{Deserialize, Serialize};

use crate::error::Error;

/// When a policy acts, and how much it may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// Health, 1 / (1 + load / fair share), under which a worker counts as overloaded; in (0, 1), 0.5 being exactly
    /// the fair share [default: 0.49, 4 % over it].
    // A worker within 4 % of its share is not worth a move: sampling noise alone is of that size.
    #[cfg_attr(feature = "clap", arg(long, value_name = "HEALTH", default_value_t = PolicyConfig::default().health_threshold, hide_default_value = true))]
    pub health_threshold: f64,

    /// Epochs over which the moves of one plan are spread, at least 1 [default: 1].
    #[cfg_attr(feature = "clap", arg(long, value_name = "EPOCHS", default_value_t = PolicyConfig::default().migration_window, hide_default_value = true))]
    pub migration_window: u64,

    /// Shards that splitting may lead to, at least 1 [default: 1024].
    #[cfg_attr(feature = "clap", arg(long, value_name = "SHARDS", default_value_t = PolicyConfig::default().max_shards, hide_default_value = true))]
    pub max_shards: usize,

    /// Epochs ahead for which load is forecast, and within which a move must pay for itself, at least 1 [default: 4].
    #[cfg_attr(feature = "clap", arg(long, value_name = "EPOCHS", default_value_t = PolicyConfig::default().prediction_horizon, hide_default_value = true))]
    pub prediction_horizon: usize,

    /// Cost of moving one byte of state, in records that a worker could process instead; at least 0
    /// [default: 0.005].
    // Encoding, sending and decoding a megabyte takes some 5 ms, in which a worker counts some 5,000 records.
    #[cfg_attr(feature = "clap", arg(long, value_name = "RECORDS", default_value_t = PolicyConfig::default().move_cost, hide_default_value = true))]
    pub move_cost: f64,
}

impl Default for PolicyConfig {
    fn default() -> Self {
        PolicyConfig {
            health_threshold: 0.49,
            migration_window: 1,
            max_shards: 1024,
            prediction_horizon: 4,
            move_cost: 0.005,
        }
    }
}

impl PolicyConfig {
    /// Checks that every value lies in its range.
    pub fn validate(&self) -> Result<(), Error> {
        let threshold = self.health_threshold;
        if !(threshold > 0.0 && threshold < 1.0) {
            return Err(Error::usage(format!(
                "health_threshold is {threshold}, but must lie between 0 and 1, neither included: try 0.49, which \
                 calls a worker overloaded from 4 % over its fair share on"
            )));
        }
        for (name, value) in [
            ("migration_window", self.migration_window),
            ("max_shards", self.max_shards as u64),
            ("prediction_horizon", self.prediction_horizon as u64),
        ] {
            if value == 0 {
                return Err(Error::usage(format!("{name} is 0, but must be at least 1")));
            }
        }
        if !(self.move_cost >= 0.0 && self.move_cost.is_finite()) {
            return Err(Error::usage(format!(
                "move_cost is {}, but must be a number of records per byte, at least 0: use 0 where moving is free",
                self.move_cost
            )));
        }
        Ok(())
    }
}
