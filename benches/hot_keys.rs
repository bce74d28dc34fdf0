//! What becomes of keys that are hot: the busiest worker's work in an epoch, by hashing, by partial key grouping, by
//! W-Choices, and by this library, where the hottest keys are others every ten epochs.
//!
//! Workers are *logical*: which of them gets what is simulated record by record, with the arms' own decisions, so that
//! 64 need no 64 cores. Of ours, gates find hot keys and the orchestrator decides by the library's own code, and
//! commands take effect after the default lead. What a record, a partial or a move costs a worker is *measured* in this
//! process, as CPU time in a dataflow of one worker, but for moves: these are `MOVE_COST` for each byte. So the
//! makespan is the busiest worker's CPU time in an epoch: of applying records to states, folding them at gates, looking
//! at them there in vain, beginning partials and sending them, taking in partials, and moving states.
//!
//! It is told over the CPU time of applying all records one by one, divided evenly by the workers, where nothing is
//! merged, moved or looked at; and over the fractional optimum, the arm's own work divided evenly. What the source
//! itself costs, choosing a worker, the sketch of W-Choices and the orchestrator are in no arm. Two choices and
//! W-Choices merge the partials of an epoch at a key's first choice. Left out are the epochs before the first redraw: a
//! cold start. The counts of each arm are compared with the stream in every epoch, and those of a dataflow of four
//! workers, whose policy and gates are the default, besides.
//!
//! With `--quick`, two arms are left out: W-Choices with a fresh sketch in each epoch, and commands alone, without
//! gates that find keys.

#[path = "hot_keys/arm.rs"]
mod arm;
#[path = "hot_keys/choices.rs"]
mod choices;
mod common;
#[path = "hot_keys/exact.rs"]
mod exact;
#[path = "hot_keys/ours.rs"]
mod ours;
#[path = "hot_keys/partials.rs"]
mod partials;
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
use serde_json::Value;
use stream::Stream;
use units::Units;

const EXPONENTS: [f64; 3] = [1.0, 1.4, 2.0];
const WORKERS: [usize; 2] = [8, 64];
const REDRAWN_EVERY: u64 = 10;

/// Records of an epoch, in all, for each worker: some 3 ms of work.
const RECORDS_PER_WORKER: usize = 50_000;

/// Bytes of a key's state that moves.
const KEY_BYTES: f64 = 64.0;

/// The makespan over the fractional optimum, and after a redraw over that of W-Choices.
const TO_OPTIMUM: f64 = 1.03;
const TO_CHOICES: f64 = 0.5;

/// Of the arms.
const CHOICES: usize = 2;

