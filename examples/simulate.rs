//! Runs policies over a trace without a dataflow: the very same code, as fast as it decides.
//!
//! ```text
//! cargo run --release --example simulate -- balance
//! cargo run --release --example simulate -- --help
//! ```
//!
//! What is simulated, and how, is in `simulate/balance/`. The rest reads and reports.

#[path = "simulate/arguments.rs"]
mod arguments;
#[path = "simulate/balance/mod.rs"]
#[allow(dead_code, reason = "shared with tests and benches")]
mod balance;
#[path = "simulate/checkpoint/mod.rs"]
#[allow(dead_code, reason = "shared with tests and benches")]
mod checkpoint;
#[path = "replay/decimal.rs"]
#[allow(dead_code, reason = "shared with another example")]
mod decimal;
#[path = "replay/epoch.rs"]
#[allow(dead_code, reason = "shared with another example")]
mod epoch;
#[path = "replay/event.rs"]
#[allow(dead_code, reason = "shared with another example")]
mod event;
#[path = "simulate/events.rs"]
mod events;
#[path = "replay/fault.rs"]
mod fault;
#[path = "replay/file.rs"]
#[allow(dead_code, reason = "shared with another example")]
mod file;
#[path = "simulate/input.rs"]
mod input;
#[path = "simulate/log.rs"]
mod log;
#[path = "simulate/rates.rs"]
mod rates;
#[path = "simulate/report.rs"]
mod report;
#[path = "replay/rows.rs"]
#[allow(dead_code, reason = "shared with another example")]
mod rows;
#[path = "simulate/run.rs"]
mod run;
#[path = "forecast/series.rs"]
mod series;

use std::fmt::{self, Display};
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};

use crate::arguments::BalanceArguments;
use crate::checkpoint::CheckpointArguments;

/// Runs policies over a trace without a dataflow: the very same code, as fast as it decides.
#[derive(Debug, Parser)]
#[command(name = "simulate", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Balance(Box<BalanceArguments>),
    Checkpoint(Box<CheckpointArguments>),
}

/// What is asked for makes no sense, or the input doesn't.
#[derive(Debug)]
struct Refused;

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this can't be simulated")
    }
}

impl Refused {
    const CODE: u8 = 2;
}

fn main() -> ExitCode {
    let result = match Arguments::parse().what {
        What::Balance(arguments) => {
            if let Err(what) = arguments.validate() {
                Arguments::command().error(clap::error::ErrorKind::ValueValidation, what).exit();
            }
            run::run(&arguments)
        }
        What::Checkpoint(arguments) => {
            let series = arguments.input.read().map_err(|error| error.context(Refused));
            series.and_then(|series| checkpoint::run(&arguments, series))
        }
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    let _ = writeln!(io::stderr(), "error: {error:#}");
    if error.is::<Refused>() { ExitCode::from(Refused::CODE) } else { ExitCode::FAILURE }
}

/// Shows a report; that nobody wants to read to its end is no error.
fn print(report: &impl Display) -> Result<()> {
    match write!(io::stdout().lock(), "{report}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("can't write the report"),
        _ => Ok(()),
    }
}
