//! The command line.

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail};
use clap::Parser;

use crate::series::Input;

const EXAMPLES: &str = "\
Examples:
  The next two days of 414 hourly series:
    forecast --input m4_hourly.csv.zst --time-column hour --value-column value \\
             --series-column series --horizon 48 --output forecasts.csv

  How good that would have been, from four earlier origins:
    forecast --input m4_hourly.csv.zst --time-column hour --value-column value \\
             --series-column series --horizon 48 --season 24 --backtest --origins 4 --every 24";

/// Forecasts the series in a CSV file, with 95 % intervals, or tells how good such forecasts would have been.
///
/// Per series all models of the library are run side by side, and each is trusted as far as it has been right.
#[derive(Clone, Debug, Parser)]
#[command(name = "forecast", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Arguments {
    /// What to read.
    #[command(flatten)]
    pub input: Input,

    /// How many steps to forecast.
    #[arg(long, value_name = "STEPS", default_value = "48")]
    pub horizon: NonZeroUsize,

    /// Steps after which a series repeats itself; `auto` finds that out per series.
    #[arg(long, value_name = "STEPS|auto", default_value = "auto")]
    pub season: Season,

    /// Write the forecasts to this CSV file: series, step, mean, low, high. Low and high are empty where they aren't
    /// known.
    #[arg(long, value_name = "FILE", required_unless_present = "backtest")]
    pub output: Option<PathBuf>,

    /// Hold out the last STEPS values of each series, forecast them, and print measures of how good that was.
    #[arg(long)]
    pub backtest: bool,

    /// Do so from so many origins.
    #[arg(long, value_name = "COUNT", default_value = "1", requires = "backtest")]
    pub origins: NonZeroUsize,

    /// Origins are so many steps apart. [default: one more than the horizon, so that they differ in their phase]
    #[arg(long, value_name = "STEPS", requires = "backtest")]
    pub every: Option<NonZeroUsize>,
}

impl Arguments {
    /// Refuses what no run can be made of, and says why.
    pub fn validate(&self) -> Result<()> {
        let Some(output) = &self.output else { return Ok(()) };
        let name = output.display();
        if output.is_dir() {
            bail!("--output {name} is a directory: name a file in it");
        }
        match output.parent() {
            Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
                bail!("--output {name}: there is no directory {}", parent.display());
            }
            _ => {}
        }
        match (fs::canonicalize(output), fs::canonicalize(&self.input.input)) {
            (Ok(output), Ok(input)) if output == input => {
                bail!("--output {name} is the input, which it would overwrite")
            }
            _ => Ok(()),
        }
    }
}

/// After how many steps a series repeats itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Season {
    Auto,
    Known(usize),
}

impl Season {
    pub fn known(self) -> Option<usize> {
        match self {
            Season::Auto => None,
            Season::Known(period) => Some(period),
        }
    }
}

/// No period is longer: the models remember a few.
const LONGEST: usize = 4_096;

impl FromStr for Season {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Season::Auto),
            (_, Ok(period)) if (1..=LONGEST).contains(&period) => Ok(Season::Known(period)),
            _ => Err(format!("expected auto, or a number of steps from 1 (none) to {LONGEST}")),
        }
    }
}