/// An epoch of an arm, in CPU time over the optimum.
struct Epoch {
    is_redrawn: bool,
    makespan: f64,
    /// The arm's own work, divided evenly.
    even: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let units = Units::measure(arguments.pairs(), arguments.sized(40, 200));
    let nanos = |seconds: f64| seconds * 1e9;
    println!(
        "CPU ns: {:.1} to apply a record, {:.1} to fold it, {:.1} to pass it on at a gate that folds others, {:.1} at one \
         that found none\n        {:.1} for a partial where it is begun, {:.1} where it is taken in, {:.1} for a key that moves\n",
        nanos(units.apply),
        nanos(units.fold),
        nanos(units.pass),
        nanos(units.spot),
        nanos(units.begin),
        nanos(units.merge),
        nanos(units.r#move)
    );
    println!("{:24}{:18}{:^32}  {:^18}", "", "", "busiest worker over applying all", "over its own mean");
    println!(
        "{:24}{:18}{:>8}{:>8}{:>8}{:>8}  {:>9}{:>9}",
        "", "arm", "redrawn", "worst", "else", "mean", "redrawn", "else"
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
fn simulate(
    arguments: &Arguments,
    exponent: f64,
    workers: usize,
    units: &Units,
) -> Result<Vec<(&'static str, Vec<Epoch>)>> {
    let records = workers * RECORDS_PER_WORKER;
    let redraws = arguments.sized(5, 16);
    let mut stream = Stream::new(exponent, 1);
    let choosing = |choices| -> Box<dyn Arm> { Box::new(Choosing::new(choices, workers, &stream.routing)) };
    let ours = |spots| -> Result<Box<dyn Arm>> { Ok(Box::new(Ours::new(workers, &stream.routing, spots)?)) };
    let mut arms = vec![
        ("hash", choosing(Choices::One)),
        ("two choices", choosing(Choices::Two)),
        ("W-Choices", choosing(Choices::All)),
    ];
    if !arguments.is_quick() {
        arms.extend([("  anew each epoch", choosing(Choices::AllAnew)), ("commands alone", ours(false)?)]);
    }
    arms.push(("ours", ours(true)?));
    let mut epochs: Vec<(&str, Vec<Epoch>)> = arms.iter().map(|(name, _)| (*name, Vec::new())).collect();
    for number in 0..redraws * REDRAWN_EVERY {
        let is_redrawn = number % REDRAWN_EVERY == 0;
        if is_redrawn {
            stream.redraw();
        }
        let keys = stream.epoch(records);
        let mut expected = vec![0; stream.routing.len()];
        keys.iter().for_each(|key| expected[*key as usize] += 1);
        let optimum = records as f64 * units.apply / workers as f64;
        for ((_, arm), (_, epochs)) in arms.iter_mut().zip(&mut epochs) {
            let work = arm.epoch(number, &keys);
            ensure!(work.counts == expected, "counts are not those of the stream");
            if number >= REDRAWN_EVERY {
                let even = work.total(units) / workers as f64 / optimum;
                epochs.push(Epoch { is_redrawn, makespan: work.makespan(units) / optimum, even });
            }
        }
    }
    Ok(epochs)
}

/// Something of the epochs of a kind.
fn of(epochs: &[Epoch], is_redrawn: bool, what: impl Fn(&Epoch) -> f64) -> Sample {
    Sample::of(epochs.iter().filter(|epoch| epoch.is_redrawn == is_redrawn).map(what).collect())
}

/// Prints the lines of a case, and gives its figures.
fn show(name: &str, arms: &[(&str, Vec<Epoch>)]) -> Value {
    for (arm, epochs) in arms {
        let makespan = |is_redrawn| of(epochs, is_redrawn, |epoch| epoch.makespan).median();
        let spread = |is_redrawn| of(epochs, is_redrawn, |epoch| epoch.makespan / epoch.even).median();
        let worst = epochs.iter().map(|epoch| epoch.makespan).fold(0.0, f64::max);
        print!("{name:24}{arm:18}{:>8.3}{worst:>8.3}{:>8.3}", makespan(true), makespan(false));
        println!(
            "{:>8.3}  {:>9.3}{:>9.3}",
            of(epochs, false, |epoch| epoch.even).median(),
            spread(true),
            spread(false)
        );
    }
    let epochs = &arms[arms.len() - 1].1;
    let ours = |is_redrawn| of(epochs, is_redrawn, |epoch| epoch.makespan);
    let one = |is_redrawn| of(epochs, is_redrawn, |_| 1.0);
    let even = |is_redrawn| of(epochs, is_redrawn, |epoch| epoch.even);
    let choices = of(&arms[CHOICES].1, true, |epoch| epoch.makespan);
    let figures = [
        ("redrawn_to_applying_all", ours(true).ratio(&one(true)), TO_OPTIMUM),
        ("else_to_applying_all", ours(false).ratio(&one(false)), TO_OPTIMUM),
        ("redrawn_to_optimum", ours(true).ratio(&even(true)), TO_OPTIMUM),
        ("else_to_optimum", ours(false).ratio(&even(false)), TO_OPTIMUM),
        ("redrawn_to_w_choices", ours(true).ratio(&choices), TO_CHOICES),
    ];
    for (what, ratio, target) in &figures {
        let verdict = if ratio.median <= *target { "reached" } else { "not reached" };
        println!("  {what:22} {ratio}, at most {target}: {verdict}");
    }
    figures
        .into_iter()
        .map(|(what, ratio, _)| (what.to_owned(), ratio.json()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
