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
use setting::POSITIVE;

/// Arrivals, and how long the epochs are.
pub struct Trace {
    name: String,
    records: Vec<f64>,
    epoch_seconds: f64,
}

/// Reads the series as arrivals.
pub fn read(arguments: &CheckpointArguments) -> Result<Vec<Trace>> {
    let trace = |series: Series| {
        let epoch_seconds = arguments.epoch_seconds.unwrap_or(series.step);
        if !POSITIVE.contains(&epoch_seconds) {
            bail!("series {:?} has a step of {epoch_seconds} seconds: give another with --epoch-seconds", series.name);
        }
        let records = arrivals(&series).with_context(|| format!("series {:?}", series.name))?;
        Ok(Trace { name: series.name, records, epoch_seconds })
    };
    arguments.input.read()?.into_iter().map(trace).collect()
}

/// Compares the triggers on each trace, and prints what they would have cost.
pub fn run(arguments: &CheckpointArguments, traces: Vec<Trace>) -> Result<()> {
    let mut events = arguments.events.as_deref().map(Events::create).transpose()?;
    let mut report = Report::default();
    for Trace { name, records, epoch_seconds } in traces {
        let comparison = compare(&records, &arguments.setting.with_epochs_of(epoch_seconds))?;
        if let Some(events) = &mut events {
            events.write(&name, &records, &comparison)?;
        }
        report.add(name, &comparison);
    }
    if let Some(events) = events {
        events.finish()?;
    }
    match write!(io::stdout().lock(), "{report}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("can't write the report"),
        _ => Ok(()),
    }
}

/// So many records in an epoch can still be counted exactly.
const MOST_RECORDS: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;

/// Records per epoch. Where a value is missing, as many arrive as in the epoch before.
pub fn arrivals(series: &Series) -> Result<Vec<f64>> {
    let mut last = 0.0;
    let mut records = Vec::with_capacity(series.values.len());
    for (epoch, value) in series.values.iter().enumerate() {
        if *value < 0.0 || *value > MOST_RECORDS {
            bail!(
                "the value of epoch {epoch} is {value}: expected how many records arrive, from 0 to {MOST_RECORDS:e}"
            );
        }
        last = if value.is_nan() { last } else { value.round() };
        records.push(last);
    }
    if records.iter().all(|records| *records == 0.0) {
        bail!(
            "no record arrives, so that there is nothing to lose: values are taken for whole records per epoch; name \
             the column that has them with --value-column, or leave the series out"
        );
    }
    Ok(records)
}
