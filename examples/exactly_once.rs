//! Counts events per key and hour, from CSV files to CSV files, exactly once: kill it whenever you like, and start it
//! again with `--resume`, on another number of workers too.
//!
//! ```text
//! cargo run --release --example exactly_once -- monday.csv tuesday.csv --state state --output counts -w 2
//! ```
//!
//! The files have a header and the columns `time`, in seconds, and `key`. Each is read by one worker. A row of the
//! output is an hour, a key, its events in that hour, and its events so far.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Parser;
use serde::{Deserialize, Serialize};
use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Directory, Fingerprint};
use thalweg::keyed::Fault;
use thalweg::sink::{EpochFiles, When};
use thalweg::source::{CsvFiles, Epoching};
use thalweg::{Config, Error, Loop, Rebalance, stable_hash};
use timely::worker::Worker;

/// Seconds in an epoch.
const HOUR: u64 = 3600;

/// How long a worker sleeps at most, if nothing wakes it, before it looks whether another one has failed.
const NAP: Duration = Duration::from_millis(100);

/// Counts events per key and hour, from CSV files to CSV files, exactly once.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// CSV files with the columns `time` (in seconds) and `key`, each in order of time.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Where checkpoints are kept.
    #[arg(long)]
    state: PathBuf,
    /// Where the counts are written.
    #[arg(long)]
    output: PathBuf,
    /// When they become visible: with the `epoch`, or with a `checkpoint` after it.
    #[arg(long, default_value_t)]
    visible: When,
    /// Go on with an earlier run.
    #[arg(long)]
    resume: bool,
    /// Worker threads.
    #[arg(long, short = 'w', default_value_t = 2)]
    workers: usize,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    checkpoints: CheckpointConfig,
}

#[derive(Clone, Serialize, Deserialize)]
struct Event {
    time: u64,
    key: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let store = Arc::new(Directory::open(&arguments.state)?);
    let fingerprint = Fingerprint::default().with("counts", "events per key and hour");
    let open = if arguments.resume { Checkpoints::resume } else { Checkpoints::begin };
    let checkpoints = open(store, fingerprint, arguments.checkpoints.clone())?;
    let failed = AtomicBool::new(false);
    let guards = timely::execute(timely::Config::process(arguments.workers), move |worker| {
        let counted = build(worker, &arguments, &checkpoints).and_then(|fault| run(worker, &fault, &failed));
        if counted.is_err() {
            failed.store(true, Ordering::Relaxed);
        }
        // What is still installed would be waited for.
        worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
        counted
    });
    let ends: Vec<_> = guards.map_err(|what| anyhow!(what))?.join();
    ends.into_iter().try_for_each(|end| end.map_err(|panic| anyhow!("a worker has panicked: {panic}"))?)
}

fn build(worker: &mut Worker, arguments: &Arguments, checkpoints: &Checkpoints) -> Result<Fault> {
    let fault = Fault::new();
    worker.dataflow::<u64, _, _>(|scope| {
        let looped = Loop::new(scope, &arguments.config)?.checkpoint_to(checkpoints, &fault)?;
        let keys = looped.key_space("keys")?;
        let files = CsvFiles::<Event>::new(&arguments.files)?;
        let counts = looped
            .source("events", files, Epoching::by(|event: &Event| event.time / HOUR))?
            .rebalance(&keys, |event| stable_hash(&event.key))?
            .fold_epochs(
                |event| event.key.clone(),
                |_, in_hour: &mut u64| *in_hour += 1,
                |in_hour, more| *in_hour += more,
                |in_hour, in_all: &mut u64, out| {
                    *in_all += in_hour;
                    // What an hour has gathered is given at the boundary after it.
                    out.give((out.time() - 1, out.key().clone(), in_hour, *in_all));
                },
            );
        looped.sink("counts", counts, EpochFiles::csv(&arguments.output).visible(arguments.visible))?;
        Ok::<_, Error>(())
    })?;
    Ok(fault)
}

/// Runs to the end, or until another worker has failed: its error is the one to tell.
fn run(worker: &mut Worker, fault: &Fault, failed: &AtomicBool) -> Result<()> {
    while !failed.load(Ordering::Relaxed) && worker.step_or_park(Some(NAP)) {
        fault.check()?;
    }
    Ok(())
}
