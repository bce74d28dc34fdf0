//! Checkpoint triggers over a trace of arrivals.

mod arguments;
pub mod compare;
mod events;
pub mod report;
pub mod setting;

use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result, bail};

use crate::series::Series;
pub use arguments::CheckpointArguments;
use compare::{Comparison, compare};
use events::Events;
use report::Report;

/// Compares the triggers on each series, and prints what they would have cost.
pub fn run(arguments: &CheckpointArguments, all: Vec<Series>) -> Result<()> {
    let mut events = arguments.events.as_deref().map(Events::create).transpose()?;
    let mut report = Report::default();
    for series in all {
        let records = arrivals(&series).with_context(|| format!("series {:?}", series.name))?;
        let seconds = arguments.epoch_seconds.unwrap_or(series.step);
        let comparison = compare(&records, &arguments.setting.with_epochs_of(seconds));
        if let Some(events) = &mut events {
            events.write(&series.name, &records, &comparison)?;
        }
        report.add(series.name, &comparison);
    }
    if let Some(events) = events {
        events.finish()?;
    }
    match write!(io::stdout().lock(), "{report}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("can't write the report"),
        _ => Ok(()),
    }
}

/// Records per epoch. Where a value is missing, as many arrive as in the epoch before.
pub fn arrivals(series: &Series) -> Result<Vec<f64>> {
    let mut last = 0.0;
    let mut records = Vec::with_capacity(series.values.len());
    for (epoch, value) in series.values.iter().enumerate() {
        if *value < 0.0 {
            bail!("the value of epoch {epoch} is {value}: expected how many records arrive, at least 0");
        }
        last = if value.is_nan() { last } else { value.round() };
        records.push(last);
    }
    if records.iter().all(|records| *records == 0.0) {
        bail!("no record arrives: there is nothing to lose, and no checkpoint to take");
    }
    Ok(records)
}
