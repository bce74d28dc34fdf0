//! What is said of a run at its end: a table to read, and a line of JSON.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use indicatif::{BinaryBytes, HumanCount};
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::latency::{Latencies, WINDOW};
use crate::migrate::Commanded;
use crate::verify::Differences;

/// What the queries are called, by number.
const NAMES: [&str; 8] = [
    "currency conversion",
    "selection",
    "local item suggestion",
    "average price of a category",
    "hot items",
    "average price of a seller",
    "highest bid",
    "new users who sell",
];

/// The quantiles that are shown.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)];

/// What both programs did.
pub struct Report<'a> {
    pub arguments: &'a Arguments,
    pub events: u64,
    pub plain: Arm,
    pub thalweg: Arm,
    /// The windows in which shards were on their way.
    pub moving: BTreeSet<usize>,
    pub commanded: Commanded,
    /// What comparing the outputs gave, if they were compared.
    pub differences: Option<Differences>,
}

/// What one program did.
pub struct Arm {
    pub latencies: Latencies,
    pub rows: u64,
    pub seconds: f64,
}

fn millis(nanos: u64) -> f64 {
    (nanos as f64 / 1e3).round() / 1e3
}

fn quantiles(histogram: &Histogram<u64>) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let figures =
        QUANTILES.map(|(name, share)| (format!("{name}_ms"), json!(millis(histogram.value_at_quantile(share)))));
    figures.into_iter().chain([("milliseconds".to_owned(), json!(histogram.len()))]).collect()
}

impl Report<'_> {
    fn arms(&self) -> [(&'static str, &Arm); 2] {
        [("plain", &self.plain), ("thalweg", &self.thalweg)]
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let Arguments { query, workers, rate, duration, seed, hot_dwell, epoch, .. } = self.arguments;
        let mut line = json!({
            "query": query, "workers": workers, "rate": rate, "duration_s": duration, "seed": seed,
            "hot_dwell": hot_dwell, "epoch_ms": epoch, "shards": self.arguments.config.shards,
            "lead": self.arguments.config.lead, "migrate": self.arguments.migrate.to_string(),
            "policy": self.arguments.policy.to_string(), "events": self.events, "commands": self.commanded.commands,
            "moved_bytes": self.commanded.moved_bytes, "same": self.differences.as_ref().map(Differences::is_empty),
        });
        for (name, arm) in self.arms() {
            let (quiet, migrating) = arm.latencies.split(&self.moving);
            line[name] = json!({
                "quiet": quantiles(&quiet), "migrating": quantiles(&migrating), "rows": arm.rows, "seconds": arm.seconds,
            });
        }
        line
    }

    /// Writes an object for each window of either program.
    pub fn write_windows(&self, path: &Path) -> Result<()> {
        let cannot = || format!("can't write --results {}", path.display());
        let mut file = BufWriter::new(File::create(path).with_context(cannot)?);
        for (name, arm) in self.arms() {
            for (i, window) in arm.latencies.windows().iter().enumerate() {
                let line = json!({
                    "program": name, "begin_ms": i as u64 * WINDOW, "migrating": self.moving.contains(&i),
                    "latency": quantiles(window),
                });
                writeln!(file, "{line}").with_context(cannot)?;
            }
        }
        file.flush().with_context(cannot)
    }

    fn latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:22}", "latency")?;
        QUANTILES.iter().try_for_each(|(name, _)| write!(f, "{name:>13}"))?;
        writeln!(f)?;
        for (name, arm) in self.arms() {
            let (quiet, migrating) = arm.latencies.split(&self.moving);
            for (name, kind, histogram) in [(name, "quiet", quiet), ("", "migrating", migrating)] {
                if histogram.is_empty() {
                    continue;
                }
                write!(f, "{name:<12} {kind:<9}")?;
                for (_, share) in QUANTILES {
                    write!(f, "{:>10.2} ms", millis(histogram.value_at_quantile(share)))?;
                }
                writeln!(f, "  of {} ms", HumanCount(histogram.len()))?;
            }
        }
        Ok(())
    }

    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.differences {
            None => Ok(()),
            Some(differences) if differences.is_empty() => {
                writeln!(f, "verified     the same {} rows as the plain program", HumanCount(self.thalweg.rows))
            }
            Some(Differences { only: [plain, thalweg], first }) => {
                writeln!(f, "NOT THE SAME {plain} rows only in the plain program, {thalweg} only in the other:")?;
                first.iter().try_for_each(|row| writeln!(f, "             {row}"))
            }
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Arguments { query, workers, duration, migrate, policy, epoch, config, .. } = self.arguments;
        let mut what = String::new();
        write!(what, "{} events in {duration} s on {workers} workers", HumanCount(self.events))?;
        writeln!(f, "query {query}      {}: {what}", NAMES[usize::from(*query) - 1])?;
        writeln!(f, "adaptivity   policy {policy}, migrate {migrate}, {} shards, epochs of {epoch} ms", config.shards)?;
        let Commanded { commands, moved_bytes, .. } = &self.commanded;
        let commands: Vec<String> = commands.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let commands = if commands.is_empty() { "none".to_owned() } else { commands.join(", ") };
        writeln!(f, "commands     {commands}; {} moved", BinaryBytes(*moved_bytes))?;
        self.latencies(f)?;
        for (name, arm) in self.arms() {
            let late = arm.seconds - *duration as f64;
            if late > 1.0 {
                writeln!(f, "TOO SLOW     the {name} program was done {late:.1} s after the last event")?;
            }
        }
        self.verdict(f)?;
        writeln!(f, "{}", self.json())
    }
}
