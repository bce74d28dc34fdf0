//! What a run was like: figures as they come in, and the summary of them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use indicatif::{BinaryBytes, HumanCount};
use serde::Serialize;

use crate::event::Moments;
use crate::fault::Skipped;

/// One epoch.
#[derive(Clone, Debug, Default)]
pub struct EpochReport {
    /// Its number.
    pub epoch: u64,
    /// Records in it.
    pub records: u64,
    /// Records by worker.
    pub loads: Vec<u64>,
    /// Records by worker, had nothing ever moved.
    pub static_loads: Vec<u64>,
    /// Commands that took effect before it.
    pub commands: Vec<String>,
    /// Bytes of state that went to another worker for it.
    pub moved_bytes: u64,
    /// Records it was expected to have.
    pub forecast: Option<f64>,
    /// Why a checkpoint was taken before it, if one was.
    pub checkpoint: Option<String>,
    /// What its records come to.
    pub totals: Totals,
}

/// What an epoch's records come to, over all keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Keys that had records.
    pub keys: u64,
    /// Count, mean and deviation of the records' values.
    pub moments: Moments,
}

/// One checkpoint.
#[derive(Clone, Debug, Serialize)]
pub struct CheckpointReport {
    /// The epoch before which it was taken.
    pub epoch: u64,
    /// Why.
    pub reason: String,
    /// Bytes written.
    pub bytes: u64,
    /// The share of the keys that had changed since the one before.
    pub saved_share: f64,
    /// How long it took until it was durable.
    pub seconds: f64,
}

/// What comparing with a plain static program gave.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The outputs of so many epochs are the same.
    Same { epochs: u64 },
    /// They are not, first in this epoch.
    Different { epoch: u64, what: String },
}

/// One run.
pub struct Report {
    pub workers: usize,
    pub policy: String,
    pub epochs: Vec<EpochReport>,
    pub checkpoints: Vec<CheckpointReport>,
    /// What went wrong with checkpoints.
    pub troubles: Vec<String>,
    /// Nanoseconds from an epoch's last record going in to its last result coming out, where nothing moved.
    pub quiet: Histogram<u64>,
    /// The same, in epochs with commands or with state on its way.
    pub moving: Histogram<u64>,
    pub recovery_seconds: Option<f64>,
    pub skipped: Skipped,
    pub verdict: Option<Verdict>,
    pub elapsed: Duration,
}

/// The busiest worker's load over the mean of all; none without records.
pub fn max_mean(loads: &[u64]) -> Option<f64> {
    let (max, sum) = (*loads.iter().max()?, loads.iter().sum::<u64>());
    (sum > 0).then(|| max as f64 * loads.len() as f64 / sum as f64)
}

/// The value below or at which this share of the values lies; `sorted` must be, and not be empty.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn time(nanos: f64) -> String {
    let (value, unit) = match nanos {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "us"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    let places = if value >= 99.95 { 0 } else { 1 };
    format!("{value:.places$} {unit}")
}

fn seconds(seconds: f64) -> String {
    time(seconds * 1e9)
}

fn plural(count: usize, one: &str) -> String {
    format!("{} {one}{}", HumanCount(count as u64), if count == 1 { "" } else { "s" })
}

/// How often each name occurs: `3 move, 1 split`.
fn tally<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

fn ratios(f: &mut fmt::Formatter<'_>, title: &str, name: &str, ratios: impl Iterator<Item = f64>) -> fmt::Result {
    write!(f, "{title:<13}{name:<9}")?;
    let mut ratios: Vec<f64> = ratios.collect();
    if ratios.is_empty() {
        return writeln!(f, "  no records");
    }
    ratios.sort_by(f64::total_cmp);
    let [p50, p90, max] = [0.5, 0.9, 1.0].map(|share| quantile(&ratios, share));
    writeln!(f, "{p50:>9.2}{p90:>9.2}{max:>9.2}")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.totals(f)?;
        self.loads(f)?;
        self.latencies(f)?;
        self.moves(f)?;
        self.recovery(f)?;
        if self.skipped.total() > 0 {
            writeln!(f, "skipped      {}: {}", plural(self.skipped.total() as usize, "row"), self.skipped)?;
        }
        match &self.verdict {
            None => Ok(()),
            Some(Verdict::Same { epochs }) => {
                writeln!(f, "verified     the same as a plain static program in all {} epochs", HumanCount(*epochs))
            }
            Some(Verdict::Different { epoch, what }) => {
                writeln!(f, "NOT THE SAME as a plain static program, first in epoch {epoch}: {what}")
            }
        }
    }
}

