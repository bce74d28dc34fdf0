//! The trace of a file of rates.

use std::path::Path;

use anyhow::{Result, bail};
use thalweg::stable_hash;

use crate::arguments::InputArguments;
use crate::balance::{Epoch, Trace};
use crate::series::{self, Columns, Series};

/// Takes each series for a key, or spreads the only one over keys. A value is an epoch; where it is missing or negative
/// there are no records.
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
        bail!("{} has no value above 0: there are no records", path.display());
    }
    match series_column {
        Some(_) => Ok(of_keys(series)),
        None => Ok(arguments.spread().trace(series.pop().map_or(Vec::new(), |series| series.values))),
    }
}

fn of_keys(mut series: Vec<Series>) -> Trace {
    series.sort_by_cached_key(|series| stable_hash(&series.name));
    let keys = series.iter().map(|series| stable_hash(&series.name)).collect();
    let length = series.iter().map(|series| series.values.len()).max().unwrap_or(0) as u64;
    let epoch = move |number: u64| {
        let records = |series: &Series| series.values.get(number as usize).map_or(0, |value| value.round() as u32);
        let counts = (0..).zip(series.iter().map(records)).filter(|(_, records)| *records > 0).collect();
        Epoch { number, counts }
    };
    Trace { keys, epochs: Box::new((0..length).map(epoch)), length }
}
