//! The command line.

use std::fmt;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use thalweg::Config;

use crate::migrate::moves;

const EXAMPLES: &str = "\
Examples:
  Hot items, checked against the plain twin:
    nexmark --query 5 --rate 100000 --duration 20 --workers 2 --verify

  What a migration costs, one shard at a time, with a line of JSON per 250 ms to draw:
    nexmark --query 4 --workers 4 --migrate fluid --results q4.jsonl";

/// Runs a NEXMark query over Thalweg's operators and as a plain timely program, and compares their latencies.
///
/// Both get the same events at the times at which they are due, whether or not the output keeps up. The latency
/// of a millisecond of events is the time from when it was due to when all output for it was there.
#[derive(Clone, Debug, Parser)]
#[command(name = "nexmark", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Arguments {
    /// The query, 1 to 8: 1 currency conversion, 2 selection, 3 local item suggestion, 4 average price of a
    /// category, 5 hot items, 6 average price of a seller, 7 highest bid, 8 new users who sell.
    #[arg(long, short, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub query: u8,

    /// Worker threads.
    #[arg(long, short, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: u16,

    /// Compare the outputs of the two as well; it is an error if they are not the same.
    #[arg(long)]
    pub verify: bool,

    /// Write a JSON object to this file for each 250 ms of either program, one a line.
    #[arg(long, value_name = "FILE.jsonl")]
    pub results: Option<PathBuf>,

    /// Events per second, of all workers together.
    #[arg(long, value_name = "EVENTS", default_value_t = 100_000, help_heading = "Events",
          value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub rate: u64,

    /// Seconds of events.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, help_heading = "Events",
          value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub duration: u64,

    /// Seed of the events.
    #[arg(long, default_value_t = 1, help_heading = "Events")]
    pub seed: u64,

    /// Events after which another auction, seller and bidder are hot.
    #[arg(long, value_name = "EVENTS", default_value_t = 100_000, help_heading = "Events",
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub hot_dwell: u64,

    /// What moves: a quarter of the shards, from one half of the workers to the other after a third of the run, and
    /// back after two thirds.
    #[arg(long, value_name = "HOW", default_value = "none", help_heading = "Adaptivity")]
    pub migrate: Migrate,

    /// What decides on commands besides.
    #[arg(long, value_name = "POLICY", default_value = "static", help_heading = "Adaptivity")]
    pub policy: PolicyChoice,

    /// Length of an epoch, the unit of decision, in milliseconds of event time.
    #[arg(long, value_name = "MS", default_value_t = 100, help_heading = "Adaptivity",
          value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub epoch: u64,

    #[command(flatten, next_help_heading = "Adaptivity")]
    pub config: Config,
}

/// How many shards move at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Migrate {
    /// Nothing moves by plan.
    None,
    /// All at one boundary.
    AllAtOnce,
    /// Four at a boundary.
    Batched,
    /// One at a boundary.
    Fluid,
}

/// What decides on commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PolicyChoice {
    /// Nothing does.
    Static,
    /// What the last epochs were like.
    Reactive,
    /// What the next epochs will be like.
    Proactive,
}

impl fmt::Display for Migrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Migrate::None => "none",
            Migrate::AllAtOnce => "all-at-once",
            Migrate::Batched => "batched",
            Migrate::Fluid => "fluid",
        })
    }
}

impl fmt::Display for PolicyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PolicyChoice::Static => "static",
            PolicyChoice::Reactive => "reactive",
            PolicyChoice::Proactive => "proactive",
        })
    }
}

impl Arguments {
    /// Reads the command line; what makes no sense ends the program with a message and exit code 2.
    pub fn read() -> Self {
        let arguments = Arguments::parse();
        if let Err(what) = arguments.validate() {
            Arguments::command().error(ErrorKind::ValueValidation, what).exit();
        }
        arguments
    }

    /// Refuses what no run can be made of, and says why.
    pub fn validate(&self) -> Result<(), String> {
        self.config.validate().map_err(|error| error.to_string())?;
        moves(self)?;
        if let Some(path) = &self.results {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            if path.is_dir() {
                return Err(format!("--results {} is a directory: name a file in it", path.display()));
            }
            if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
                return Err(format!("--results {}: there is no directory {}", path.display(), parent.display()));
            }
        }
        Ok(())
    }

    /// The milliseconds of events.
    pub fn ticks(&self) -> u64 {
        self.duration * 1000
    }
}
