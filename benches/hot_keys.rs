//! What becomes of keys that are hot: the busiest worker's work in an epoch, by hashing, by partial key grouping, by
//! W-Choices, and by this library, where the hottest keys are others every ten epochs.
//!
//! Workers are *logical*: which of them gets what is simulated record by record, with the arms' own decisions, so that
//! 64 need no 64 cores. Of ours, gates find hot keys and the orchestrator decides by the library's own code, and commands
//! take effect after the default lead. What a record, a partial or a move costs a worker is *measured* in this process,
//! as CPU time in a dataflow of one worker. So the makespan is the busiest worker's CPU time in an epoch: of applying
//! records to states, folding them at gates, looking at them there in vain, taking in partials, and moving states.
//!
//! The fractional optimum is the CPU time of applying all records, divided evenly by the workers: nothing is merged,
//! moved or looked at. What the source itself costs, choosing a worker, the sketch of W-Choices and the orchestrator are
//! in no arm. Two choices and W-Choices merge the partials of an epoch at a key's first choice. Left out are the epochs
//! before the second redraw, of which the first is a cold start. That counts are exact is checked in a dataflow of four
//! workers, whose policy and gates are the default.

#[path = "hot_keys/arm.rs"]
mod arm;
#[path = "hot_keys/choices.rs"]
mod choices;
mod common;
#[path = "hot_keys/exact.rs"]
mod exact;
#[path = "hot_keys/ours.rs"]
mod ours;
#[path = "hot_keys/stream.rs"]
mod stream;
#[path = "hot_keys/units.rs"]
mod units;

use anyhow::{Result, ensure};
use arm::Arm;
use choices::{Choices, Choosing};
use clap::Parser;
use common::{Arguments, Sample, finish};
use ours::Ours;
use serde_json::{Value, json};
use stream::Stream;
use units::Units;

const EXPONENTS: [f64; 3] = [1.0, 1.4, 2.0];
const WORKERS: [usize; 2] = [8, 64];
const REDRAWN_EVERY: u64 = 10;

/// Bytes of a key's state that moves.
const KEY_BYTES: f64 = 64.0;

/// The makespan over the fractional optimum, and after a redraw over that of W-Choices.
const TO_OPTIMUM: f64 = 1.03;
const TO_CHOICES: f64 = 0.5;

const ARMS: [&str; 6] = ["hash", "two choices", "W-Choices", "  anew each epoch", "commands alone", "ours"];
const CHOICES: usize = 2;
const OURS: usize = 5;

/// The makespans of an arm, over the optimum.
#[derive(Default)]
struct Makespans {
    redrawn: Vec<f64>,
    others: Vec<f64>,
    /// The work of all workers.
    total: Vec<f64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let units = Units::measure(arguments.pairs(), arguments.sized(40, 200));
    let nanos = |seconds: f64| seconds * 1e9;
    println!(
        "CPU ns: {:.1} to apply a record, {:.1} to fold it, {:.1} to look at it in vain, {:.1} for a partial, {:.1} for \
         a key that moves\n",
        nanos(units.apply),
        nanos(units.fold),
        nanos(units.pass),
        nanos(units.partial),
        nanos(units.r#move)
    );
    println!("{:22}{:20}{:^34}{:>14}", "", "", "busiest worker over the optimum", "all workers");
    println!(
        "{:22}{:20}{:>10}{:>10}{:>14}{:>14}",
        "zipf, workers", "arm", "redrawn", "worst", "other epochs", "over optimum"
    );
    let mut found = vec![("units_to_apply".to_owned(), units.json())];
    for workers in WORKERS {
        for exponent in EXPONENTS {
            let name = format!("zipf {exponent:.1}, {workers} workers");
            found.push((name.clone(), show(&name, &simulate(&arguments, exponent, workers, &units)?)));
        }
    }
    for exponent in EXPONENTS {
        ensure!(exact::is_exact(exponent), "counts are not those of a sequential program, with zipf {exponent}");
    }
    println!("\ncounts of a dataflow are exact");
    finish(found);
    Ok(())
}

/// Runs all arms on the same records.
fn simulate(arguments: &Arguments, exponent: f64, workers: usize, units: &Units) -> Result<Vec<Makespans>> {
    let records = workers * arguments.sized(50_000, 100_000) as usize;
    let redraws = arguments.sized(4, 17);
    let mut stream = Stream::new(exponent, 1);
    let choosing = |choices| -> Box<dyn Arm> { Box::new(Choosing::new(choices, workers, &stream.routing)) };
    let mut arms =
        [Choices::One, Choices::Two, Choices::All, Choices::AllAnew].map(choosing).into_iter().collect::<Vec<_>>();
    for spots in [false, true] {
        arms.push(Box::new(Ours::new(workers, &stream.routing, spots)?));
    }
    let mut makespans: Vec<Makespans> = arms.iter().map(|_| Makespans::default()).collect();
    for epoch in 0..redraws * REDRAWN_EVERY {
        let is_redrawn = epoch % REDRAWN_EVERY == 0;
        if is_redrawn {
            stream.redraw();
        }
        let keys = stream.epoch(records);
        let optimum = records as f64 * units.apply / workers as f64;
        for (arm, makespans) in arms.iter_mut().zip(&mut makespans) {
            let work = arm.epoch(epoch, &keys);
            ensure!(work.records() == records as u64, "records are lost");
            if epoch >= 2 * REDRAWN_EVERY {
                let of_kind = if is_redrawn { &mut makespans.redrawn } else { &mut makespans.others };
                of_kind.push(work.makespan(units) / optimum);
                makespans.total.push(work.total(units) / optimum / workers as f64);
            }
        }
    }
    Ok(makespans)
}

/// Prints the lines of a case, and gives its figures.
fn show(name: &str, arms: &[Makespans]) -> Value {
    let sample = |values: &Vec<f64>| Sample::of(values.clone());
    for (arm, makespans) in ARMS.iter().zip(arms) {
        let worst = makespans.redrawn.iter().copied().fold(0.0, f64::max);
        let [redrawn, others, total] = [&makespans.redrawn, &makespans.others, &makespans.total].map(sample);
        let (redrawn, others, total) = (redrawn.median(), others.median(), total.median());
        println!("{name:22}{arm:20}{redrawn:>10.3}{worst:>10.3}{others:>14.3}{total:>14.3}");
    }
    let (ours, choices) = (&arms[OURS], &arms[CHOICES]);
    let ones = |values: &Vec<f64>| Sample::of(vec![1.0; values.len()]);
    let redrawn = sample(&ours.redrawn).ratio(&ones(&ours.redrawn));
    let others = sample(&ours.others).ratio(&ones(&ours.others));
    let to_choices = sample(&ours.redrawn).ratio(&sample(&choices.redrawn));
    let verdict = |ratio: &common::Ratio, target: f64| if ratio.median <= target { "reached" } else { "not reached" };
    println!(
        "  over the optimum, at most {TO_OPTIMUM}: redrawn {redrawn}: {}, else {others}: {}",
        verdict(&redrawn, TO_OPTIMUM),
        verdict(&others, TO_OPTIMUM)
    );
    println!("  over W-Choices when redrawn, at most {TO_CHOICES}: {to_choices}: {}", verdict(&to_choices, TO_CHOICES));
    json!({ "redrawn_to_optimum": redrawn.json(), "to_optimum": others.json(), "redrawn_to_w_choices": to_choices.json() })
}
