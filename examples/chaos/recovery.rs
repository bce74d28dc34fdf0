//! How long recoveries take, beside how long they should.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result};
use serde::Deserialize;
use thalweg::checkpoint::{Directory, Manifest, Store};

/// When output became visible, by the first epoch of each file.
pub type Visible = BTreeMap<u64, SystemTime>;

/// The files of a sink's directory that are visible.
pub fn visible(directory: &Path) -> Result<Visible> {
    let mut visible = Visible::new();
    for entry in fs::read_dir(directory).with_context(|| format!("can't read {}", directory.display()))? {
        let path = entry?.path();
        let epoch = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let Some(epoch) = epoch {
            visible.insert(epoch, fs::metadata(&path)?.modified()?);
        }
    }
    Ok(visible)
}

/// What a run is like that nothing happens to.
#[derive(Clone, Debug)]
pub struct Steady {
    /// Seconds for each record.
    per_record: f64,
    /// Records of all epochs up to each one.
    records: BTreeMap<u64, u64>,
}

/// How long a leg took to its first output that had not been there before, beside how long it should.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub processes: usize,
    /// It went on from a checkpoint.
    pub is_recovery: bool,
    /// Seconds from its start.
    pub took: f64,
    /// Seconds to read the checkpoint, and to replay.
    pub expected: f64,
}

/// A line of the events.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    epoch: u64,
    #[serde(default)]
    records: u64,
}

impl Steady {
    /// From the events of a run, and when its output became visible, an epoch in each file.
    pub fn new(events: &Path, visible: &Visible) -> Result<Self> {
        let text = fs::read_to_string(events).with_context(|| format!("can't read {}", events.display()))?;
        let (mut records, mut sum) = (BTreeMap::new(), 0);
        for line in text.lines() {
            let line: Line = serde_json::from_str(line).context("the events are not as expected")?;
            if line.kind == "epoch" {
                sum += line.records;
                records.insert(line.epoch, sum);
            }
        }
        let first = visible.first_key_value().context("there is no output")?;
        let last = visible.last_key_value().context("there is no output")?;
        let steady = Steady { per_record: 0.0, records };
        let per_record = seconds(*first.1, *last.1) / (steady.until(*last.0) - steady.until(*first.0)).max(1.0);
        Ok(Steady { per_record, ..steady })
    }

    /// Records up to the end of an epoch.
    fn until(&self, epoch: u64) -> f64 {
        self.records.range(..=epoch).next_back().map_or(0.0, |(_, records)| *records as f64)
    }

    /// How long a leg took, if there was output that had not been there before.
    pub fn timing(&self, leg: &Start, processes: usize, before: &Visible, after: &Visible) -> Option<Timing> {
        let seen = before.last_key_value().map(|(epoch, _)| *epoch);
        let (epoch, at) = after.iter().find(|(epoch, _)| seen.is_none_or(|seen| **epoch > seen))?;
        let replayed = self.until(*epoch) - leg.from.checked_sub(1).map_or(0.0, |last| self.until(last));
        Some(Timing {
            processes,
            is_recovery: leg.from > 0,
            took: seconds(leg.at, *at),
            expected: leg.read_seconds + replayed * self.per_record,
        })
    }
}

/// A leg, as it starts.
#[derive(Clone, Debug)]
pub struct Start {
    /// The epoch from which the run goes on.
    from: u64,
    /// How long it takes just to read the checkpoint.
    read_seconds: f64,
    at: SystemTime,
}

impl Start {
    /// Of a run that has left its checkpoints, if any, here.
    pub fn new(directory: &Path) -> Result<Self> {
        let (from, read_seconds) = if directory.exists() { read(directory)? } else { (0, 0.0) };
        Ok(Start { from, read_seconds, at: SystemTime::now() })
    }
}

/// The epoch of the newest checkpoint, and how long it takes to read it.
fn read(directory: &Path) -> Result<(u64, f64)> {
    let store = Directory::open(directory)?;
    let Some(from) = Manifest::list(&store)?.last().copied() else { return Ok((0, 0.0)) };
    let started = Instant::now();
    for object in Manifest::read(&store, from)?.objects {
        store.get(&object.name)?;
    }
    Ok((from, started.elapsed().as_secs_f64()))
}

fn seconds(from: SystemTime, to: SystemTime) -> f64 {
    to.duration_since(from).map_or(0.0, |duration| duration.as_secs_f64())
}
