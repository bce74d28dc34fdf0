//! What a run leaves behind: the results, the events, and a line on the terminal while it runs.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use atomic_write_file::AtomicWriteFile;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::event::Moments;
use crate::file::Progress;
use crate::report::{CheckpointReport, EpochReport, Report, Totals, max_mean};

/// Writes the final moments per key, sorted by key. The file is there whole or not at all.
pub fn write_results(path: &Path, mut results: Vec<(String, Moments)>) -> Result<()> {
    results.sort_by(|(a, _), (b, _)| a.cmp(b));
    let write = || -> Result<()> {
        let file = AtomicWriteFile::open(path)?;
        let mut csv = csv::Writer::from_writer(BufWriter::new(file));
        csv.write_record(["key", "count", "mean", "deviation"])?;
        for (key, moments) in &results {
            let (count, mean) = (moments.count().to_string(), moments.mean().to_string());
            csv.write_record([key.as_str(), &count, &mean, &moments.deviation().to_string()])?;
        }
        let buffered = csv.into_inner().map_err(csv::IntoInnerError::into_error)?;
        buffered.into_inner().map_err(io::IntoInnerError::into_error)?.commit()?;
        Ok(())
    };
    write().with_context(|| format!("can't write the results to {}", path.display()))
}

/// Writes a JSON object per epoch and per checkpoint, one a line.
pub struct EventLog {
    path: PathBuf,
    file: BufWriter<File>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Epoch {
        epoch: u64,
        records: u64,
        loads: &'a [u64],
        max_mean: Option<f64>,
        static_max_mean: Option<f64>,
        commands: &'a [String],
        moved_bytes: u64,
        forecast: Option<f64>,
        actual: u64,
        checkpoint: Option<&'a str>,
        totals: TotalsLine,
    },
    Checkpoint(&'a CheckpointReport),
}

#[derive(Serialize)]
struct TotalsLine {
    keys: u64,
    count: u64,
    mean: String,
    deviation: String,
}

impl TotalsLine {
    /// Mean and deviation are text, as in the results, so that they are exact.
    fn of(totals: &Totals) -> Self {
        let (keys, moments) = (totals.keys, &totals.moments);
        let (mean, deviation) = (moments.mean().to_string(), moments.deviation().to_string());
        TotalsLine { keys, count: moments.count(), mean, deviation }
    }
}

/// What of an old line tells whether it is kept.
#[derive(Deserialize)]
struct Numbered {
    epoch: u64,
}

impl EventLog {
    /// Starts the file anew.
    pub fn create(path: &Path) -> Result<Self> {
        EventLog::start(path, "")
    }

    /// Goes on with the file of a run that ended: what it says of epochs from this one on happens again.
    pub fn resume(path: &Path, from: u64) -> Result<Self> {
        let old = match path.exists() {
            true => {
                std::fs::read_to_string(path).with_context(|| format!("can't read the events {}", path.display()))?
            }
            false => String::new(),
        };
        let before = |line: &&str| serde_json::from_str::<Numbered>(line).is_ok_and(|line| line.epoch < from);
        let kept: String = old.lines().filter(before).flat_map(|line| [line, "\n"]).collect();
        EventLog::start(path, &kept)
    }

    fn start(path: &Path, kept: &str) -> Result<Self> {
        let start = || -> io::Result<File> {
            // What is kept is never gone.
            let mut file = AtomicWriteFile::open(path)?;
            file.write_all(kept.as_bytes())?;
            file.commit()?;
            File::options().append(true).open(path)
        };
        let file = start().with_context(|| format!("can't write the events to {}", path.display()))?;
        Ok(EventLog { path: path.into(), file: BufWriter::new(file) })
    }

    pub fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        self.write(&Line::Epoch {
            epoch: report.epoch,
            records: report.records,
            loads: &report.loads,
            max_mean: max_mean(&report.loads),
            static_max_mean: max_mean(&report.static_loads),
            commands: &report.commands,
            moved_bytes: report.moved_bytes,
            forecast: report.forecast,
            actual: report.records,
            checkpoint: report.checkpoint.as_deref(),
            totals: TotalsLine::of(&report.totals),
        })
    }

    /// A checkpoint's line is also when the lines before it become safe from a crash of the program.
    pub fn checkpoint(&mut self, report: &CheckpointReport) -> Result<()> {
        self.write(&Line::Checkpoint(report))?;
        self.flush()
    }

    /// Writes out what is buffered: to be called at the end.
    pub fn flush(&mut self) -> Result<()> {
        self.try_to(Write::flush)
    }

    fn write(&mut self, line: &Line<'_>) -> Result<()> {
        self.try_to(|file| {
            serde_json::to_writer(&mut *file, line)?;
            file.write_all(b"\n")
        })
    }

    fn try_to(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
        write(&mut self.file).with_context(|| format!("can't write the events to {}", self.path.display()))
    }
}

/// The line on the terminal while the program runs; nothing where standard error isn't one.
pub struct Meter {
    bar: ProgressBar,
    progress: Progress,
}

impl Meter {
    pub fn new(progress: Progress) -> Self {
        let bar = ProgressBar::new(progress.total());
        let style = ProgressStyle::with_template("{percent:>3} % {bar:12} {msg}, {eta} to go");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Meter { bar, progress }
    }

    /// Brings the line up to date.
    pub fn show(&self, epoch: u64, records: u64, max_mean: Option<f64>) {
        self.bar.set_position(self.progress.done());
        let load = max_mean.map(|ratio| format!(", max/mean {ratio:.2}")).unwrap_or_default();
        self.bar.set_message(format!("epoch {epoch}, {} records{load}", HumanCount(records)));
    }
}

/// Makes place for the summary, or for an error.
impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Shows the summary; that nobody wants to read to its end is no error.
pub fn print(report: &Report) -> Result<()> {
    match write!(io::stdout().lock(), "{report}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("can't write the summary"),
        _ => Ok(()),
    }
}
