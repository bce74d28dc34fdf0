//! Checkpoint triggers on arrivals of many kinds, driven as by `simulate checkpoint`, and that program as a user runs
//! it.

#[path = "../examples/simulate/checkpoint/mod.rs"]
#[allow(dead_code, reason = "an example's")]
mod checkpoint;
#[path = "../examples/replay/file.rs"]
#[allow(dead_code, reason = "an example's")]
mod file;
#[path = "../examples/forecast/series.rs"]
#[allow(dead_code, reason = "an example's")]
mod series;
#[path = "../benches/common/traces.rs"]
mod traces;

use std::fs;
use std::process::{Command, Output, Stdio};

use checkpoint::compare::{Comparison, RULES, compare};
use checkpoint::setting::Setting;
use serde_json::Value;
use tempfile::TempDir;
use thalweg::checkpoint::CostModel;

const EPOCHS: usize = 2_500;
const INTEGRAL: usize = 2;
const FORESIGHT: usize = 3;
const CLAIRVOYANT: usize = 4;

/// The cost of a rule relative to the best fixed interval.
fn ratio(comparison: &Comparison, model: CostModel, rule: usize) -> f64 {
    let compared = comparison.iter().find(|compared| compared.costs.model == model).unwrap();
    compared.outcomes[rule].cost / compared.outcomes[0].cost
}

/// Under `backlog` a checkpoint in a burst costs hundreds of others, so that where bursts come by chance one more or
/// less is chance too; elsewhere the first mistakes, before anything is known, weigh as much.
fn allowed(name: &str, model: CostModel) -> Option<f64> {
    match (name, model) {
        ("bursts" | "flash crowd", CostModel::Backlog) => None,
        (_, CostModel::Backlog) => Some(1.1),
        _ => Some(1.02),
    }
}

#[test]
fn foresight_is_nowhere_worse_than_the_best_fixed_interval() {
    for (name, make) in traces::KINDS {
        let comparison = compare(&make(EPOCHS, 7), &Setting { interval: 20.0, ..Setting::default() }).unwrap();
        for model in CostModel::ALL {
            let [integral, foresight, clairvoyant] =
                [INTEGRAL, FORESIGHT, CLAIRVOYANT].map(|rule| ratio(&comparison, model, rule));
            assert!(clairvoyant <= 1.0 + 1e-9 && clairvoyant <= foresight.min(integral) + 1e-9, "{name} {model}");
            let allowed = allowed(name, model).unwrap_or(f64::INFINITY);
            assert!(foresight <= allowed, "{name} {model}: {foresight}, integral {integral}");
        }
    }
}

#[test]
fn foresight_comes_near_the_optimum_where_arrivals_repeat_themselves() {
    for (name, make) in traces::KINDS.into_iter().filter(|kind| ["on and off", "nights off"].contains(&kind.0)) {
        let comparison = compare(&make(EPOCHS, 3), &Setting::default()).unwrap();
        for model in CostModel::ALL {
            let [integral, foresight, clairvoyant] =
                [INTEGRAL, FORESIGHT, CLAIRVOYANT].map(|rule| ratio(&comparison, model, rule));
            let gained = (integral - foresight) / (integral - clairvoyant);
            assert!(gained >= 0.3, "{name} {model}: {integral} {foresight} {clairvoyant}");
        }
    }
}

#[test]
fn deciding_is_a_function_of_what_was_seen() {
    let (_, make) = traces::KINDS[3];
    let [first, second] = [0, 1].map(|_| compare(&make(500, 5), &Setting::default()).unwrap());
    for (first, second) in first.iter().zip(&second) {
        for (first, second) in first.outcomes.iter().zip(&second.outcomes) {
            assert_eq!((&first.checkpoints, &first.reasons), (&second.checkpoints, &second.reasons));
        }
    }
}

/// `cargo test` builds the examples next to the tests.
fn simulate(folder: &TempDir, arguments: &str) -> Output {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples/simulate");
    assert!(program.is_file(), "{} is missing: build it with `cargo build --example simulate`", program.display());
    let mut command = Command::new(program);
    command.current_dir(folder).args(["checkpoint", "--input", "in.csv", "--time-column", "t", "--value-column", "v"]);
    command.args(arguments.split_whitespace()).stdin(Stdio::null()).output().unwrap()
}

fn folder(values: impl IntoIterator<Item = f64>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = values.into_iter().enumerate().map(|(t, v)| format!("{},{v}\n", t * 300)).collect();
    fs::write(folder.path().join("in.csv"), format!("t,v\n{rows}")).unwrap();
    folder
}

#[test]
fn the_program_prints_ratios_and_writes_an_event_per_epoch_and_rule() {
    let folder = folder(traces::KINDS[5].1(600, 1));
    let output = simulate(&folder, "--events out.jsonl --interval 15 --lead 2");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("geometric mean"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("in ")).count(), CostModel::ALL.len());
    let events = fs::read_to_string(folder.path().join("out.jsonl")).unwrap();
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 600 * RULES.len() * CostModel::ALL.len());
    let taken = |rule: &str| events.iter().filter(|e| e["rule"] == rule && e["checkpoint"] == true).count();
    assert!(taken("foresight") > 10 && taken("clairvoyant") > 10);
    let reason = events.iter().find(|e| e["rule"] == "foresight" && e["checkpoint"] == true).unwrap();
    assert!(reason["reason"].is_string());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |values: &[f64], arguments: &str, why: &str| {
        let output = simulate(&folder(values.iter().copied()), arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(why), "{error}");
    };
    refused(&[3.0, -1.0], "", "epoch 1 is -1");
    refused(&[0.0, 0.0], "", "no record arrives");
    refused(&[1.0, 2.0], "--interval 0", "above 0");
    refused(&[1.0, 2.0], "--lead 0", "--lead");
    refused(&[1.0, 2.0], "--events nowhere/out.jsonl", "can't create the events nowhere/out.jsonl");
}
