//! The program, run as a user runs it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::run::{fails, succeeds};

/// A file in a directory of its own.
fn file(name: &str, text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    (directory, path)
}

/// Some events: a few keys that take turns in being hot.
fn events() -> String {
    let mut text = "time,key\n".to_owned();
    let mut state = 7u64;
    for i in 0..12_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (ball, hot) = ((state >> 33) % 100, i / 1_000 % 3);
        let key = if ball < 40 { hot * 7 } else { ball };
        text += &format!("{i},key-{key}\n");
    }
    text
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A figure of one policy, by epoch.
fn of(lines: &[Value], policy: &str, figure: &str) -> Vec<f64> {
    lines.iter().filter(|line| line["policy"] == policy).map(|line| line[figure].as_f64().unwrap()).collect()
}

/// Where profiles hold every record, and it does not matter how large states are, or to which worker a source gives
/// what, the simulation tells what the dataflow did.
#[test]
fn it_tells_what_a_dataflow_does() {
    let (directory, input) = file("events.csv", &events());
    let (replayed, simulated) = (directory.path().join("replay.jsonl"), directory.path().join("simulate.jsonl"));
    for lead in [1, 3] {
        let flags = format!(
            "--input {} --time-column time --key-columns key --epoch-records 300 --workers 4 --shards 32 \
             --lead {lead} --sample 1 --move-cost 0 --fold-share 100",
            input.display()
        );
        succeeds("replay", &format!("{flags} --policy reactive --events {}", replayed.display()));
        succeeds("simulate", &format!("balance {flags} --policy static,reactive --events {}", simulated.display()));
        let (replayed, simulated) = (lines(&replayed), lines(&simulated));
        let of_replay = |figure: &str| replayed.iter().map(|line| line[figure].as_f64().unwrap()).collect::<Vec<_>>();
        assert_eq!(of(&simulated, "static", "max_mean"), of_replay("static_max_mean"));
        assert_eq!(of(&simulated, "reactive", "max_mean"), of_replay("max_mean"));
        assert_eq!(replayed.len(), 40);
        let moved = of(&simulated, "reactive", "moved_bytes");
        assert!(moved.iter().zip(of_replay("moved_bytes")).all(|(ours, theirs)| (*ours > 0.0) == (theirs > 0.0)));
        assert!(moved.iter().any(|bytes| *bytes > 0.0), "it would tell nothing if nothing had moved");
    }
}

#[test]
fn events_have_a_line_per_epoch_and_policy() {
    let (directory, input) = file("events.csv", &events());
    let output = directory.path().join("simulate.jsonl");
    let flags = format!("--input {} --time-column time --time-unit s --key-columns key --epoch 25m", input.display());
    let printed = succeeds("simulate", &format!("balance {flags} --events {}", output.display()));
    let lines = lines(&output);
    let policies = ["static", "reactive", "proactive", "lag-1", "oracle"];
    assert_eq!(lines.len(), policies.len() * 8);
    for (i, line) in lines.iter().enumerate() {
        assert_eq!((line["epoch"].as_u64(), line["policy"].as_str()), (Some(i as u64 / 5), Some(policies[i % 5])));
        let figure = |name: &str| line[name].as_f64().unwrap();
        assert_eq!(figure("mean_load") * figure("workers_in_use"), figure("records"));
        assert!((figure("max_mean") * figure("mean_load") / figure("max_load") - 1.0).abs() < 1e-12);
    }
    assert_eq!(of(&lines, "oracle", "records").iter().sum::<f64>(), 12_000.0);
    for policy in policies {
        assert_eq!(printed.lines().filter(|line| line.starts_with(policy)).count(), 2, "{printed}");
    }
    let fewer = succeeds("simulate", &format!("balance {flags} --policy oracle --events {}", output.display()));
    assert!(!fewer.contains("\nstatic"), "{fewer}");
    assert_eq!(self::lines(&output).len(), 8);
}

