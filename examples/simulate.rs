//! Drives the library's decisions over a trace, without a dataflow, and tells what they would have been worth.
//!
//! ```text
//! cargo run --release --example simulate -- --help
//! ```

#[path = "simulate/checkpoint/mod.rs"]
mod checkpoint;
#[path = "replay/file.rs"]
#[allow(dead_code, reason = "shared with another example")]
mod file;
#[path = "forecast/series.rs"]
mod series;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::checkpoint::CheckpointArguments;

/// Drives the library's decisions over a trace, and tells what they would have been worth.
#[derive(Parser)]
#[command(name = "simulate", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// When checkpoints are taken, and what they and failures cost: each trigger relative to the best fixed interval.
    Checkpoint(CheckpointArguments),
}

fn main() -> ExitCode {
    let Command::Checkpoint(arguments) = Arguments::parse().command;
    match checkpoint::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
