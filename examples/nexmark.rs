//! Runs the queries of the NEXMark benchmark, over Thalweg's operators and as plain timely programs.
//!
//! ```text
//! cargo run --release --example nexmark -- --query 5 --rate 100000 --duration 20 --workers 2 --verify
//! cargo run --release --example nexmark -- --help
//! ```
//!
//! Each query is a file, `nexmark/q1.rs` to `nexmark/q8.rs`: how the two programs in it differ is what a user changes.
//! The rest makes events, feeds, measures and reports.

#[path = "nexmark/arguments.rs"]
mod arguments;
#[path = "nexmark/closed.rs"]
mod closed;
#[path = "nexmark/event.rs"]
mod event;
#[path = "nexmark/generate.rs"]
mod generate;
#[path = "nexmark/latency.rs"]
mod latency;
#[path = "nexmark/migrate.rs"]
mod migrate;
#[path = "nexmark/q1.rs"]
mod q1;
#[path = "nexmark/q2.rs"]
mod q2;
#[path = "nexmark/q3.rs"]
mod q3;
#[path = "nexmark/q4.rs"]
mod q4;
#[path = "nexmark/q5.rs"]
mod q5;
#[path = "nexmark/q6.rs"]
mod q6;
#[path = "nexmark/q7.rs"]
mod q7;
#[path = "nexmark/q8.rs"]
mod q8;
#[path = "nexmark/report.rs"]
mod report;
#[path = "nexmark/run.rs"]
mod run;
#[path = "nexmark/verify.rs"]
mod verify;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use thalweg::Error;
use timely::dataflow::StreamVec;

use crate::arguments::Arguments;
use crate::event::Inputs;
use crate::generate::Generator;
use crate::migrate::{Adaptivity, Keys};
use crate::report::{Arm, Report};
use crate::run::{Outcome, Row, run};
use crate::verify::Differences;

fn main() -> ExitCode {
    match query(&Arguments::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn query(arguments: &Arguments) -> Result<()> {
    let period = arguments.epoch;
    match arguments.query {
        1 => compare(arguments, q1::plain, q1::thalweg),
        2 => compare(arguments, q2::plain, q2::thalweg),
        3 => compare(arguments, q3::plain, q3::thalweg),
        4 => compare(arguments, move |inputs| q4::plain(inputs, period), q4::thalweg),
        5 => compare(arguments, q5::plain, q5::thalweg),
        6 => compare(arguments, move |inputs| q6::plain(inputs, period), q6::thalweg),
        7 => compare(arguments, q7::plain, q7::thalweg),
        _ => compare(arguments, q8::plain, q8::thalweg),
    }
}

/// Runs the one, then the other, and says how they compare.
fn compare<R: Row, P, T>(arguments: &Arguments, plain: P, thalweg: T) -> Result<()>
where
    P: for<'scope> Fn(Inputs<'scope>) -> StreamVec<'scope, u64, R> + Send + Sync + 'static,
    T: for<'scope> Fn(Inputs<'scope>, &Keys<'scope>) -> Result<StreamVec<'scope, u64, R>, Error>,
    T: Send + Sync + 'static,
{
    let adaptivity = Adaptivity::new(arguments)?;
    let adapting = adaptivity.clone();
    let mut plain = run(arguments, move |inputs| Ok(plain(inputs)))?;
    let mut thalweg = run(arguments, move |inputs| {
        let keys = adapting.begin(inputs.bids.scope())?;
        Ok(thalweg(inputs, &keys)?)
    })?;
    let commanded = adaptivity.commanded();
    let differences = arguments
        .verify
        .then(|| Differences::between(std::mem::take(&mut plain.rows), std::mem::take(&mut thalweg.rows)));
    let events = Generator::new(arguments.seed, arguments.rate, arguments.hot_dwell).first_at(arguments.ticks());
    let arm = |outcome: Outcome<R>| Arm {
        latencies: outcome.latencies,
        rows: outcome.count,
        seconds: outcome.elapsed.as_secs_f64(),
    };
    let moving = thalweg.latencies.moving(commanded.moved_at.iter().copied());
    let report = Report { arguments, events, plain: arm(plain), thalweg: arm(thalweg), moving, commanded, differences };
    if let Some(path) = &arguments.results {
        report.write_windows(path)?;
    }
    write!(io::stdout().lock(), "{report}").context("can't show the report")?;
    match report.differences.filter(|differences| !differences.is_empty()) {
        Some(_) => bail!("the output is not the plain program's"),
        None => Ok(()),
    }
}
