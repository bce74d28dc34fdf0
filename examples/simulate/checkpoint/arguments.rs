use std::path::PathBuf;

use clap::Args;

use super::setting::{Setting, positive};
use crate::series::Input;

const EXAMPLES: &str = "\
Examples:
  simulate checkpoint --input nab_nyc_taxi.csv --time-column ts_s --value-column count

  Checkpoints twice as far apart, decided two epochs ahead, with lines to plot:
    simulate checkpoint --input nab_nyc_taxi.csv --time-column ts_s --value-column count \\
             --interval 60 --lead 2 --events taxi.jsonl";

/// Shows what checkpoints and failures would have cost on a trace of arrivals, by each trigger.
///
/// The very code that runs in a dataflow decides. Costs are expected ones, under three models, and relative to those of
/// the best fixed interval in hindsight.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckpointArguments {
    /// What to read: values are the records that arrive in an epoch.
    #[command(flatten)]
    pub input: Input,

    /// Seconds of an epoch. [default: the step of the time column, taken for seconds]
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub epoch_seconds: Option<f64>,

    /// What is paid for.
    #[command(flatten)]
    pub setting: Setting,

    /// Write a line of JSON per epoch, cost model and trigger to this file.
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
}
