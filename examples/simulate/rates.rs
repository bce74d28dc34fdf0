//! The trace of a file of rates.

use std::path::Path;

use anyhow::{Result, bail};
use thalweg::stable_hash;

use crate::balance::{Epoch, Spread, Trace};
use crate::recorded::RecordedArguments;
use crate::series::{self, Columns, Series};

/// Epochs for each value, up to which epochs may be without any.
const MOST_EMPTY: f64 = 1_000.0;

/// The part of its own step by which the step of a series may be off a whole number of epochs. Its values are placed by
/// their times, so that this does not add up.
const NEARLY_WHOLE: f64 = 0.01;

/// Takes each series for a key, or spreads the only one over keys. A step is an epoch; where the value is missing or
/// negative, there are no records.
pub fn read(path: &Path, arguments: &RecordedArguments, spread: Spread) -> Result<Trace> {
    let RecordedArguments { time_column, value_column, series_column, scale, .. } = arguments;
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
        None => Ok(spread.trace(series.pop().map_or(Vec::new(), |series| series.values))),
    }
}

/// A series, and when it has values.
struct Key {
    routing: u64,
    /// Epochs from the start to the first value, and from one to the next, at least about 1.
    first: f64,
    every: f64,
    values: Vec<f64>,
    /// The value whose turn is next.
    next: usize,
}

impl Key {
    /// The epoch of a value. No two are in the same one.
    fn place(&self, value: usize) -> u64 {
        (self.first + value as f64 * self.every).round() as u64
    }

    /// The records in an epoch; asked for in order.
    fn records(&mut self, epoch: u64) -> u32 {
        let value = self.values.get(self.next).filter(|_| self.place(self.next) == epoch);
        self.next += usize::from(value.is_some());
        value.map_or(0, |value| value.round() as u32)
    }
}

/// The least step of all series that have one: those with a single value have not.
fn least_step(series: &[Series]) -> f64 {
    let steps = series.iter().filter(|series| series.values.len() > 1).map(|series| series.step);
    steps.min_by(f64::total_cmp).unwrap_or(1.0)
}

fn of_keys(series: Vec<Series>) -> Result<Trace> {
    let start = series.iter().map(|series| series.start).fold(f64::INFINITY, f64::min);
    let step = least_step(&series);
    let values: usize = series.iter().map(|series| series.values.len()).sum();
    let mut keys = Vec::with_capacity(series.len());
    for Series { name, start: first, step: own, values } in series {
        let every = if values.len() > 1 { own / step } else { 1.0 };
        let is_whole = (every - every.round()).abs() <= NEARLY_WHOLE * every;
        if !is_whole {
            bail!(
                "series {name:?} has a value every {own}, but an epoch is {step}, the least of all series: expected a \
                 whole number of epochs; simulate it on its own"
            );
        }
        keys.push(Key { routing: stable_hash(&name), first: (first - start) / step, every, values, next: 0 });
    }
    keys.sort_by_key(|key| key.routing);
    let end = |key: &Key| key.place(key.values.len() - 1).saturating_add(1);
    let length = keys.iter().map(end).max().unwrap_or(0);
    if length as f64 > MOST_EMPTY * values as f64 {
        bail!("its series are so far apart in time that hardly an epoch has a value: simulate them one by one");
    }
    let routing = keys.iter().map(|key| key.routing).collect();
    let epoch = move |number: u64| {
        let records = keys.iter_mut().map(|key| key.records(number));
        Epoch { number, counts: (0..).zip(records).filter(|(_, records)| *records > 0).collect() }
    };
    Ok(Trace { keys: routing, epochs: Box::new((0..length).map(epoch)), length })
}
