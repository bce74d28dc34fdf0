use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::cost::CostModel;
use crate::error::Error;

/// When checkpoints are taken, and how many are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// When to take a checkpoint: `foresight` when one now is expected to cost less than any later one; `integral`
    /// when what failures are expected to have cost since the last one reaches the cost of one; `literal` when
    /// predicted arrival rate times estimated recovery time exceeds the threshold; `every:N` each N epochs.
    #[cfg_attr(feature = "clap", arg(
        long, value_name = "foresight|integral|literal|every:N",
        default_value_t = TriggerKind::Foresight
    ))]
    pub trigger: TriggerKind,
    /// For `foresight` and `integral`: what counts. `replay` is work done twice, `delay` the records that have to wait,
    /// `backlog` the records that have to wait times how long.
    #[cfg_attr(feature = "clap", arg(
        long, value_name = "replay|delay|backlog", default_value_t = CostModel::Delay
    ))]
    pub cost_model: CostModel,
    /// For `literal`: records that may be expected to arrive during a recovery before a checkpoint is taken.
    #[cfg_attr(feature = "clap", arg(
        long, value_name = "RECORDS", default_value_t = Self::CHECKPOINT_THRESHOLD
    ))]
    pub checkpoint_threshold: f64,
    /// For `foresight` and `integral`: seconds between failures of the whole computation, on average.
    #[cfg_attr(feature = "clap", arg(
        long, value_name = "SECONDS", default_value_t = Self::MEAN_TIME_BETWEEN_FAILURES
    ))]
    pub mean_time_between_failures: f64,
    /// Bytes of a worker's snapshots that may wait for the store: beyond them, data waits too.
    #[cfg_attr(feature = "clap", arg(
        long, value_name = "BYTES", default_value_t = Self::BACKLOG_BYTES
    ))]
    pub backlog_bytes: usize,
    /// Checkpoints to keep, at least 1. With 2, there is one to fall back to when the newest is damaged.
    #[cfg_attr(feature = "clap", arg(
        long = "keep-checkpoints", value_name = "COUNT", default_value_t = Self::KEEP
    ))]
    pub keep: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        CheckpointConfig {
            trigger: TriggerKind::Foresight,
            cost_model: CostModel::Delay,
            checkpoint_threshold: Self::CHECKPOINT_THRESHOLD,
            mean_time_between_failures: Self::MEAN_TIME_BETWEEN_FAILURES,
            backlog_bytes: Self::BACKLOG_BYTES,
            keep: Self::KEEP,
        }
    }
}

impl CheckpointConfig {
    /// A second's records of one worker: what is lost by a recovery that nobody notices.
    pub const CHECKPOINT_THRESHOLD: f64 = 1e6;

    /// A day: about what a handful of machines that are deployed to daily see.
    pub const MEAN_TIME_BETWEEN_FAILURES: f64 = 86_400.0;

    /// What a disk takes in a second, or a state of a million keys: little beside what a worker has.
    pub const BACKLOG_BYTES: usize = 64 << 20;

    /// One to resume from, and one to fall back to.
    pub const KEEP: usize = 2;

    /// Refuses values with which no checkpoint, or no other than the first, could be meant.
    pub fn validate(&self) -> Result<(), Error> {
        let positive = |name: &str, value: f64, unit: &str| {
            if value.is_finite() && value > 0.0 {
                return Ok(());
            }
            Err(Error::usage(format!("{name} is {value}: expected a finite number of {unit} above 0")))
        };
        positive("checkpoint_threshold", self.checkpoint_threshold, "records")?;
        positive("mean_time_between_failures", self.mean_time_between_failures, "seconds")?;
        if self.trigger == TriggerKind::Every(0) {
            return Err(Error::usage("the trigger is every:0: expected at least every:1"));
        }
        if self.backlog_bytes == 0 {
            return Err(Error::usage("backlog_bytes is 0: expected at least 1, some MiB rather"));
        }
        if self.keep == 0 {
            return Err(Error::usage("keep is 0: expected at least 1, or no store at all"));
        }
        Ok(())
    }
}