impl Report {
    fn totals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records: u64 = self.epochs.iter().map(|epoch| epoch.records).sum();
        let elapsed = self.elapsed.as_secs_f64();
        writeln!(
            f,
            "replayed     {} records in {} on {}, policy {}, in {} ({} records/s)",
            HumanCount(records),
            plural(self.epochs.len(), "epoch"),
            plural(self.workers, "worker"),
            self.policy,
            seconds(elapsed),
            HumanCount((records as f64 / elapsed.max(1e-9)) as u64),
        )
    }

    fn loads(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:22}{:>9}{:>9}{:>9}", "", "p50", "p90", "max")?;
        let fixed = self.epochs.iter().filter_map(|epoch| max_mean(&epoch.static_loads));
        let adaptive = self.epochs.iter().filter_map(|epoch| max_mean(&epoch.loads));
        ratios(f, "load", "static", fixed)?;
        ratios(f, "max/mean", "adaptive", adaptive)?;
        let pairs = self.epochs.iter().filter_map(|e| Some((max_mean(&e.loads)?, max_mean(&e.static_loads)?)));
        let worse = pairs.filter(|(adaptive, fixed)| *adaptive > fixed * 1.05).count();
        writeln!(f, "{:13}more than 5 % above static in {}", "", plural(worse, "epoch"))
    }

    fn latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:22}{:>9}{:>9}{:>9}{:>9}", "", "p50", "p99", "p99.9", "max")?;
        for (title, name, latency) in [("latency", "quiet", &self.quiet), ("of an epoch", "moving", &self.moving)] {
            write!(f, "{title:<13}{name:<9}")?;
            if latency.is_empty() {
                writeln!(f, "  no epochs")?;
                continue;
            }
            for share in [0.5, 0.99, 0.999, 1.0] {
                write!(f, "{:>9}", time(latency.value_at_quantile(share) as f64))?;
            }
            writeln!(f, "  {}", plural(latency.len() as usize, "epoch"))?;
        }
        Ok(())
    }

    fn moves(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands: Vec<&str> = self.epochs.iter().flat_map(|epoch| &epoch.commands).map(String::as_str).collect();
        if commands.is_empty() {
            return writeln!(f, "commands     none");
        }
        let busy = self.epochs.iter().filter(|epoch| !epoch.commands.is_empty()).count();
        let bytes: u64 = self.epochs.iter().map(|epoch| epoch.moved_bytes).sum();
        let verbs = tally(commands.iter().map(|command| command.split(' ').next().unwrap_or_default()));
        writeln!(f, "commands     {verbs}, before {}; {} moved", plural(busy, "epoch"), BinaryBytes(bytes))
    }

    fn recovery(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 5;
        for checkpoint in self.checkpoints.iter().take(MOST) {
            let CheckpointReport { epoch, reason, bytes, saved_share, seconds: taken } = checkpoint;
            let (bytes, share) = (BinaryBytes(*bytes), saved_share * 100.0);
            let taken = seconds(*taken);
            writeln!(f, "checkpoint   before epoch {epoch}: {reason}; {bytes}, {share:.0} % of the keys, {taken}")?;
        }
        if let Some(rest) = self.checkpoints.get(MOST..).filter(|rest| !rest.is_empty()) {
            let bytes: u64 = rest.iter().map(|checkpoint| checkpoint.bytes).sum();
            writeln!(f, "             and {} more, {}", rest.len(), BinaryBytes(bytes))?;
        }
        for trouble in self.troubles.iter().take(MOST) {
            writeln!(f, "TROUBLE      {trouble}")?;
        }
        match self.recovery_seconds {
            Some(estimate) => writeln!(f, "recovery     would take about {} now", seconds(estimate)),
            None => Ok(()),
        }
    }
}
