use serde::{Deserialize, Serialize};

use crate::error::Error;

/// When a policy acts, and how much it may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// Health, 1 / (1 + load / fair share), under which a worker counts as overloaded: between 0 and 1, where 0.5 is
    /// exactly the fair share and 0.49 is 4 % over it.
    #[cfg_attr(feature = "clap", arg(long, value_name = "HEALTH", default_value_t = Self::HEALTH_THRESHOLD))]
    pub health_threshold: f64,

    /// Epochs over which the moves of a plan are spread, at least 1.
    #[cfg_attr(feature = "clap", arg(long, value_name = "EPOCHS", default_value_t = Self::MIGRATION_WINDOW))]
    pub migration_window: u64,

    /// Bytes of state that may move at one boundary, at least 1, unless it is one shard's: a plan that moves more takes
    /// more epochs. It is what is copied ahead in the epochs between, and what is kept twice until then.
    #[cfg_attr(feature = "clap", arg(long, value_name = "BYTES", default_value_t = Self::MIGRATION_BYTES))]
    pub migration_bytes: u64,

    /// Shards that there may be in all: at least 1, and best many times the workers. Where there are more to begin
    /// with, the coldest neighbours are merged.
    #[cfg_attr(feature = "clap", arg(long, value_name = "SHARDS", default_value_t = Self::MAX_SHARDS))]
    pub max_shards: usize,

    /// Epochs, from the one on in which a plan takes effect, for which load is forecast and within which a move must
    /// pay for itself: 1 to 128.
    #[cfg_attr(feature = "clap", arg(long, value_name = "EPOCHS", default_value_t = Self::PREDICTION_HORIZON))]
    pub prediction_horizon: usize,

    /// Cost of moving a byte of state, in records that a worker could process instead, at least 0.
    #[cfg_attr(feature = "clap", arg(long, value_name = "RECORDS", default_value_t = Self::MOVE_COST))]
    pub move_cost: f64,

    /// Part of a worker's fair share of the records from which a single key is folded, above 0: 0.1 is a tenth of what
    /// a worker would carry if all had the same. More than the number of workers folds nothing, and then gates don't
    /// fold keys either that they find hot themselves, whatever the policy is.
    #[cfg_attr(feature = "clap", arg(long, value_name = "SHARE", default_value_t = Self::FOLD_SHARE))]
    pub fold_share: f64,

    /// Records per epoch that a worker can process: one number for each, by which load is divided, or one for all,
    /// which matters to `min_workers` only. Without, workers are taken for alike.
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "RECORDS,…", value_delimiter = ',', allow_negative_numbers = true)
    )]
    pub capacity: Vec<f64>,

    /// Workers that are in use however little there is to do, at least 1; the others are while they are needed, which
    /// takes a capacity to tell. [default: all]
    #[cfg_attr(feature = "clap", arg(long, value_name = "WORKERS", requires = "capacity"))]
    pub min_workers: Option<usize>,

    /// With `min_workers`: part of the capacity of the workers in use that the load is to fit into, above 0 and at most
    /// 1.
    #[cfg_attr(feature = "clap", arg(
        long, value_name = "PART", default_value_t = Self::UTILIZATION, allow_negative_numbers = true
    ))]
    pub utilization: f64,
}

impl PolicyConfig {
    /// 4 % over the fair share, about as far as forecasts of a steady stream are off.
    pub const HEALTH_THRESHOLD: f64 = 0.49;

    /// On recorded streams 2 gave the balance of 1 with an eighth fewer moves; 4 was too late for abrupt ones.
    pub const MIGRATION_WINDOW: u64 = 2;

    /// Some 400,000 small states, which are copied in a fraction of a second.
    pub const MIGRATION_BYTES: u64 = 16 << 20;

    /// 16 for each of 64 workers; deciding about that many takes some 2 ms.
    pub const MAX_SHARDS: usize = 1024;

