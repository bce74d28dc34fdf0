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
#[path = "replay/restless.rs"]
mod restless;
#[path = "replay/rows.rs"]
mod rows;
#[path = "replay/run.rs"]
mod run;
#[path = "replay/stop.rs"]
mod stop;
#[path = "replay/supervise.rs"]
mod supervise;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use thalweg::checkpoint::{Checkpoints, Directory, Fingerprint};
use thalweg::cluster::execute;
use thalweg::policy::Script;

use crate::arguments::{Arguments, PolicyChoice};
use crate::dataflow::Setup;
use crate::feed::{Dealing, Reader, read};
use crate::file::Progress;
use crate::input::Source;
use crate::notes::Notes;
use crate::output::{EventLog, Meter, print, write_results};
use crate::report::{Report, Verdict};
use crate::run::{Ended, Shared};
use crate::stop::Stop;
use crate::supervise::supervise;

/// The exit code when another process is gone: all are to be started again, with `--resume`.
const LOST: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::read();
    let ended = match arguments.cluster.supervise {
        Some(restarts) => supervise(arguments.cluster.processes, restarts),
        None => replay(&arguments).map(|()| ExitCode::SUCCESS),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            if is_lost(&error) { ExitCode::from(LOST) } else { ExitCode::FAILURE }
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
    let stop = if arguments.checkpoint.is_some() { Stop::on_signal()? } else { Stop::default() };
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
        stop,
        verify: arguments.verify,
        feeds: Mutex::new(feeds.into_iter().map(Some).collect()),
        notes: Mutex::new(notes),
        results: Mutex::default(),
    });
    let running = Arc::clone(&shared);
    // Processes that had found different checkpoints would work on different epochs.
    let cluster = cluster.cluster(format!("from epoch {from}")).map_err(|what| anyhow!(what))?;
    let outcome = execute(&cluster, move |worker, peers| run::work(worker, peers, &running));
    let (ended, skipped) = join(reader, outcome.map(|ended| ended[0]))?;
    if let Ended::Stopped(epoch) = ended {
        writeln!(io::stdout(), "stopped before epoch {epoch}: go on with --resume")?;
    }
    let Some(mut notes) = shared.notes.lock().map_or(None, |mut notes| notes.take()) else { return Ok(()) };
    notes.finish()?;
    if let Some(path) = arguments.results.as_ref().filter(|_| ended == Ended::Complete) {
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

/// The first error: a lost peer, or else the reader's, which is the cause of others, or else a worker's.
fn join(reader: Reader, outcome: Result<Ended>) -> Result<(Ended, fault::Skipped)> {
    let is_over = match &outcome {
        Ok(ended) => *ended == Ended::Complete,
        Err(error) => !is_lost(error),
    };
    if !is_over {
        // The reader would read to its end what nobody wants any more.
        return outcome.map(|ended| (ended, fault::Skipped::default()));
    }
    let skipped = reader.thread.join().map_err(|_| anyhow!("the reading thread has panicked"))??;
    outcome.map(|ended| (ended, skipped))
}

/// Whether another process is gone.
fn is_lost(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(thalweg::Error::Lost { .. }))
}

fn finish(arguments: &Arguments, notes: Notes, skipped: fault::Skipped, start: Instant) -> Result<()> {
    let verdict = arguments.verify.then(|| notes.verdict());
    let policy = match &arguments.policy {
        PolicyChoice::Static => "static".to_owned(),
        PolicyChoice::Reactive => "reactive".to_owned(),
        PolicyChoice::Proactive => "proactive".to_owned(),
        PolicyChoice::Restless(seed) => format!("restless:{seed}"),
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
