//! What the policies make of traces, by simulation: how far the busiest worker's load is over the mean, relative to no
//! policy, to the reactive one, and to packing keys in knowledge of the epoch.

#[path = "../examples/simulate/balance/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with an example")]
mod balance;
mod common;
#[path = "../examples/replay/decimal.rs"]
#[allow(dead_code, reason = "shared with an example")]
mod decimal;
#[path = "../examples/replay/epoch.rs"]
#[allow(dead_code, reason = "shared with an example")]
mod epoch;
#[path = "../examples/replay/event.rs"]
#[allow(dead_code, reason = "shared with an example")]
mod event;
#[path = "../examples/simulate/events.rs"]
mod events;
#[path = "../examples/replay/fault.rs"]
#[allow(dead_code, reason = "shared with an example")]
mod fault;
#[path = "../examples/replay/file.rs"]
#[allow(dead_code, reason = "shared with an example")]
mod file;
#[path = "../examples/simulate/rates.rs"]
mod rates;
#[path = "../examples/simulate/recorded.rs"]
mod recorded;
#[path = "../examples/replay/rows.rs"]
#[allow(dead_code, reason = "shared with an example")]
mod rows;
#[path = "../examples/forecast/series.rs"]
#[allow(dead_code, reason = "shared with an example")]
mod series;

use anyhow::Result;
use balance::{Figures, Generated, Kind, Setup, Sight, Simulation, Spread, Trace};
use clap::Parser;
use serde_json::{Value, json};
use thalweg::Config;
use thalweg::policy::{PolicyConfig, Proactive, Reactive};

use crate::recorded::RecordedArguments;

/// An epoch with more is out of balance.
const TARGET: f64 = 1.1;

/// Periods of a cycle that a policy has seen before figures are taken. The files are figured from their first epoch on.
const LEARNING: u64 = 3;

/// State of a key.
const BYTES_PER_KEY: u64 = 64;

/// What workers can process in a cyclic trace, relative to the mean of what comes to each: the peak needs most of them.
const CAPACITY: f64 = 2.2;

/// How a series of rates in a file is spread over keys.
const SPREAD: Spread = Spread { keys: 10_000, zipf: 0.9, seed: 1 };

/// Measures what policies make of made-up traces, or of a file.
#[derive(Parser)]
#[group(skip)]
struct Arguments {
    #[command(flatten)]
    common: common::Arguments,
    #[command(flatten)]
    recorded: RecordedArguments,
    /// Workers.
    #[arg(long, default_value_t = 8)]
    workers: usize,
    #[command(flatten)]
    config: Config,
}

/// What the arms have come to on one trace, in the order in which they are added.
struct Arms {
    fixed: Figures,
    reactive: Figures,
    proactive: Figures,
    oracle: Figures,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    arguments.recorded.validate().map_err(anyhow::Error::msg)?;
    setup(&arguments, arguments.config.policy.clone(), 0).validate().map_err(anyhow::Error::msg)?;
    let (config, mut found) = (&arguments.config, Vec::new());
    heading();
    if let Some((trace, _)) = arguments.recorded.read(SPREAD)? {
        let arms = simulate(&setup(&arguments, config.policy.clone(), 0), trace)?;
        common::finish([("file".to_owned(), arms.show("file"))]);
        return Ok(());
    }
    let made_up = made_up(&arguments);
    for (name, generated) in &made_up {
        let setup = setup(&arguments, config.policy.clone(), LEARNING * generated.period);
        found.push((name.clone(), simulate(&setup, generated.trace())?.show(name)));
    }
    heading_of_resting();
    for (name, generated) in made_up.iter().filter(|(_, made_up)| is_cyclic(made_up.kind)) {
        let capacity = vec![CAPACITY * generated.records / arguments.workers as f64];
        let policy = PolicyConfig { capacity, min_workers: Some(1), ..config.policy.clone() };
        let arms = simulate(&setup(&arguments, policy, LEARNING * generated.period), generated.trace())?;
        found.push((format!("{name}, resting"), arms.show_resting(name)));
    }
    common::finish(found);
    Ok(())
}

fn is_cyclic(kind: Kind) -> bool {
    matches!(kind, Kind::Cycle | Kind::Alternate)
}

/// Traces of all kinds, cycles with several periods and skews.
fn made_up(arguments: &Arguments) -> Vec<(String, Generated)> {
    let epochs = arguments.common.sized(300, 1_000);
    let seeds = arguments.common.sized(1, 3);
    let kinds = [
        (Kind::Steady, 24, 0.9),
        (Kind::Cycle, 24, 0.9),
        (Kind::Cycle, 48, 0.6),
        (Kind::Alternate, 30, 0.9),
        (Kind::Walk, 24, 0.9),
        (Kind::Shift, 40, 0.9),
    ];
    let made_up = |seed: u64| {
        kinds.map(|(kind, period, zipf)| {
            let spread = Spread { keys: 2_000, zipf, seed };
            let name = format!("{kind:?} {period}, seed {seed}").to_lowercase();
            (name, Generated { kind, spread, records: 20_000.0, epochs, period })
        })
    };
    (1..=seeds).flat_map(made_up).collect()
}

