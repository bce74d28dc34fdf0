//! Replays timestamped keyed events through an adaptive keyed dataflow, and shows what adaptivity bought.
//!
//! ```text
//! cargo run --release --example replay
//! cargo run --release --example replay -- --help
//! ```
//!
//! The dataflow is in `replay/dataflow.rs`: what a user of the library writes. The rest reads, feeds and reports.

#[path = "replay/arguments.rs"]
mod arguments;
#[path = "replay/cluster.rs"]
mod cluster;
#[path = "replay/dataflow.rs"]
mod dataflow;
#[path = "replay/decimal.rs"]
mod decimal;
#[path = "replay/epoch.rs"]
mod epoch;
#[path = "replay/event.rs"]
mod event;
#[path = "replay/fault.rs"]
mod fault;
#[path = "replay/feed.rs"]
mod feed;
#[path = "replay/file.rs"]
mod file;
#[path = "replay/generate.rs"]
mod generate;
#[path = "replay/input.rs"]
mod input;
#[path = "replay/notes.rs"]
mod notes;
#[path = "replay/output.rs"]
mod output;
#[path = "replay/report.rs"]
mod report;
#[path = "replay/rows.rs"]
mod rows;
#[path = "replay/run.rs"]
mod run;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use thalweg::checkpoint::{Checkpoints, Directory, Fingerprint};
use thalweg::policy::Script;

use crate::arguments::{Arguments, PolicyChoice};
use crate::dataflow::Setup;
use crate::feed::{Dealing, Reader, read};
use crate::file::Progress;
use crate::input::Source;
use crate::notes::Notes;
use crate::output::{EventLog, Meter, print, write_results};
use crate::report::{Report, Verdict};
use crate::run::Shared;

fn main() -> ExitCode {
    match replay(&Arguments::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn replay(arguments: &Arguments) -> Result<()> {
    let start = Instant::now();
    let cluster = &arguments.cluster;
    let workers = cluster.workers * cluster.processes;
    arguments.config.validate()?;
    let initial = arguments.config.initial(workers)?;
    let script = read_script(&arguments.policy)?;
    let checkpoints = open_checkpoints(arguments)?;
    let mut source = Source::open(&arguments.input)?;
    let (from, before) = checkpoints.as_ref().map_or((0, 0), |c| (c.epoch(), c.records().unwrap_or(0)));
    if !arguments.verify {
        source.skip(before)?;
    }
    let progress = source.progress();
    let local = cluster.process * cluster.workers..(cluster.process + 1) * cluster.workers;
    let dealing = Dealing { workers, local, initial, rate: arguments.input.rate };
    let (reader, feeds) = read(source, dealing);
    let notes = (cluster.process == 0).then(|| start_notes(arguments, &reader, progress, from, before)).transpose()?;
    let (config, policy) = (arguments.config.clone(), arguments.policy.clone());
    let setup = Setup { config, policy, script, checkpoints, sink: arguments.sink.clone() };
    let shared = Arc::new(Shared {
        setup,
        verify: arguments.verify,
        feeds: Mutex::new(feeds.into_iter().map(Some).collect()),
        failed: AtomicBool::new(false),
        notes: Mutex::new(notes),
        results: Mutex::default(),
    });
    let running = Arc::clone(&shared);
    let config = cluster.timely().map_err(|what| anyhow!(what))?;
    let guards = timely::execute(config, move |worker| run::work(worker, &running)).map_err(|what| anyhow!(what))?;
    let outcomes: Vec<_> = guards.join();
    let skipped = join(reader, outcomes)?;
    let Some(mut notes) = shared.notes.lock().map_or(None, |mut notes| notes.take()) else { return Ok(()) };
    notes.finish()?;
    if let Some(path) = &arguments.results {
        write_results(path, shared.take_all_results())?;
    }
    finish(arguments, notes, skipped, start)
}

fn read_script(policy: &PolicyChoice) -> Result<Script> {
    let PolicyChoice::Scripted(path) = policy else { return Ok(Script::default()) };
    let text = fs::read_to_string(path).with_context(|| format!("can't read the script {}", path.display()))?;
    text.parse().with_context(|| format!("the script {} can't be followed", path.display()))
}

fn open_checkpoints(arguments: &Arguments) -> Result<Option<Checkpoints>> {
    let Some(path) = &arguments.checkpoint else { return Ok(None) };
    let pairs = arguments.input.fingerprint();
    let fingerprint = pairs.into_iter().fold(Fingerprint::default(), |f, (name, value)| f.with(name, value));
    let store = Arc::new(Directory::open(path)?);
    let open = if arguments.resume { Checkpoints::resume } else { Checkpoints::begin };
    let checkpoints = open(store, fingerprint, arguments.checkpoints.clone())?;
    for skipped in checkpoints.skipped() {
        writeln!(io::stderr(), "warning: a checkpoint is passed over: {skipped}")?;
    }
    Ok(Some(checkpoints))
}

fn start_notes(arguments: &Arguments, reader: &Reader, progress: Progress, from: u64, records: u64) -> Result<Notes> {
    let log = match &arguments.events {
        Some(path) if from > 0 => Some(EventLog::resume(path, from)?),
        Some(path) => Some(EventLog::create(path)?),
        None => None,
    };
    Notes::new(log, Arc::clone(&reader.static_loads), Meter::new(progress), records)
}

/// The first error of the reader, which is the cause of others, or else of a worker.
fn join(reader: Reader, outcomes: Vec<Result<Result<()>, String>>) -> Result<fault::Skipped> {
    let skipped = reader.thread.join().map_err(|_| anyhow!("the reading thread has panicked"))??;
    for outcome in outcomes {
        outcome.map_err(|panic| anyhow!("a worker has panicked: {panic}"))??;
    }
    Ok(skipped)
}

fn finish(arguments: &Arguments, notes: Notes, skipped: fault::Skipped, start: Instant) -> Result<()> {
    let verdict = arguments.verify.then(|| notes.verdict());
    let policy = match &arguments.policy {
        PolicyChoice::Static => "static".to_owned(),
        PolicyChoice::Reactive => "reactive".to_owned(),
        PolicyChoice::Proactive => "proactive".to_owned(),
        PolicyChoice::Scripted(file) => format!("scripted by {}", file.display()),
    };
    let report = Report {
        workers: arguments.cluster.workers * arguments.cluster.processes,
        policy,
        epochs: notes.epochs,
        checkpoints: notes.checkpoints,
        troubles: notes.troubles,
        quiet: notes.quiet,
        moving: notes.moving,
        recovery_seconds: notes.recovery_seconds,
        skipped,
        verdict,
        elapsed: start.elapsed(),
    };
    print(&report).context("can't show the summary")?;
    match report.verdict {
        Some(Verdict::Different { epoch, .. }) => {
            bail!("the output differs from a plain program's from epoch {epoch} on")
        }
        _ => Ok(()),
    }
}
