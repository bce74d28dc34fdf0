//! What is simulated of a file: events or rates.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::balance::{Spread, Trace};
use crate::epoch::{Epochs, Span, TimeUnit};
use crate::fault::Skipped;
use crate::{events, rates};

/// A file, and what is in it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Input")]
pub struct RecordedArguments {
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

    /// Rates: column that tells series apart, each of which is a key. [default: one series, spread over many keys]
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
}

impl RecordedArguments {
    /// How events are cut into epochs.
    pub fn epochs(&self) -> Epochs {
        match self.epoch_records {
            Some(records) => Epochs::Records(records),
            None => Epochs::Span(self.epoch.unwrap_or(Span::HOUR)),
        }
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
        above_0("--scale", self.scale)
    }

    /// Reads the trace, if there is a file, and tells what of it had to be left out. A single series of rates is spread
    /// over keys.
    pub fn read(&self, spread: Spread) -> Result<Option<(Trace, Skipped)>> {
        let Some(path) = &self.input else { return Ok(None) };
        match self.value_column {
            Some(_) => Ok(Some((rates::read(path, self, spread)?, Skipped::default()))),
            None => events::read(path, self).map(Some),
        }
    }
}

/// Refuses a number that isn't above 0.
pub fn above_0(flag: &str, value: f64) -> Result<(), String> {
    match value > 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err(format!("{flag} is {value}: give a number above 0")),
    }
}