fn setup(arguments: &Arguments, policy: PolicyConfig, warm_up: u64) -> Setup {
    let config = Config { policy, ..arguments.config.clone() };
    Setup { workers: arguments.workers, config, can_fold: true, bytes_per_key: BYTES_PER_KEY, warm_up }
}

fn heading() {
    println!("{:24}{:^32}  {:^26}  {:^22}", "", "mean of max/mean", "epochs over 1.1", "epochs 2 % worse than");
    println!(
        "{:24}{:>8}{:>8}{:>8}{:>8}  {:>9}{:>9}{:>8}  {:>10}{:>12}{:>18}",
        "trace", "static", "react", "proact", "oracle", "react", "proact", "of", "static", "reactive", "bytes to react"
    );
}

fn heading_of_resting() {
    println!("\nThe same where workers can be put out of use\n");
    println!("{:24}{:^20}  {:^18}  {:^24}", "", "capacity to", "epochs over 1.1", "epochs with a worker");
    println!("{:24}{:^20}  {:^18}  {:^24}", "", "clairvoyant's", "", "over its capacity");
    println!(
        "{:24}{:>10}{:>10}  {:>9}{:>9}  {:>12}{:>12}",
        "trace", "react", "proact", "react", "proact", "react", "proact"
    );
}

impl Arms {
    /// Prints a line of the first table, and gives the ratios in it.
    fn show(&self, name: &str) -> Value {
        let Arms { fixed, reactive, proactive, oracle } = self;
        let over = [reactive, proactive].map(|figures| figures.over(TARGET));
        let worse = [fixed, reactive].map(|figures| proactive.worse_than(figures, 1.02));
        let bytes = ratio(proactive.moved_bytes as f64, reactive.moved_bytes as f64);
        let shown = bytes.map_or("-".to_owned(), |bytes| format!("{bytes:.2}"));
        print!("{name:24}{:>8.3}{:>8.3}{:>8.3}", fixed.mean(), reactive.mean(), proactive.mean());
        print!("{:>8.3}  {:>9}{:>9}{:>8}", oracle.mean(), over[0], over[1], proactive.ratios.len());
        println!("  {:>10}{:>12}{shown:>18}", worse[0], worse[1]);
        json!({
            "to_static": proactive.mean() / fixed.mean(),
            "to_reactive": proactive.mean() / reactive.mean(),
            "to_oracle": proactive.mean() / oracle.mean(),
            "epochs": proactive.ratios.len(),
            "epochs_over_to_reactive": ratio(over[1] as f64, over[0] as f64),
            "epochs_worse_than_static": worse[0],
            "epochs_worse_than_reactive": worse[1],
            "bytes_to_reactive": bytes,
        })
    }

    /// The same for the second table.
    fn show_resting(&self, name: &str) -> Value {
        let Arms { reactive, proactive, .. } = self;
        print!("{name:24}{:>10.3}{:>10.3}", reactive.capacity_ratio(), proactive.capacity_ratio());
        print!("  {:>9}{:>9}", reactive.over(TARGET), proactive.over(TARGET));
        println!("  {:>12}{:>12}", reactive.over_capacity, proactive.over_capacity);
        json!({
            "capacity_to_clairvoyant": proactive.capacity_ratio(),
            "epochs_over_to_reactive": ratio(proactive.over(TARGET) as f64, reactive.over(TARGET) as f64),
            "epochs_over_capacity": proactive.over_capacity,
        })
    }
}

/// What there is to what there was, where there was any.
fn ratio(ours: f64, theirs: f64) -> Option<f64> {
    (theirs > 0.0).then(|| ours / theirs)
}

fn simulate(setup: &Setup, Trace { keys, epochs, .. }: Trace) -> Result<Arms> {
    let mut simulation = Simulation::new(keys, setup.clone())?;
    let config = || setup.config.policy.clone();
    simulation.fixed("static")?;
    simulation.policy("reactive", Box::new(Reactive::new(config())?))?;
    simulation.policy("proactive", Box::new(Proactive::new(config())?))?;
    simulation.packed("oracle", Sight::Clairvoyant)?;
    epochs.for_each(|epoch| simulation.epoch(&epoch, |_| {}));
    let mut figures = simulation.figures().cloned();
    let mut next = || figures.next().unwrap_or_default();
    Ok(Arms { fixed: next(), reactive: next(), proactive: next(), oracle: next() })
}