#[test]
fn rates_are_spread_over_keys() {
    let rates: String =
        (0..50).map(|i| format!("{},{}\n", 300 * i, if i == 20 { 0 } else { 1_000 + 10 * i })).collect();
    let (_directory, input) = file("rates.csv", &format!("ts_s,count\n{rates}"));
    let flags = format!("--input {} --time-column ts_s --value-column count", input.display());
    let printed = succeeds("simulate", &format!("balance {flags} --keys 200 --scale 2 --zipf 0 --policy static"));
    assert!(printed.contains("of 200 keys in 49 epochs"), "{printed}");
    let records: f64 = printed.split_whitespace().nth(1).unwrap().replace(',', "").parse().unwrap();
    let expected = 2.0 * (0..50).filter(|i| *i != 20).map(|i| 1_000.0 + 10.0 * f64::from(i)).sum::<f64>();
    assert!((records / expected - 1.0).abs() < 0.02, "{records} of {expected}");
}

#[test]
fn each_series_is_a_key_and_begins_when_it_begins() {
    let rows = "a,0,10\na,60,20\na,120,30\nb,60,5.4\nb,120,\nc,0,1\nc,120,2\n";
    let (directory, input) = file("series.csv", &format!("s,t,v\n{rows}"));
    let output = directory.path().join("simulate.jsonl");
    let columns = "--time-column t --value-column v --series-column s";
    let flags = format!("--input {} {columns} --workers 2 --policy static", input.display());
    let printed = succeeds("simulate", &format!("balance {flags} --events {}", output.display()));
    assert!(printed.contains("68 records of 3 keys in 3 epochs"), "{printed}");
    assert_eq!(of(&lines(&output), "static", "records"), [11.0, 25.0, 32.0]);
}

/// A series of a single value has no step of its own; others are placed by their times, also where steps don't fit
/// exactly.
#[test]
fn series_are_placed_by_their_times() {
    let mut rows = "once,600,7\n".to_owned();
    (0..5).for_each(|i| rows += &format!("fine,{},1\n", 300 * i));
    // A thousandth late each time, which after a hundred of them is a tenth of a step.
    (0..2).for_each(|i| rows += &format!("coarse,{},10\n", 600.6 * f64::from(i)));
    let (directory, input) = file("series.csv", &format!("s,t,v\n{rows}"));
    let output = directory.path().join("simulate.jsonl");
    let columns = "--time-column t --value-column v --series-column s";
    let flags = format!("--input {} {columns} --workers 2 --policy static", input.display());
    succeeds("simulate", &format!("balance {flags} --events {}", output.display()));
    assert_eq!(of(&lines(&output), "static", "records"), [11.0, 1.0, 18.0, 1.0, 1.0]);

    rows += "odd,0,1\nodd,450,1\n";
    fs::write(&input, format!("s,t,v\n{rows}")).unwrap();
    let errors = fails("simulate", &format!("balance {flags}"), 2);
    assert!(errors.contains("series \"odd\" has a value every 450, but an epoch is 300"), "{errors}");
}

