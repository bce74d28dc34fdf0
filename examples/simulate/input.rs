//! What is simulated: a file of events or of rates, or a trace that is made up.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::balance::{Generated, Kind, Spread, Trace};
use crate::epoch::{Epochs, Span, TimeUnit};
use crate::fault::Skipped;
use crate::{events, rates};

/// What is simulated.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Input")]
pub struct InputArguments {
    /// CSV file with a header, in time order, plain or compressed by zstd: events, with --key-columns, or rates, with
    /// --value-column. [default: a trace is made up]
    #[arg(long, value_name = "FILE", requires = "time_column")]
    pub input: Option<PathBuf>,

    /// Column with the time of an event or a value.
    #[arg(long, value_name = "COLUMN", requires = "input")]
    pub time_column: Option<String>,

    /// Events: what the time column counts.
    #[arg(long, value_name = "UNIT", default_value = "us", requires = "key_columns")]
    pub time_unit: TimeUnit,

    /// Events: columns that together are the key, separated by commas.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', requires = "input", conflicts_with = "value_column")]
    pub key_columns: Vec<String>,

    /// Rates: column with the number of records of an epoch.
    #[arg(long, value_name = "COLUMN", requires = "input")]
    pub value_column: Option<String>,

    /// Rates: column that tells series apart, each of which is a key. [default: one series, spread over --keys]
    #[arg(long, value_name = "COLUMN", requires = "value_column")]
    pub series_column: Option<String>,

    /// Rates: records for each unit of the value.
    #[arg(
        long,
        value_name = "FACTOR",
        allow_negative_numbers = true,
        default_value_t = 1.0,
        requires = "value_column"
    )]
    pub scale: f64,

    /// Events: count and skip rows that are malformed or out of order, rather than stop at the first.
    #[arg(long, requires = "key_columns")]
    pub lenient: bool,

    /// Events: length of an epoch in event time: a number with ms, s, m, h or d. [default: 1h]
    #[arg(long, value_name = "TIME", conflicts_with = "epoch_records", requires = "key_columns")]
    pub epoch: Option<Span>,

    /// Events: make an epoch of every so many records instead.
    #[arg(long, value_name = "RECORDS", requires = "key_columns", value_parser = clap::value_parser!(u64).range(1..))]
    pub epoch_records: Option<u64>,

    /// Rates, and traces that are made up: keys over which records are spread.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, conflicts_with_all = ["key_columns", "series_column"],
          value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub keys: u32,

    /// The same: the key of rank r has a share in proportion to 1 / r^EXPONENT.
    #[arg(long, value_name = "EXPONENT", allow_negative_numbers = true, default_value_t = 0.9, conflicts_with_all = ["key_columns", "series_column"])]
    pub zipf: f64,

    /// The same: seed of hashes and chance.
    #[arg(long, default_value_t = 1, conflicts_with_all = ["key_columns", "series_column"])]
    pub seed: u64,

    /// How a trace that is made up changes.
    #[arg(long, value_enum, default_value_t = Kind::Cycle, conflicts_with = "input")]
    pub trace: Kind,

    /// Epochs of a trace that is made up.
    #[arg(long, value_name = "EPOCHS", default_value_t = 1_000, conflicts_with = "input")]
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
    /// How events are cut into epochs.
    pub fn epochs(&self) -> Epochs {
        match self.epoch_records {
            Some(records) => Epochs::Records(records),
            None => Epochs::Span(self.epoch.unwrap_or(Span::HOUR)),
        }
    }

    /// How rates are spread over keys.
    pub fn spread(&self) -> Spread {
        Spread { keys: self.keys, zipf: self.zipf, seed: self.seed }
    }

    /// The trace to be made up.
    pub fn generated(&self) -> Generated {
        let InputArguments { trace, records, epochs, period, .. } = *self;
        Generated { kind: trace, spread: self.spread(), records, epochs, period }
    }

    /// Refuses what no trace can be made of, and says why.
    pub fn validate(&self) -> Result<(), String> {
        let columns = [&self.time_column, &self.value_column, &self.series_column];
        if columns.into_iter().flatten().chain(&self.key_columns).any(|column| column.trim().is_empty()) {
            return Err("a column's name is empty: --key-columns takes names separated by single commas".into());
        }
        if self.input.is_some() && self.value_column.is_none() && self.key_columns.is_empty() {
            return Err("say what is in the input: --key-columns for events, or --value-column for rates".into());
        }
        for (flag, value) in [("--scale", self.scale), ("--records", self.records)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(format!("{flag} is {value}: give a number above 0"));
            }
        }
        if !(0.0..=10.0).contains(&self.zipf) {
            return Err(format!("--zipf is {}: give a number from 0, where all keys are alike, to 10", self.zipf));
        }
        Ok(())
    }
}

/// Reads the trace, or makes it up; and what of the file had to be left out.
pub fn open(arguments: &InputArguments) -> Result<(Trace, Skipped)> {
    match &arguments.input {
        None => Ok((arguments.generated().trace(), Skipped::default())),
        Some(path) if arguments.value_column.is_some() => Ok((rates::read(path, arguments)?, Skipped::default())),
        Some(path) => events::read(path, arguments),
    }
}