    /// A load that lasts less than four epochs is not worth a move of a state that is large.
    pub const PREDICTION_HORIZON: usize = 4;

    /// What is noted of forecasts goes with the square of the horizon.
    pub const MAX_PREDICTION_HORIZON: usize = 128;

    /// Encoding, sending and decoding a megabyte takes some 5 ms, in which a worker counts some 5,000 records.
    pub const MOVE_COST: f64 = 0.005;

    /// On a stream whose hot keys are others in every session, over 12 hashes of 40 epochs each, the busiest worker was
    /// over 1.3 fair shares at 0.1 where a key newly turned hot and in one epoch besides; at 0.2 in 7, at 0.3 in 37. At
    /// 0.05 the median was 6 % better, with twice as many folds and half as many partials again.
    pub const FOLD_SHARE: f64 = 0.1;

    /// Leaves room for a quarter more than was provided for.
    pub const UTILIZATION: f64 = 0.8;
}

impl Default for PolicyConfig {
    fn default() -> Self {
        PolicyConfig {
            health_threshold: Self::HEALTH_THRESHOLD,
            migration_window: Self::MIGRATION_WINDOW,
            migration_bytes: Self::MIGRATION_BYTES,
            max_shards: Self::MAX_SHARDS,
            prediction_horizon: Self::PREDICTION_HORIZON,
            move_cost: Self::MOVE_COST,
            fold_share: Self::FOLD_SHARE,
            capacity: Vec::new(),
            min_workers: None,
            utilization: Self::UTILIZATION,
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
            ("migration_bytes", self.migration_bytes),
            ("max_shards", self.max_shards as u64),
            ("prediction_horizon", self.prediction_horizon as u64),
        ] {
            if value == 0 {
                return Err(Error::usage(format!("{name} is 0, but must be at least 1")));
            }
        }
        if self.prediction_horizon > Self::MAX_PREDICTION_HORIZON {
            return Err(Error::usage(format!(
                "prediction_horizon is {}, but must be at most {}",
                self.prediction_horizon,
                Self::MAX_PREDICTION_HORIZON
            )));
        }
        if !(self.move_cost >= 0.0 && self.move_cost.is_finite()) {
            return Err(Error::usage(format!(
                "move_cost is {}, but must be a number of records per byte, at least 0: use 0 where moving is free",
                self.move_cost
            )));
        }
        if !(self.fold_share > 0.0 && self.fold_share.is_finite()) {
            return Err(Error::usage(format!(
                "fold_share is {}, but must be a number above 0: try {}, or more than there are workers to fold nothing",
                self.fold_share,
                Self::FOLD_SHARE
            )));
        }
        self.validate_capacity()
    }

    fn validate_capacity(&self) -> Result<(), Error> {
        if let Some(capacity) = self.capacity.iter().find(|c| !(**c > 0.0 && c.is_finite())) {
            return Err(Error::usage(format!("capacity has {capacity}, but a worker's must be a number above 0")));
        }
        if !(self.utilization > 0.0 && self.utilization <= 1.0) {
            return Err(Error::usage(format!(
                "utilization is {}, but must be above 0 and at most 1: try {}",
                self.utilization,
                Self::UTILIZATION
            )));
        }
        match self.min_workers {
            Some(0) => Err(Error::usage("min_workers is 0, but there must be at least 1 in use")),
            Some(least) if self.capacity.is_empty() => Err(Error::usage(format!(
                "min_workers is {least}, but without a capacity it can't be told how many are needed: give the records \
                 per epoch that a worker can process"
            ))),
            _ => Ok(()),
        }
    }

