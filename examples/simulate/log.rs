//! The file with a line per epoch and policy.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use thalweg::Command;

use crate::balance::{Epoch, Line};

/// Writes a JSON object per epoch and policy, one a line.
pub struct Log {
    path: PathBuf,
    file: BufWriter<File>,
}

#[derive(Serialize)]
struct Row<'a> {
    epoch: u64,
    policy: &'a str,
    records: u64,
    max_mean: f64,
    max_load: u64,
    mean_load: f64,
    workers_in_use: usize,
    commands: BTreeMap<&'static str, usize>,
    moves: usize,
    moved_bytes: u64,
    forecast: Option<f64>,
}

impl Log {
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("can't write the events to {}", path.display()))?;
        Ok(Log { path: path.into(), file: BufWriter::new(file) })
    }

    pub fn write(&mut self, epoch: &Epoch, line: &Line<'_>) -> Result<()> {
        let Line { arm, max_mean, crossing, moved_bytes, loads } = line;
        let mut commands = BTreeMap::new();
        crossing.commands.iter().for_each(|command| *commands.entry(kind(command)).or_default() += 1);
        let records = epoch.records();
        let workers_in_use = loads.in_use.iter().filter(|used| **used).count();
        let row = Row {
            epoch: epoch.number,
            policy: arm,
            records,
            max_mean: *max_mean,
            max_load: loads.by_worker.iter().max().copied().unwrap_or(0),
            mean_load: loads.of_those_in_use() as f64 / workers_in_use as f64,
            workers_in_use,
            commands,
            moves: crossing.handovers.len(),
            moved_bytes: *moved_bytes,
            forecast: loads.forecast,
        };
        let written = serde_json::to_writer(&mut self.file, &row).map_err(Into::into);
        let written = written.and_then(|()| self.file.write_all(b"\n"));
        written.with_context(|| format!("can't write the events to {}", self.path.display()))
    }

    pub fn finish(mut self) -> Result<()> {
        self.file.flush().with_context(|| format!("can't write the events to {}", self.path.display()))
    }
}

fn kind(command: &Command) -> &'static str {
    match command {
        Command::Split { .. } => "split",
        Command::Merge { .. } => "merge",
        Command::Move { .. } => "move",
        Command::Fold { .. } => "fold",
        Command::Unfold { .. } => "unfold",
        Command::Checkpoint => "checkpoint",
        Command::SaveAll => "save_all",
    }
}
