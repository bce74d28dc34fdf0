//! The `nexmark` program, run as a user runs it.

mod program;

use serde_json::Value;

/// Runs it, and gives what it prints and its last line, which is JSON.
fn nexmark(arguments: &str) -> (String, Value) {
    let arguments = format!("--rate 2000 --hot-dwell 1500 --duration 2 {arguments}");
    let printed = program::succeeds("nexmark", &arguments);
    let line = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    (printed, line)
}

/// Runs it with `--verify`.
fn verify(arguments: &str) -> Value {
    let (printed, line) = nexmark(&format!("{arguments} --verify"));
    assert_eq!(line["same"], true, "{printed}");
    assert!(printed.contains("verified     the same "), "{printed}");
    assert!(line["plain"]["rows"].as_u64() > Some(0), "{printed}");
    assert_eq!(line["plain"]["rows"], line["thalweg"]["rows"], "{printed}");
    line
}

#[test]
fn stateless_queries_are_those_of_plain_timely() {
    verify("--query 1 --workers 2 --migrate all-at-once");
    verify("--query 2 --workers 3 --migrate fluid --epoch 20");
}

#[test]
fn joins_are_those_of_plain_timely() {
    verify("--query 3 --workers 2 --migrate batched");
    verify("--query 8 --workers 3 --migrate all-at-once");
}

#[test]
fn averages_are_those_of_plain_timely() {
    verify("--query 4 --workers 2 --migrate fluid --epoch 30");
    verify("--query 6 --workers 4 --migrate batched");
}

#[test]
fn windows_are_those_of_plain_timely() {
    verify("--query 5 --workers 3 --migrate batched");
    verify("--query 7 --workers 2 --migrate fluid --epoch 30");
}

#[test]
fn any_policy_and_any_epoch_gives_the_same() {
    verify("--query 4 --workers 1");
    verify("--query 5 --workers 2 --policy reactive --epoch 7");
    verify("--query 8 --workers 2 --policy reactive --epoch 333 --lead 1");
}

#[test]
fn the_one_key_of_query_7_is_folded() {
    let line = verify("--query 7 --workers 2 --policy reactive --epoch 50");
    assert!(line["commands"]["fold"].as_u64() > Some(0), "{line}");
}

#[test]
fn a_quarter_of_the_shards_goes_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("windows.jsonl");
    let line = verify(&format!("--query 3 --workers 2 --shards 16 --migrate batched --results {}", path.display()));
    assert_eq!((&line["commands"]["move"], &line["shards"], &line["query"]), (&8.into(), &16.into(), &3.into()));
    assert!(line["moved_bytes"].as_u64() > Some(0), "{line}");
    for program in ["plain", "thalweg"] {
        for part in ["quiet", "migrating"] {
            let latency = |name: &str| line[program][part][name].as_f64().unwrap();
            assert!(latency("p50_ms") > 0.0 && latency("p50_ms") <= latency("p99_ms"), "{line}");
            assert!(latency("p99_ms") <= latency("p999_ms") && latency("p999_ms") <= latency("max_ms"), "{line}");
        }
    }
    let text = std::fs::read_to_string(path).unwrap();
    let windows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(windows.len(), 16);
    assert!(windows.iter().all(|window| window["latency"]["milliseconds"] == 250), "{text}");
    let migrating = |begin: u64| windows.iter().find(|w| w["begin_ms"] == begin).unwrap()["migrating"] == true;
    assert!(!migrating(250) && migrating(500) && migrating(1000), "{text}");
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_do() {
    for (arguments, expected) in [
        ("", "--query <QUERY>"),
        ("-q 9", "9 is not in 1..=8"),
        ("-q 1 --workers 0", "0 is not in 1..=1024"),
        ("-q 1 --rate 0", "0 is not in 1..=100000000"),
        ("-q 1 --rate fast", "invalid digit"),
        ("-q 1 --duration 0", "0 is not in 1..=3600"),
        ("-q 1 --hot-dwell 0", "0 is not in 1.."),
        ("-q 1 --epoch 0", "0 is not in 1..=60000"),
        ("-q 1 --lead 0", "the lead must be at least 1 epoch"),
        ("-q 1 --migrate slowly", "[possible values: none, all-at-once, batched, fluid]"),
        ("-q 1 --migrate fluid --workers 1", "--migrate fluid needs --workers 2 or more"),
        ("-q 1 --migrate batched --shards 3", "--migrate batched needs --shards 4 or more"),
        ("-q 1 --migrate batched --shards 0", "shard"),
        ("-q 1 --migrate fluid --policy reactive", "leave --policy reactive out"),
        (
            "-q 1 --migrate fluid --duration 3",
            "takes 16 epochs of 100 ms, and a third of the run has 10: give a longer",
        ),
        ("-q 1 --results no/r.jsonl", "--results no/r.jsonl: there is no directory no"),
        ("-q 1 --results tests", "--results tests is a directory: name a file in it"),
    ] {
        let error = program::fails("nexmark", arguments, 2);
        assert!(error.contains(expected), "{arguments}: {error}");
    }
}

#[test]
fn the_help_gives_units_and_defaults() {
    let help = program::succeeds("nexmark", "--help");
    for text in
        ["--rate <EVENTS>", "[default: 100000]", "--epoch <MS>", "milliseconds of event time", "--duration <SECONDS>"]
    {
        assert!(help.contains(text), "{text}: {help}");
    }
}