    /// Checks that what is said of each worker fits so many.
    pub fn validate_for(&self, workers: usize) -> Result<(), Error> {
        self.validate()?;
        let known = self.capacity.len();
        if known > 1 && known != workers {
            return Err(Error::usage(format!(
                "capacity has {known} numbers, but there are {workers} workers: give one for each, or one for all"
            )));
        }
        if self.max_shards < workers {
            return Err(Error::usage(format!(
                "max_shards is {}, but there are {workers} workers: allow as many shards at least, and best many times \
                 as many",
                self.max_shards
            )));
        }
        match self.min_workers {
            Some(least) if least > workers => Err(Error::usage(format!(
                "min_workers is {least}, but there are {workers} workers: leave it out where all are to be in use"
            ))),
            _ => Ok(()),
        }
    }

    /// Whether some of so many workers may be put out of use.
    pub fn can_rest(&self, workers: usize) -> bool {
        self.min_workers.is_some_and(|least| least < workers)
    }

    /// The capacity of each of so many workers: in records per epoch where they are known, and else all the same.
    pub fn capacities(&self, workers: usize) -> Vec<f64> {
        match self.capacity[..] {
            [] => vec![1.0; workers],
            [all] => vec![all; workers],
            ref each => each.iter().copied().chain(std::iter::repeat(0.0)).take(workers).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named() {
        let what = |config: PolicyConfig| config.validate().unwrap_err().to_string();
        let default = PolicyConfig::default;
        assert!(default().validate().is_ok());
        for health_threshold in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(what(PolicyConfig { health_threshold, ..default() }).starts_with("health_threshold is "));
        }
        assert!(what(PolicyConfig { migration_window: 0, ..default() }).starts_with("migration_window is 0"));
        assert!(what(PolicyConfig { migration_bytes: 0, ..default() }).starts_with("migration_bytes is 0"));
        assert!(what(PolicyConfig { max_shards: 0, ..default() }).starts_with("max_shards is 0"));
        assert!(what(PolicyConfig { prediction_horizon: 0, ..default() }).starts_with("prediction_horizon is 0"));
        assert!(what(PolicyConfig { prediction_horizon: 129, ..default() }).starts_with("prediction_horizon is 129"));
        for move_cost in [-1.0, f64::INFINITY, f64::NAN] {
            assert!(what(PolicyConfig { move_cost, ..default() }).starts_with("move_cost is "));
        }
        for fold_share in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            assert!(what(PolicyConfig { fold_share, ..default() }).starts_with("fold_share is "));
        }
        for each in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            assert!(what(PolicyConfig { capacity: vec![5.0, each], ..default() }).starts_with("capacity has "));
        }
        for utilization in [0.0, 1.1, f64::NAN] {
            assert!(what(PolicyConfig { utilization, ..default() }).starts_with("utilization is "));
        }
        let without = PolicyConfig { min_workers: Some(1), ..default() };
        assert!(what(without.clone()).contains("without a capacity"));
        let none = PolicyConfig { min_workers: Some(0), capacity: vec![5.0], ..without };
        assert!(what(none).starts_with("min_workers is 0"));
    }

    #[test]
    fn what_is_left_out_of_a_file_is_the_default() {
        let config: PolicyConfig = serde_json::from_str(r#"{ "max_shards": 7 }"#).unwrap();
        assert_eq!(config, PolicyConfig { max_shards: 7, ..Default::default() });
        assert!(serde_json::from_str::<PolicyConfig>(r#"{ "max_shard": 7 }"#).is_err());
    }

    #[cfg(feature = "clap")]
    #[test]
    fn the_command_line_has_the_same_defaults() {
        use clap::{Args, FromArgMatches};
        let command = PolicyConfig::augment_args(clap::Command::new("test"));
        let parsed = |args: &[&str]| PolicyConfig::from_arg_matches(&command.clone().get_matches_from(args)).unwrap();
        assert_eq!(parsed(&["test"]), PolicyConfig::default());
        assert_eq!(parsed(&["test", "--move-cost", "0"]), PolicyConfig { move_cost: 0.0, ..Default::default() });
        assert_eq!(parsed(&["test", "--fold-share", "9"]), PolicyConfig { fold_share: 9.0, ..Default::default() });
    }
}
