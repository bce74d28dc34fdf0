//! The command line.

use std::fs;
use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{Args, ValueEnum};
use thalweg::Config;

use crate::balance::{Generated, Kind, Setup, Spread};
use crate::epoch::{Epochs, Span, TimeUnit};

const EXAMPLES: &str = "\
Examples:
  Recorded events, on eight workers:
    simulate balance --input winlogs.csv.zst --time-column ts_us --time-unit us \\
             --key-columns host,channel,event_id,process --epoch-records 16384

  A rate spread over 10,000 keys on a hundred workers, and 414 series as keys:
    simulate balance --input taxi.csv --time-column ts_s --value-column count --keys 10000 --workers 100
    simulate balance --input m4_hourly.csv --time-column hour --value-column value --series-column series";

/// Shows how policies would have balanced a trace: the busiest worker's load over the mean, and what that took.
///
/// The very code that runs in a dataflow decides, on the counts that a dataflow would have shown it, and its commands
/// take effect as many epochs later. It is compared with the assignment that never changes (static), and with packing
/// whole keys anew for each epoch, longest processing time first, knowing the counts of the epoch before (lag-1) or of
/// the epoch itself (oracle). A cost of moving is not in these loads: see the bytes moved.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct BalanceArguments {
    #[command(flatten)]
    pub input: InputArguments,

    /// Workers.
    #[arg(long, short = 'w', default_value_t = 8, value_parser = count(1, 100_000), help_heading = "Workers")]
    pub workers: usize,

    /// What decides, separated by commas.
    #[arg(long, value_enum, value_name = "POLICY,…", value_delimiter = ',', default_values_t = Choice::all(),
          help_heading = "Adaptivity")]
    pub policy: Vec<Choice>,

    #[command(flatten, next_help_heading = "Adaptivity")]
    pub config: Config,

    /// Never fold hot keys, as in a dataflow that has no merge for them.
    #[arg(long, help_heading = "Adaptivity")]
    pub no_fold: bool,

    /// State of a key that has had a record, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 64, help_heading = "Adaptivity")]
    pub bytes_per_key: u64,

    /// The busiest worker's load over the mean, above which an epoch is counted as over target.
    #[arg(long, value_name = "MAX/MEAN", default_value_t = 1.1, help_heading = "Output")]
    pub target: f64,

    /// Epochs at the start that are left out of all figures.
    #[arg(long, value_name = "EPOCHS", default_value_t = 0, help_heading = "Output")]
    pub warm_up: u64,

    /// Write a JSON object per epoch and policy to this file, one a line.
    #[arg(long, value_name = "FILE.jsonl", help_heading = "Output")]
    pub events: Option<PathBuf>,
}

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
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, requires = "value_column")]
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
    #[arg(long, value_name = "EXPONENT", default_value_t = 0.9, conflicts_with_all = ["key_columns", "series_column"])]
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
    #[arg(long, value_name = "RECORDS", default_value_t = 100_000.0, conflicts_with = "input")]
    pub records: f64,

    /// Epochs after which a trace that is made up repeats itself, or shifts.
    #[arg(long, value_name = "EPOCHS", default_value_t = 48, conflicts_with = "input",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub period: u64,
}

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// Nothing does.
    Static,
    /// What the last epochs were like.
    Reactive,
    /// What the next epochs will be like, as far as that can be foreseen.
    Proactive,
    /// Keys are packed by their counts in the epoch before.
    #[value(name = "lag-1")]
    Lag1,
    /// Keys are packed by their counts in the epoch itself.
    Oracle,
}

impl Choice {
    fn all() -> Vec<Choice> {
        Choice::value_variants().to_vec()
    }

    /// As on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }
}

fn count(least: u64, most: u64) -> impl TypedValueParser<Value = usize> {
    clap::value_parser!(u64).range(least..=most).map(|number| number as usize)
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

    fn validate(&self) -> Result<(), String> {
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

impl BalanceArguments {
    /// Refuses what no run can be made of, and says why.
    pub fn validate(&self) -> Result<(), String> {
        self.input.validate()?;
        self.config.validate().map_err(|error| error.to_string())?;
        self.config.policy.validate_for(self.workers).map_err(|error| error.to_string())?;
        self.config.initial(self.workers).map_err(|error| error.to_string())?;
        let mut policies = self.policy.iter();
        while let Some(policy) = policies.next() {
            if policies.as_slice().contains(policy) {
                return Err(format!("--policy names {} twice: once is enough", policy.name()));
            }
        }
        if !(self.target >= 1.0 && self.target.is_finite()) {
            return Err(format!("--target is {}: give a number from 1, which only perfect balance meets", self.target));
        }
        let Some(events) = &self.events else { return Ok(()) };
        let name = events.display();
        if events.is_dir() {
            return Err(format!("--events {name} is a directory: name a file in it"));
        }
        match events.parent() {
            Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
                return Err(format!("--events {name}: there is no directory {}", parent.display()));
            }
            _ => {}
        }
        let same =
            |input: &PathBuf| matches!((fs::canonicalize(input), fs::canonicalize(events)), (Ok(a), Ok(b)) if a == b);
        match self.input.input.as_ref().is_some_and(same) {
            true => Err(format!("--events {name} is the input, which it would overwrite")),
            false => Ok(()),
        }
    }

    /// What the simulation is to be like.
    pub fn setup(&self) -> Setup {
        Setup {
            workers: self.workers,
            config: self.config.clone(),
            can_fold: !self.no_fold,
            bytes_per_key: self.bytes_per_key,
            warm_up: self.warm_up,
        }
    }
}
