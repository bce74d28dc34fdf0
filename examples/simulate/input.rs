//! What is simulated: a file, or a trace that is made up.

use anyhow::Result;
use clap::Args;

use crate::balance::{Generated, Kind, Spread, Trace};
use crate::fault::Skipped;
use crate::recorded::{RecordedArguments, above_0};

/// What is simulated.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Input")]
pub struct InputArguments {
    #[command(flatten)]
    pub recorded: RecordedArguments,

    /// Rates, and traces that are made up: keys over which records are spread.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, conflicts_with_all = ["key_columns", "series_column"],
          value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub keys: u32,

    /// Rates, and traces that are made up: the key of rank r has a share in proportion to 1 / r^EXPONENT.
    #[arg(long, value_name = "EXPONENT", allow_negative_numbers = true, default_value_t = 0.9,
          conflicts_with_all = ["key_columns", "series_column"])]
    pub zipf: f64,

    /// Rates, and traces that are made up: seed of hashes and chance.
    #[arg(long, default_value_t = 1, conflicts_with_all = ["key_columns", "series_column"])]
    pub seed: u64,

    /// How a trace that is made up changes.
    #[arg(long, value_enum, default_value_t = Kind::Cycle, conflicts_with = "input")]
    pub trace: Kind,

    /// Epochs of a trace that is made up.
    #[arg(long, value_name = "EPOCHS", default_value_t = 1_000, conflicts_with = "input",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: u64,

    /// Records in a mean epoch of a trace that is made up.
    #[arg(
        long,
        value_name = "RECORDS",
        allow_negative_numbers = true,
        default_value_t = 100_000.0,
        conflicts_with = "input"
    )]
    pub records: f64,

    /// Epochs after which a trace that is made up repeats itself, or shifts.
    #[arg(long, value_name = "EPOCHS", default_value_t = 48, conflicts_with = "input",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub period: u64,
}

impl InputArguments {
    /// How rates are spread over keys.
    fn spread(&self) -> Spread {
        Spread { keys: self.keys, zipf: self.zipf, seed: self.seed }
    }

    /// The trace to be made up.
    fn generated(&self) -> Generated {
        let InputArguments { trace, records, epochs, period, .. } = *self;
        Generated { kind: trace, spread: self.spread(), records, epochs, period }
    }

    /// Refuses what no trace can be made of, and says why.
    pub fn validate(&self) -> Result<(), String> {
        self.recorded.validate()?;
        above_0("--records", self.records)?;
        if !(0.0..=10.0).contains(&self.zipf) {
            return Err(format!("--zipf is {}: give a number from 0, where all keys are alike, to 10", self.zipf));
        }
        Ok(())
    }
}

/// Reads the trace, or makes it up; and what of the file had to be left out.
pub fn open(arguments: &InputArguments) -> Result<(Trace, Skipped)> {
    let recorded = arguments.recorded.read(arguments.spread())?;
    Ok(recorded.unwrap_or_else(|| (arguments.generated().trace(), Skipped::default())))
}
