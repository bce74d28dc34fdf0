//! Kills runs of `replay` at random, resumes them in another shape, and compares what they leave behind with a run
//! that nothing happened to, byte by byte.
//!
//! ```text
//! cargo build --release --features fault-points --example replay
//! cargo run --release --features fault-points --example chaos -- --seeds 100
//! ```

#[path = "chaos/arguments.rs"]
mod arguments;
#[path = "chaos/attempt.rs"]
mod attempt;
#[path = "chaos/output.rs"]
mod output;
#[path = "chaos/plan.rs"]
mod plan;
#[path = "common/random.rs"]
mod random;
#[path = "chaos/recovery.rs"]
mod recovery;
#[path = "chaos/replay.rs"]
mod replay;
#[path = "chaos/run.rs"]
mod run;
#[path = "chaos/tally.rs"]
mod tally;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use anyhow::Result;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::arguments::Arguments;
use crate::replay::Replay;
use crate::run::{Workshop, run};
use crate::tally::Tally;

fn main() -> ExitCode {
    match chaos(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs all seeds; whether all outputs were right.
fn chaos(arguments: &Arguments) -> Result<bool> {
    let replay = Replay::find(arguments.replay.as_deref())?;
    if !replay.has_fault_points() {
        let hint = "build it with `--features fault-points` to have it killed at named points too";
        writeln!(io::stderr(), "note: {} has no fault points: {hint}", replay.name())?;
    }
    let workshop = Workshop::new(arguments, replay)?;
    let bar = ProgressBar::new(arguments.seeds);
    let style = ProgressStyle::with_template("{pos} of {len} runs {bar:20} {msg}, {eta} to go");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let (next, mut tally) = (AtomicU64::new(0), Tally::default());
    thread::scope(|scope| {
        let (sender, results) = channel();
        for job in 0..arguments.jobs {
            let (sender, next, workshop) = (sender.clone(), &next, &workshop);
            scope.spawn(move || {
                while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < arguments.seeds) {
                    let seed = arguments.seed.wrapping_add(index);
                    if sender.send((seed, run(workshop, job, seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (seed, result) in results {
            if let Err(wrong) = &result.verdict {
                bar.suspend(|| _ = writeln!(io::stderr(), "seed {seed}: {wrong:#}"));
            }
            tally.add(seed, result);
            bar.set_message(format!("{} kills, {} wrong", tally.kills(), tally.wrong()));
            bar.inc(1);
        }
    });
    bar.finish_and_clear();
    writeln!(io::stdout(), "{}", tally.line()?)?;
    Ok(tally.wrong() == 0)
}
