//! The command line.

use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, ValueEnum};
use thalweg::Config;

use crate::balance::Setup;
use crate::input::InputArguments;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  Recorded events, on eight workers:
    simulate balance --input winlogs.csv.zst --time-column ts_us --time-unit us \\
             --key-columns host,channel,event_id,process --epoch-records 16384

  A rate spread over 10,000 keys on a hundred workers, and 414 series as keys:
    simulate balance --input taxi.csv --time-column ts_s --value-column count --keys 10000 --workers 100 \\
             --shards 800
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
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u64).range(..=MOST_BYTES),
          help_heading = "Adaptivity")]
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

/// With these for each of as many keys as there can be, all bytes can still be counted.
const MOST_BYTES: u64 = u32::MAX as u64;

impl BalanceArguments {
    /// Where it isn't said how many shards there may be, there may be as many as at the start.
    pub fn complete(&mut self, matches: &ArgMatches) {
        if matches.value_source("max_shards") != Some(ValueSource::CommandLine) {
            let most = &mut self.config.policy.max_shards;
            *most = self.config.shards.max(*most);
        }
    }

    /// Refuses what no run can be made of, and says why.
    pub fn validate(&self) -> Result<(), String> {
        self.input.validate()?;
        self.setup().validate()?;
        let mut policies = self.policy.iter();
        while let Some(policy) = policies.next() {
            if policies.as_slice().contains(policy) {
                return Err(format!("--policy names {} twice: once is enough", policy.name()));
            }
        }
        if !(self.target >= 1.0 && self.target.is_finite()) {
            return Err(format!("--target is {}: give a number from 1, which only perfect balance meets", self.target));
        }
        output::validate(self.events.as_deref(), self.input.recorded.input.as_deref())
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
