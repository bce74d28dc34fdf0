//! A line of JSON per epoch, cost model and rule.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use super::Comparison;

/// A file of events.
pub struct Events {
    path: PathBuf,
    lines: BufWriter<File>,
}

impl Events {
    /// Begins a file, in place of the one that is there.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("can't create the events {}", path.display()))?;
        Ok(Events { path: path.into(), lines: BufWriter::new(file) })
    }

    /// Writes what each rule did on a series, and what had been paid by the end of each epoch.
    pub fn write(&mut self, series: &str, records: &[f64], comparison: &Comparison) -> Result<()> {
        for compared in comparison {
            for outcome in &compared.outcomes {
                let paid = compared.hindsight.paid(outcome.checkpoints.iter().copied());
                let mut taken = outcome.checkpoints.iter().enumerate().peekable();
                for (epoch, (records, paid)) in records.iter().zip(paid).enumerate() {
                    let checkpoint = taken.next_if(|(_, at)| **at == epoch);
                    let line = json!({
                        "series": series,
                        "model": compared.costs.model,
                        "rule": outcome.rule,
                        "epoch": epoch,
                        "records": records,
                        "checkpoint": checkpoint.is_some(),
                        "reason": checkpoint.and_then(|(index, _)| outcome.reasons.get(index)),
                        "paid": paid,
                    });
                    writeln!(self.lines, "{line}").with_context(|| self.what())?;
                }
            }
        }
        Ok(())
    }

    /// Sees to it that all is written.
    pub fn finish(mut self) -> Result<()> {
        self.lines.flush().with_context(|| self.what())
    }

    fn what(&self) -> String {
        format!("can't write the events to {}", self.path.display())
    }
}
