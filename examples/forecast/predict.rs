//! Forecasts of series, and the file they are written to.

use std::io::{self, BufWriter};
use std::path::Path;

use anyhow::{Context, Result};
use atomic_write_file::AtomicWriteFile;
use thalweg::forecast::{Forecast, Forecaster, Seasons};

use crate::backtest::blend;
use crate::series::Series;

/// The forecasts of one series, and what is known of them.
pub struct Predicted {
    pub name: String,
    pub values: usize,
    pub missing: usize,
    pub seasons: Option<Seasons>,
    pub skill: Option<f64>,
    pub forecasts: Vec<Forecast>,
}

pub fn predict(series: &Series, horizon: usize, known: Option<usize>) -> Predicted {
    let mut model = blend(horizon, known);
    series.values.iter().for_each(|value| model.observe(*value));
    Predicted {
        name: series.name.clone(),
        values: series.values.len(),
        missing: series.values.iter().filter(|value| value.is_nan()).count(),
        seasons: model.seasons(),
        skill: model.skill(horizon),
        forecasts: model.forecasts(horizon),
    }
}

/// Writes a row per series and step. The file is there whole or not at all.
pub fn write(path: &Path, predicted: &[Predicted]) -> Result<()> {
    let write = || -> Result<()> {
        let file = AtomicWriteFile::open(path)?;
        let mut csv = csv::Writer::from_writer(BufWriter::new(file));
        csv.write_record(["series", "step", "mean", "low", "high"])?;
        for Predicted { name, forecasts, .. } in predicted {
            for (step, Forecast { mean, low, high }) in forecasts.iter().enumerate() {
                let known = |end: &f64| if end.is_finite() { end.to_string() } else { String::new() };
                csv.write_record([name, &(step + 1).to_string(), &mean.to_string(), &known(low), &known(high)])?;
            }
        }
        let buffered = csv.into_inner().map_err(csv::IntoInnerError::into_error)?;
        buffered.into_inner().map_err(io::IntoInnerError::into_error)?.commit()?;
        Ok(())
    };
    write().with_context(|| format!("can't write the forecasts to {}", path.display()))
}
