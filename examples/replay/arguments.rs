//! The command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser};
use thalweg::Config;
use thalweg::checkpoint::CheckpointConfig;
use thalweg::sink::When;

use crate::cluster::ClusterArguments;
use crate::epoch::{Epochs, Span, TimeUnit};

const EXAMPLES: &str = "\
Examples:
  The built-in stream, on eight workers, with results checked against a plain timely program:
    replay --verify

  A file, with its key in four columns, checkpoints, and a line per epoch to look at afterwards:
    replay --input winlogs.csv.zst --time-column ts_us --time-unit us \\
           --key-columns host,channel,event_id,process --epoch-records 16384 \\
           --checkpoint state --results results.csv --events events.jsonl
  and the same again with --resume, after it was stopped or has crashed.";

/// Replays timestamped keyed events through an adaptive keyed dataflow, and shows what adaptivity bought.
///
/// Per key it keeps the count, mean and standard deviation of a value, and per epoch totals. Without --input
/// it replays a built-in stream: a daily cycle, with hot keys that drift.
#[derive(Clone, Debug, Parser)]
#[command(name = "replay", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    pub input: InputArguments,

    #[command(flatten)]
    pub cluster: ClusterArguments,

    /// What decides on commands: `static` (nothing ever moves), `reactive` (what was), `proactive` (what will be, as
    /// far as it can be foreseen), `scripted:FILE` with commands by epoch, or for tests `restless:SEED` (without
    /// reason).
    #[arg(long, default_value = "proactive", value_name = "POLICY", help_heading = "Adaptivity")]
    pub policy: PolicyChoice,

    #[command(flatten, next_help_heading = "Adaptivity")]
    pub config: Config,

    #[command(flatten, next_help_heading = "Checkpoints")]
    pub checkpoints: CheckpointConfig,

    /// Take checkpoints into this directory, which is made if it isn't there.
    #[arg(long, value_name = "DIR", help_heading = "Checkpoints")]
    pub checkpoint: Option<PathBuf>,

    /// Go on from the newest whole checkpoint in the directory; from the start if there is none.
    #[arg(long, requires = "checkpoint", help_heading = "Checkpoints")]
    pub resume: bool,

    /// Write the final count, mean and deviation per key to this CSV file, sorted by key.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub results: Option<PathBuf>,

    #[command(flatten)]
    pub sink: SinkArguments,

    /// Write a JSON object per epoch and per checkpoint to this file, one a line.
    #[arg(long, value_name = "FILE.jsonl", help_heading = "Output")]
    pub events: Option<PathBuf>,

    /// Run a plain static timely program besides, and compare the outputs of every epoch.
    #[arg(long, help_heading = "Output")]
    pub verify: bool,
}

/// Where what comes out of each epoch goes, exactly once through any crash.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct SinkArguments {
    /// Write, per epoch, the count, mean and deviation so far of each key it has seen to CSV files in this directory.
    /// The files' bytes are the same whatever moves, and whatever crashes.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// When a file becomes visible: with its last `epoch`, or with a `checkpoint` after it.
    #[arg(long, value_name = "epoch|checkpoint", default_value_t, requires = "output")]
    pub output_when: When,

    /// Epochs in a file.
    #[arg(long, value_name = "EPOCHS", default_value_t = 1, requires = "output",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub output_epochs: u64,
}

/// What is replayed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Input")]
pub struct InputArguments {
    /// CSV file with a header, in time order, plain or compressed by zstd.
    #[arg(long, value_name = "FILE", requires = "time_column", requires = "key_columns")]
    pub input: Option<PathBuf>,

    /// Column with the time of an event: a whole or decimal number, counted from anywhere.
    #[arg(long, value_name = "COLUMN", requires = "input")]
    pub time_column: Option<String>,

    /// What the time column counts.
    #[arg(long, value_name = "UNIT", default_value = "us", requires = "input")]
    pub time_unit: TimeUnit,

    /// Columns that together are the key, separated by commas.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', requires = "input")]
    pub key_columns: Vec<String>,

    /// Column with the value: a number from -1e9 to 1e9 with at most 6 decimals. [default: every value is 1]
    #[arg(long, value_name = "COLUMN", requires = "input")]
    pub value_column: Option<String>,

    /// Count and skip rows that are malformed or out of order, rather than stop at the first.
    #[arg(long, requires = "input")]
    pub lenient: bool,

    /// Length of an epoch in event time: a number with ms, s, m, h or d. [default: 1h]
    #[arg(long, value_name = "TIME", conflicts_with = "epoch_records")]
    pub epoch: Option<Span>,

    /// Make an epoch of every so many records instead.
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub epoch_records: Option<u64>,

    /// Replay at most so many records per second and process. [default: as fast as it goes]
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,

    /// Seed of the built-in stream.
    #[arg(long, default_value_t = 1, conflicts_with = "input")]
    pub seed: u64,