/// The rule by which checkpoints are taken. As text: `foresight`, `integral`, `literal` or `every:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TriggerKind {
    /// When a checkpoint now is expected to cost less than any later one.
    #[default]
    Foresight,
    /// When what failures are expected to have cost since the last checkpoint reaches the cost of one.
    Integral,
    /// When predicted arrival rate times estimated recovery time exceeds a threshold.
    Literal,
    /// Each so many epochs.
    Every(u64),
}

impl fmt::Display for TriggerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TriggerKind::Foresight => f.pad("foresight"),
            TriggerKind::Integral => f.pad("integral"),
            TriggerKind::Literal => f.pad("literal"),
            TriggerKind::Every(epochs) => f.pad(&format!("every:{epochs}")),
        }
    }
}

impl FromStr for TriggerKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let every = || text.strip_prefix("every:")?.parse().ok().filter(|epochs| *epochs > 0);
        match text {
            "foresight" => Ok(TriggerKind::Foresight),
            "integral" => Ok(TriggerKind::Integral),
            "literal" => Ok(TriggerKind::Literal),
            _ => every().map(TriggerKind::Every).ok_or_else(|| {
                Error::usage(format!(
                    "no checkpoint trigger is called {text:?}: expected `foresight`, `integral`, `literal`, or \
                     `every:N` with a number of epochs of at least 1"
                ))
            }),
        }
    }
}

impl TryFrom<String> for TriggerKind {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<TriggerKind> for String {
    fn from(trigger: TriggerKind) -> Self {
        trigger.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_read_as_they_are_printed() {
        for trigger in [TriggerKind::Foresight, TriggerKind::Integral, TriggerKind::Literal, TriggerKind::Every(7)] {
            assert_eq!(trigger.to_string().parse::<TriggerKind>().unwrap(), trigger);
            let json = serde_json::to_string(&trigger).unwrap();
            assert_eq!(serde_json::from_str::<TriggerKind>(&json).unwrap(), trigger);
        }
        for text in ["", "every", "every:", "every:0", "every:-1", "every:x", "Integral"] {
            let error = text.parse::<TriggerKind>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}: expected")), "{error}");
        }
    }

    #[test]
    fn what_a_file_leaves_out_has_its_default_and_what_it_misspells_is_an_error() {
        let config: CheckpointConfig = serde_json::from_str(r#"{"trigger": "every:5"}"#).unwrap();
        assert_eq!(config, CheckpointConfig { trigger: TriggerKind::Every(5), ..Default::default() });
        config.validate().unwrap();
        serde_json::from_str::<CheckpointConfig>(r#"{"triger": "every:5"}"#).unwrap_err();
        serde_json::from_str::<CheckpointConfig>(r#"{"trigger": "every:0"}"#).unwrap_err();
    }

    #[test]
    fn values_that_mean_nothing_are_refused_by_name() {
        let ok = CheckpointConfig::default();
        for (config, name) in [
            (CheckpointConfig { checkpoint_threshold: f64::NAN, ..ok.clone() }, "checkpoint_threshold is NaN"),
            (CheckpointConfig { mean_time_between_failures: 0.0, ..ok.clone() }, "mean_time_between_failures is 0"),
            (CheckpointConfig { trigger: TriggerKind::Every(0), ..ok.clone() }, "every:0"),
            (CheckpointConfig { backlog_bytes: 0, ..ok.clone() }, "backlog_bytes is 0"),
            (CheckpointConfig { keep: 0, ..ok }, "keep is 0"),
        ] {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[cfg(feature = "clap")]
    #[test]
    fn arguments_have_the_same_defaults() {
        use clap::Parser;
        #[derive(Parser)]
        struct Arguments {
            #[command(flatten)]
            config: CheckpointConfig,
        }
        let parse = |arguments: &[&str]| Arguments::try_parse_from(arguments).map(|a| a.config);
        assert_eq!(parse(&["x"]).unwrap(), CheckpointConfig::default());
        let config = parse(&["x", "--trigger", "every:3", "--keep-checkpoints", "5"]).unwrap();
        assert_eq!((config.trigger, config.keep), (TriggerKind::Every(3), 5));
        assert!(parse(&["x", "--trigger", "never"]).unwrap_err().to_string().contains("every:N"));
    }
}