#[test]
fn all_shards_at_the_start_are_kept_unless_it_is_said_how_many_there_may_be() {
    let flags = "--workers 2 --shards 1500 --keys 3000 --records 300 --epochs 6 --policy reactive";
    let merges = |flags: &str| {
        let printed = succeeds("simulate", &format!("balance {flags}"));
        let line = printed.lines().rfind(|line| line.starts_with("reactive")).unwrap();
        line.split_whitespace().rev().nth(2).unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(merges(flags), 0);
    assert!(merges(&format!("{flags} --max-shards 1024")) > 0);
}

#[test]
fn checkpoints_are_refused_what_makes_no_sense() {
    let (directory, input) = file("rates.csv", "t,v,zero,negative\n0,1,0,1\n60,2,0,-1\n120,3,0,1\n");
    let (name, text) = (input.display().to_string(), fs::read_to_string(&input).unwrap());
    let columns = format!("checkpoint --input {name} --time-column t");
    for (flags, expected) in [
        (format!("--value-column v --events {name}"), "is the input, which it would overwrite"),
        (format!("--value-column v --events {}", directory.path().display()), "is a directory: name a file in it"),
        ("--value-column negative".into(), "the value of epoch 1 is -1"),
        ("--value-column zero".into(), "name the column that has them with --value-column"),
        ("--value-column v --interval 1e307".into(), "expected a number above 0, from 1e-9 to 1e12"),
        ("--value-column v --interval -5".into(), "expected a number above 0"),
    ] {
        let errors = fails("simulate", &format!("{columns} {flags}"), 2);
        assert!(errors.contains(expected), "{flags}: {errors}");
        assert_eq!(fs::read_to_string(&input).unwrap(), text, "{flags}");
    }
    let lead = format!("{columns} --value-column v --lead {}", u64::MAX);
    let extremes = ["interval", "service-rate", "epoch-seconds", "outage-seconds", "mean-time-between-failures"]
        .map(|flag| ["1e-9", "1e12"].map(|value| format!("{columns} --value-column v --{flag} {value}")));
    for flags in extremes.into_iter().flatten().chain([lead]) {
        let printed = succeeds("simulate", &flags);
        assert!(printed.contains("geometric mean") && !printed.contains("NaN"), "{flags}: {printed}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (directory, input) = file("events.csv", "time,key\n1,a\n2,\"b\n");
    let name = input.display().to_string();
    let events = format!("--input {name} --time-column time --key-columns key");
    for (flags, expected) in [
        (format!("--input {name}"), "--time-column <COLUMN>"),
        (format!("--input {name} --time-column time"), "--key-columns for events, or --value-column for rates"),
        (format!("{events} --value-column v"), "cannot be used with"),
        (format!("{events} --trace walk"), "cannot be used with"),
        (format!("{events} --events {name}"), "is the input, which it would overwrite"),
        (format!("{events} --events {}", directory.path().display()), "is a directory: name a file in it"),
        (events, "never closed"),
        (format!("--input {name} --time-column time --key-columns no"), "has no column \"no\""),
        (format!("--input {name} --time-column time --value-column key"), "expected a number"),
        ("--input none.csv --time-column t --key-columns k".into(), "can't open the input none.csv"),
        ("--series-column s".into(), "--value-column <COLUMN>"),
        ("--epoch 1h".into(), "--key-columns <COLUMN,…>"),
        ("--policy hopeful".into(), "[possible values: static, reactive"),
        ("--policy oracle,oracle".into(), "--policy names oracle twice: once is enough"),
        ("--workers 0".into(), "0 is not in 1.."),
        ("--shards 0".into(), "shard"),
        ("--lead 0".into(), "the lead must be at least 1 epoch"),
        ("--target 0.9".into(), "--target is 0.9: give a number from 1"),
        ("--records 0".into(), "--records is 0: give a number above 0"),
        ("--zipf -1".into(), "--zipf is -1: give a number from 0"),
        ("--period 0".into(), "0 is not in 1.."),
        ("--min-workers 2".into(), "--capacity <RECORDS,…>"),
        ("--capacity -5".into(), "capacity has -5, but a worker's must be a number above 0"),
        ("--move-cost -1".into(), "move_cost is -1"),
        ("--workers 100".into(), "64 shards are too few for 100 workers"),
        ("--workers 100".into(), "with --shards 800"),
        ("--epochs 0".into(), "0 is not in 1.."),
        ("--epochs 10 --warm-up 10".into(), "--warm-up 10 leaves none of 10 epochs"),
        ("--records 1e-9 --epochs 10".into(), "no epoch has a record"),
        (format!("--bytes-per-key {}", u64::MAX), "is not in 0..=4294967295"),
        ("--capacity 10,20 --workers 3".into(), "capacity has 2 numbers, but there are 3 workers"),
        ("--events no/e.jsonl".into(), "there is no directory no"),
    ] {
        let errors = fails("simulate", &format!("balance {flags}"), 2);
        assert!(errors.contains(expected), "{flags}: {errors}");
    }
    assert!(succeeds("simulate", "balance --help").contains("Examples:"));
}
