//! The trace of a file of rates.

use std::path::Path;

use anyhow::{Result, bail};
use thalweg::stable_hash;

use crate::balance::{Epoch, Trace};
use crate::input::InputArguments;
use crate::series::{self, Columns, Series};

/// Epochs for each value, up to which epochs may be without any.
const MOST_EMPTY: f64 = 1_000.0;

/// Takes each series for a key, or spreads the only one over keys. A step is an epoch; where the value is missing or
/// negative, there are no records.
pub fn read(path: &Path, arguments: &InputArguments) -> Result<Trace> {
    let InputArguments { time_column, value_column, series_column, scale, .. } = arguments;
    let columns = Columns {
        time: time_column.as_deref().unwrap_or_default(),
        value: value_column.as_deref().unwrap_or_default(),
        series: series_column.as_deref(),
    };
    let mut series = series::read(path, &columns)?;
    let values = series.iter_mut().flat_map(|series| &mut series.values);
    values.for_each(|value| *value = (*value * scale).max(0.0));
    let largest = series.iter().flat_map(|series| &series.values).fold(0.0, |a: f64, b| a.max(*b));
    if largest >= f64::from(u32::MAX) {
        bail!("{} has a value of {largest} records in one epoch: make them fewer with --scale", path.display());
    }
    if largest < 0.5 {
        bail!("{} has no value of a record or more: make them more with --scale", path.display());
    }
    match series_column {
        Some(_) => of_keys(series),
        None => Ok(arguments.spread().trace(series.pop().map_or(Vec::new(), |series| series.values))),
    }
}

/// A series, and when it has values.
struct Key {
    routing: u64,
    /// The epoch of the first value, and from one to the next.
    first: u64,
    every: u64,
    values: Vec<f64>,
}

impl Key {
    fn records(&self, epoch: u64) -> u32 {
        let since = epoch.checked_sub(self.first).filter(|since| since.is_multiple_of(self.every));
        let value = since.and_then(|since| self.values.get((since / self.every) as usize));
        value.map_or(0, |value| value.round() as u32)
    }
}

fn of_keys(series: Vec<Series>) -> Result<Trace> {
    let start = series.iter().map(|series| series.start).fold(f64::INFINITY, f64::min);
    let step = series.iter().map(|series| series.step).fold(f64::INFINITY, f64::min);
    let values: usize = series.iter().map(|series| series.values.len()).sum();
    let key = |Series { name, start: first, step: every, values }: Series| Key {
        routing: stable_hash(&name),
        first: ((first - start) / step).round() as u64,
        every: (every / step).round() as u64,
        values,
    };
    let mut keys: Vec<Key> = series.into_iter().map(key).collect();
    keys.sort_by_key(|key| key.routing);
    let end = |key: &Key| key.first.saturating_add(key.every.saturating_mul(key.values.len() as u64));
    let length = keys.iter().map(end).max().unwrap_or(0);
    if length as f64 > MOST_EMPTY * values as f64 {
        bail!("its series are so far apart in time that hardly an epoch has a value: simulate them one by one");
    }
    let routing = keys.iter().map(|key| key.routing).collect();
    let epoch = move |number: u64| {
        let records = keys.iter().map(|key| key.records(number));
        Epoch { number, counts: (0..).zip(records).filter(|(_, records)| *records > 0).collect() }
    };
    Ok(Trace { keys: routing, epochs: Box::new((0..length).map(epoch)), length })
}
