//! Forecasts the series in a CSV file, or tells how good such forecasts would have been.
//!
//! ```text
//! cargo run --release --example forecast -- --help
//! ```
//!
//! What a user of the library writes is in `forecast/predict.rs`. The rest reads, measures and reports.

#[path = "forecast/arguments.rs"]
mod arguments;
#[path = "forecast/backtest.rs"]
mod backtest;
#[path = "replay/file.rs"]
#[allow(dead_code, reason = "shared with another example")]
mod file;
#[path = "forecast/measures.rs"]
mod measures;
#[path = "forecast/predict.rs"]
mod predict;
#[path = "forecast/report.rs"]
mod report;
#[path = "forecast/series.rs"]
#[allow(dead_code, reason = "shared with another example")]
mod series;

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressIterator, ProgressStyle};

use crate::arguments::Arguments;
use crate::backtest::Backtest;
use crate::predict::{Predicted, predict, write};
use crate::report::Summary;
use crate::series::Series;

/// What is asked for makes no sense, or the input doesn't.
const REFUSED: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let refused = |error| fail(&error, ExitCode::from(REFUSED));
    let series = match arguments.validate().and_then(|()| arguments.input.read()) {
        Ok(series) => series,
        Err(error) => return refused(error),
    };
    match run(&arguments, &series) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, ExitCode::FAILURE),
    }
}

fn fail(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {error:#}");
    code
}

fn run(arguments: &Arguments, series: &[Series]) -> Result<()> {
    let (horizon, known) = (arguments.horizon.get(), arguments.season.known());
    if let Some(output) = &arguments.output {
        let start = Instant::now();
        let predicted: Vec<Predicted> = with_bar(series).map(|series| predict(series, horizon, known)).collect();
        let seconds = start.elapsed().as_secs_f64();
        write(output, &predicted)?;
        print(&Summary { predicted: &predicted, horizon, output: output.display().to_string(), seconds })?;
    }
    if arguments.backtest {
        let every = arguments.every.map_or(horizon + 1, NonZeroUsize::get);
        let mut backtest = Backtest::new(horizon, arguments.origins.get(), every, known);
        with_bar(series).for_each(|series| backtest.add(&series.values));
        print(&backtest)?;
    }
    Ok(())
}

/// Shows on the terminal how many series are done; nothing where standard error isn't one.
fn with_bar(series: &[Series]) -> impl Iterator<Item = &Series> {
    let style = ProgressStyle::with_template("{percent:>3} % {bar:12} series {pos} of {len}, {eta} to go");
    let bar = ProgressBar::new(series.len() as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    series.iter().progress_with(bar.with_finish(indicatif::ProgressFinish::AndClear))
}

/// Shows a report; that nobody wants to read to its end is no error.
fn print(report: &impl Display) -> Result<()> {
    match write!(io::stdout().lock(), "{report}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("can't write the report"),
        _ => Ok(()),
    }
}
