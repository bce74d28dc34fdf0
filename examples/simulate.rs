//! Runs policies and checkpoint triggers over a trace without a dataflow: the very same code, as fast as it decides.
//!
//! ```text
//! cargo run --release --example simulate -- balance
//! cargo run --release --example simulate -- checkpoint --input rates.csv --time-column ts_s --value-column count
//! cargo run --release --example simulate -- --help
//! ```
//!
//! How policies are simulated is in `simulate/balance/`, how triggers are in `simulate/checkpoint/`. The rest is the
//! command line, what is read for `balance`, and what is written of it.

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
#[path = "simulate/output.rs"]
mod output;
#[path = "simulate/rates.rs"]
mod rates;
#[path = "simulate/recorded.rs"]
mod recorded;
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
use clap::error::ErrorKind::ValueValidation;
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::arguments::BalanceArguments;
use crate::checkpoint::CheckpointArguments;

/// Runs policies and checkpoint triggers over a trace without a dataflow: the very same code, as fast as it decides.
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
    let what = arguments();
    let result = match &what {
        What::Balance(arguments) => run::run(arguments),
        What::Checkpoint(arguments) => {
            let traces = checkpoint::read(arguments).context(Refused);
            traces.and_then(|traces| checkpoint::run(arguments, traces))
        }
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    let _ = writeln!(io::stderr(), "error: {error:#}");
    if error.is::<Refused>() { ExitCode::from(Refused::CODE) } else { ExitCode::FAILURE }
}

/// What is asked for. Where that makes no sense, the program says so and ends.
fn arguments() -> What {
    let command = Arguments::command().mut_subcommands(|command| command.mut_args(allow_negative_numbers));
    let matches = command.get_matches();
    let mut what = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).what;
    let valid = match (&mut what, matches.subcommand()) {
        (What::Balance(arguments), Some((_, matches))) => {
            arguments.complete(matches);
            arguments.validate()
        }
        (What::Balance(arguments), None) => arguments.validate(),
        (What::Checkpoint(arguments), _) => output::validate(arguments.events.as_deref(), Some(&arguments.input.input)),
    };
    if let Err(why) = valid {
        Arguments::command().error(ValueValidation, why).exit();
    }
    what
}

/// A number below 0 is taken for a value, so that what is said of it is why it can't be one.
fn allow_negative_numbers(arg: Arg) -> Arg {
    let takes_values = arg.get_action().takes_values();
    arg.allow_negative_numbers(takes_values)
}

/// Shows a report; that nobody wants to read to its end is no error.
fn print(report: &impl Display) -> Result<()> {
    match write!(io::stdout().lock(), "{report}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("can't write the report"),
        _ => Ok(()),
    }
}