    /// Records of the built-in stream.
    #[arg(long, default_value_t = 2_000_000, conflicts_with = "input")]
    pub records: u64,

    /// Keys of the built-in stream.
    #[arg(long, default_value_t = 10_000, conflicts_with = "input",
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub keys: u32,
}

/// What decides on commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyChoice {
    /// Nothing does.
    Static,
    /// What the last epochs were like.
    Reactive,
    /// What the next epochs will be like.
    Proactive,
    /// Nothing but chance, which is the same for the same seed.
    Restless(u64),
    /// A file with commands by epoch.
    Scripted(PathBuf),
}

impl FromStr for PolicyChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("scripted:")) {
            ("static", _) => Ok(PolicyChoice::Static),
            ("reactive", _) => Ok(PolicyChoice::Reactive),
            ("proactive", _) => Ok(PolicyChoice::Proactive),
            (_, Some(file)) if !file.is_empty() => Ok(PolicyChoice::Scripted(file.into())),
            _ => match text.strip_prefix("restless:").and_then(|seed| seed.parse().ok()) {
                Some(seed) => Ok(PolicyChoice::Restless(seed)),
                None => Err("expected static, reactive, proactive or scripted:FILE".into()),
            },
        }
    }
}

impl InputArguments {
    /// How the stream is cut into epochs.
    pub fn epochs(&self) -> Epochs {
        match self.epoch_records {
            Some(records) => Epochs::Records(records),
            None => Epochs::Span(self.epoch.unwrap_or(Span::HOUR)),
        }
    }

    /// What must be the same when a run is resumed, by name. The file may have moved to another directory.
    pub fn fingerprint(&self) -> Vec<(String, String)> {
        let mut pairs = vec![("epoch", self.epochs().to_string())];
        match &self.input {
            Some(path) => pairs.extend([
                ("input", path.file_name().unwrap_or_default().to_string_lossy().into_owned()),
                ("time-column", self.time_column.clone().unwrap_or_default()),
                ("time-unit", self.time_unit.to_string()),
                ("key-columns", self.key_columns.join(",")),
                ("value-column", self.value_column.clone().unwrap_or_default()),
                ("lenient", self.lenient.to_string()),
            ]),
            None => pairs.extend([
                ("input", "built-in".into()),
                ("seed", self.seed.to_string()),
                ("records", self.records.to_string()),
                ("keys", self.keys.to_string()),
            ]),
        }
        pairs.into_iter().map(|(name, value)| (name.into(), value)).collect()
    }

    fn validate(&self) -> Result<(), String> {
        let columns = [&self.time_column, &self.value_column];
        if columns.into_iter().flatten().chain(&self.key_columns).any(|column| column.trim().is_empty()) {
            return Err("a column's name is empty: --key-columns takes names separated by single commas".into());
        }
        let mut keys = self.key_columns.clone();
        keys.sort();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("--key-columns names {:?} twice: once is enough", pair[0])),
            None => Ok(()),
        }
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
        self.input.validate()?;
        self.cluster.validate()?;
        let written = [("--results", &self.results), ("--events", &self.events)];
        for (flag, path) in written.iter().filter_map(|(flag, path)| Some((flag, path.as_ref()?))) {
            writable(flag, path)?;
            let same = |other: &Option<PathBuf>| other.as_ref().is_some_and(|other| same_file(path, other));
            if same(&self.input.input) {
                return Err(format!("{flag} {} is the input, which it would overwrite", path.display()));
            }
        }
        match (&self.results, &self.events) {
            (Some(results), Some(events)) if same_file(results, events) => {
                return Err("--results and --events name the same file".into());
            }
            _ => {}
        }
        match &self.policy {
            PolicyChoice::Scripted(path) if !path.is_file() => {
                return Err(format!("--policy scripted:{0}: there is no file {0}", path.display()));
            }
            _ => {}
        }
        match &self.sink.output {
            Some(path) if path.exists() && !path.is_dir() => {
                return Err(format!("--output {} is not a directory", path.display()));
            }
            Some(_) if self.sink.output_when == When::Checkpointed && self.checkpoint.is_none() => {
                return Err("--output-when checkpoint needs --checkpoint DIR: nothing else makes files visible".into());
            }
            _ => {}
        }
        match &self.checkpoint {
            Some(path) if path.exists() && !path.is_dir() => {
                Err(format!("--checkpoint {} is not a directory", path.display()))
            }
            _ => Ok(()),
        }
    }
}

fn writable(flag: &str, path: &Path) -> Result<(), String> {
    if path.is_dir() {
        return Err(format!("{flag} {} is a directory: name a file in it", path.display()));
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            Err(format!("{flag} {}: there is no directory {}", path.display(), parent.display()))
        }
        _ => Ok(()),
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}
