//! The `balance` subcommand: from a trace to a table.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use thalweg::policy::{Proactive, Reactive};

use crate::arguments::{BalanceArguments, Choice};
use crate::balance::{Sight, Simulation, Trace};
use crate::log::Log;
use crate::report::Report;
use crate::{Refused, input, print};

/// The arm with which the others are compared.
const FIXED: &str = "static";

/// Simulates what the arguments say, and prints what came of it.
pub fn run(arguments: &BalanceArguments) -> Result<()> {
    let (Trace { keys, epochs, length }, skipped) = input::open(&arguments.input).context(Refused)?;
    outlasts_warm_up(length, arguments).context(Refused)?;
    let mut log = arguments.events.as_deref().map(Log::create).transpose()?;
    let distinct = keys.len();
    let mut simulation = Simulation::new(keys, arguments.setup())?;
    simulation.fixed(FIXED)?;
    for choice in &arguments.policy {
        add(&mut simulation, *choice, arguments)?;
    }
    let is_wanted = |name: &str| name != FIXED || arguments.policy.contains(&Choice::Static);
    let bar = bar(length);
    let (mut records, mut count) = (0, 0);
    for epoch in epochs {
        let mut written = Ok(());
        simulation.epoch(&epoch, |line| match &mut log {
            Some(log) if is_wanted(line.arm) && written.is_ok() => written = log.write(&epoch, &line),
            _ => {}
        });
        written?;
        records += epoch.records();
        count += u64::from(!epoch.counts.is_empty());
        bar.inc(1);
    }
    bar.finish_and_clear();
    outlasts_warm_up(count, arguments).context(Refused)?;
    log.map_or(Ok(()), Log::finish)?;
    let Some(fixed) = simulation.figures().next() else { return Ok(()) };
    print(&Report {
        skipped,
        fixed,
        figures: simulation.figures().filter(|figures| is_wanted(&figures.name)).collect(),
        records,
        epochs: count,
        keys: distinct,
        workers: arguments.workers,
        shards: arguments.config.shards,
        target: arguments.target,
        capacity: !arguments.config.policy.capacity.is_empty(),
    })
}

/// Refuses a trace of which nothing is left to take figures of.
fn outlasts_warm_up(epochs: u64, arguments: &BalanceArguments) -> Result<()> {
    match arguments.warm_up {
        _ if epochs == 0 => bail!("no epoch has a record"),
        warm_up if warm_up >= epochs => bail!("--warm-up {warm_up} leaves none of {epochs} epochs: make it less"),
        _ => Ok(()),
    }
}

fn add(simulation: &mut Simulation, choice: Choice, arguments: &BalanceArguments) -> Result<()> {
    let (name, config) = (choice.name(), arguments.config.policy.clone());
    match choice {
        Choice::Static => {}
        Choice::Reactive => simulation.policy(&name, Box::new(Reactive::new(config)?))?,
        Choice::Proactive => simulation.policy(&name, Box::new(Proactive::new(config)?))?,
        Choice::Lag1 => simulation.packed(&name, Sight::Previous)?,
        Choice::Oracle => simulation.packed(&name, Sight::Clairvoyant)?,
    }
    Ok(())
}

/// Shows on the terminal how far the simulation has come; nothing where standard error isn't one.
fn bar(epochs: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{percent:>3} % {bar:12} epoch {pos} of {len}, {eta} to go");
    let bar = ProgressBar::new(epochs).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
