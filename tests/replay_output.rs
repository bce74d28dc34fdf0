//! The state and the output of the `replay` example.

#![allow(dead_code)]

#[path = "../examples/replay/decimal.rs"]
mod decimal;
#[path = "../examples/replay/event.rs"]
mod event;
#[path = "../examples/replay/fault.rs"]
mod fault;
#[path = "../examples/replay/file.rs"]
mod file;
#[path = "../examples/replay/output.rs"]
mod output;
#[path = "../examples/replay/report.rs"]
mod report;

use std::time::Duration;

use hdrhistogram::Histogram;
use proptest::prelude::*;

use decimal::{Micros, Refusal, parse};
use event::{LARGEST_VALUE, Moments};
use fault::{FaultKind, Skipped};
use output::{EventLog, write_results};
use report::{CheckpointReport, EpochReport, Report, Totals, Verdict, max_mean};

fn moments(values: &[i64]) -> Moments {
    let mut moments = Moments::default();
    values.iter().for_each(|&value| moments.add(value));
    moments
}

fn shown(values: &[i64]) -> (u64, String, String) {
    let moments = moments(values);
    (moments.count(), moments.mean().to_string(), moments.deviation().to_string())
}

#[test]
fn decimals_are_read_exactly() {
    for (text, places, expected) in [
        ("12", 6, Ok(12_000_000)),
        ("-0.000001", 6, Ok(-1)),
        (".5", 1, Ok(5)),
        ("5.", 1, Ok(50)),
        ("1.2300000", 2, Ok(123)),
        ("-9223372036854775808", 0, Ok(i64::MIN)),
        ("9223372036854775808", 0, Err(Refusal::TooLarge)),
        ("99999999999999999999999x", 0, Err(Refusal::NotANumber)),
        ("1.234", 2, Err(Refusal::TooFine)),
        ("", 2, Err(Refusal::NotANumber)),
        (".", 2, Err(Refusal::NotANumber)),
        ("--1", 2, Err(Refusal::NotANumber)),
        ("1.2.3", 2, Err(Refusal::NotANumber)),
    ] {
        assert_eq!(parse(text.as_bytes(), places), expected, "{text}");
    }
}

#[test]
fn mean_and_deviation_are_rounded_to_the_nearest() {
    let figures = |count, mean: &str, deviation: &str| (count, mean.to_string(), deviation.to_string());
    assert_eq!(shown(&[]), figures(0, "0.000000", "0.000000"));
    assert_eq!(shown(&[-5]), figures(1, "-0.000005", "0.000000"));
    assert_eq!(shown(&[0, 1_000_000]), figures(2, "0.500000", "0.500000"));
    assert_eq!(shown(&[1_000_000, 2_000_000, 4_000_000]), figures(3, "2.333333", "1.247219"));
    assert_eq!(shown(&[-1, 0]), figures(2, "-0.000001", "0.000001"));
    let far = LARGEST_VALUE;
    assert_eq!(shown(&[far, -far]), figures(2, "0.000000", "1000000000.000000"));
    assert_eq!(shown(&[far, far, far - 3]), figures(3, "999999999.999999", "0.000001"));
}

#[test]
fn moments_of_very_many_large_values_dont_overflow() {
    let mut many = moments(&[LARGEST_VALUE, -LARGEST_VALUE]);
    for _ in 0..40 {
        let half = many;
        many.merge(&half);
    }
    assert_eq!(many.count(), 1 << 41);
    assert_eq!((many.mean(), many.deviation()), (Micros(0), Micros(LARGEST_VALUE)));
    let mut apart = moments(&[LARGEST_VALUE, LARGEST_VALUE - 2_000_000]);
    for _ in 0..40 {
        let half = apart;
        apart.merge(&half);
    }
    assert_eq!((apart.mean(), apart.deviation()), (Micros(LARGEST_VALUE - 1_000_000), Micros(1_000_000)));
}

proptest! {
    #[test]
    fn moments_dont_depend_on_order_or_grouping(values: Vec<i64>, cut: usize) {
        let values: Vec<i64> = values.iter().map(|value| value % (LARGEST_VALUE + 1)).collect();
        let (left, right) = values.split_at(cut % (values.len() + 1));
        let mut merged = moments(right);
        merged.merge(&moments(left));
        prop_assert_eq!(merged, moments(&values));
    }

    #[test]
    fn the_deviation_is_that_of_the_textbook(values in prop::collection::vec(-1_000_000_000i64..1_000_000_000, 2..50)) {
        let n = values.len() as i128;
        let sum: i128 = values.iter().map(|&v| i128::from(v)).sum();
        let scaled: i128 = values.iter().map(|&v| (i128::from(v) * n - sum).pow(2)).sum();
        // scaled = n³ · variance, so that twice the deviation lies between two whole numbers.
        let halves = 2 * i128::from(moments(&values).deviation().0);
        prop_assert!((halves - 1).pow(2) * n.pow(3) <= 4 * scaled && 4 * scaled <= (halves + 1).pow(2) * n.pow(3));
    }
}

#[test]
fn moments_survive_their_encodings() {
    use columnar::{Borrow, Columnar, Index, Push};
    let original = moments(&[LARGEST_VALUE, -3, 7]);
    let mut columns = <Moments as Columnar>::Container::default();
    columns.push(&original);
    assert_eq!(Moments::into_owned(columns.borrow().get(0)), original);
    let bytes = postcard::to_allocvec(&original).unwrap();
    assert_eq!(postcard::from_bytes::<Moments>(&bytes).unwrap(), original);
}

#[test]
fn results_are_sorted_and_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("results.csv");
    let one = moments(&[1_000_000]);
    write_results(&path, vec![("b".into(), one), ("a,\"x\"".into(), moments(&[1_500_000, -500_000]))]).unwrap();
    let expected = "key,count,mean,deviation\n\"a,\"\"x\"\"\",2,0.500000,1.000000\nb,1,1.000000,0.000000\n";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    let error = write_results(&directory.path().join("no/results.csv"), vec![]).unwrap_err();
    assert!(error.to_string().starts_with("can't write the results to "), "{error}");
}

fn epoch(epoch: u64, loads: [u64; 2], commands: &[&str]) -> EpochReport {
    EpochReport {
        epoch,
        records: loads.iter().sum(),
        loads: loads.into(),
        static_loads: vec![3, 1],
        commands: commands.iter().map(ToString::to_string).collect(),
        moved_bytes: 1500 * commands.len() as u64,
        forecast: (epoch > 0).then_some(4.5),
        checkpoint: None,
        totals: Totals { keys: 2, moments: moments(&[1, 3]) },
    }
}

fn checkpoint(epoch: u64) -> CheckpointReport {
    let reason = "the product reached its threshold".into();
    CheckpointReport { epoch, reason, bytes: 2048, saved_share: 0.25, seconds: 0.0125 }
}

#[test]
fn events_are_json_lines_and_those_after_a_checkpoint_are_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.jsonl");
    let mut log = EventLog::create(&path).unwrap();
    log.epoch(&epoch(0, [3, 1], &[])).unwrap();
    log.checkpoint(&checkpoint(1)).unwrap();
    log.epoch(&epoch(1, [0, 0], &["move x to 1"])).unwrap();
    log.flush().unwrap();
    let first = r#"{"type":"epoch","epoch":0,"records":4,"loads":[3,1],"max_mean":1.5,"static_max_mean":1.5,"commands":[],"moved_bytes":0,"forecast":null,"actual":4,"checkpoint":null,"totals":{"keys":2,"count":2,"mean":"0.000002","deviation":"0.000001"}}"#;
    let taken = r#"{"type":"checkpoint","epoch":1,"reason":"the product reached its threshold","bytes":2048,"saved_share":0.25,"seconds":0.0125}"#;
    let moved = r#"{"type":"epoch","epoch":1,"records":0,"loads":[0,0],"max_mean":null,"static_max_mean":1.5,"commands":["move x to 1"],"moved_bytes":1500,"forecast":4.5,"actual":0,"checkpoint":null,"totals":{"keys":2,"count":2,"mean":"0.000002","deviation":"0.000001"}}"#;
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, format!("{first}\n{taken}\n{moved}\n"));
    std::fs::write(&path, &text[..text.len() - 9]).unwrap();
    let mut log = EventLog::resume(&path, 1).unwrap();
    log.epoch(&epoch(1, [0, 0], &["move x to 1"])).unwrap();
    log.flush().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{first}\n{moved}\n"));
}

#[test]
fn the_summary_fits_on_a_screen() {
    assert_eq!((max_mean(&[]), max_mean(&[0, 0]), max_mean(&[3, 1])), (None, None, Some(1.5)));
    let mut skipped = Skipped::default();
    skipped.count(FaultKind::Order);
    let (mut quiet, mut moving) = (Histogram::new(3).unwrap(), Histogram::new(3).unwrap());
    quiet.record_n(1_200_000, 2).unwrap();
    moving.record(35_000_000).unwrap();
    let mut report = Report {
        workers: 2,
        policy: "reactive".into(),
        epochs: vec![epoch(0, [3, 1], &[]), epoch(1, [2, 2], &["move x to 1", "split x at 2"])],
        checkpoints: (1..8).map(checkpoint).collect(),
        troubles: Vec::new(),
        quiet,
        moving,
        recovery_seconds: Some(0.75),
        skipped,
        verdict: Some(Verdict::Same { epochs: 2 }),
        elapsed: Duration::from_millis(2500),
    };
    let text = report.to_string();
    assert_eq!(text.lines().count(), 18, "{text}");
    assert!(text.lines().all(|line| line.len() <= 110), "{text}");
    let lines: Vec<String> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "replayed 8 records in 2 epochs on 2 workers, policy reactive, in 2.5 s (3 records/s)",
        "load static 1.50 1.50 1.50",
        "max/mean adaptive 1.00 1.50 1.50",
        "latency quiet 1.2 ms 1.2 ms 1.2 ms 1.2 ms 2 epochs",
        "of an epoch moving 35.0 ms 35.0 ms 35.0 ms 35.0 ms 1 epoch",
        "commands 1 move, 1 split, before 1 epoch; 2.93 KiB moved",
        "checkpoint before epoch 1: the product reached its threshold; 2.00 KiB, 25 % of the keys, 12.5 ms",
        "and 2 more, 4.00 KiB",
        "recovery would take about 750 ms now",
        "skipped 1 row: 1 out of order",
        "verified the same as a plain static program in all 2 epochs",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line}\n{text}");
    }
    report.verdict = Some(Verdict::Different { epoch: 1, what: "key a".into() });
    assert!(report.to_string().ends_with("NOT THE SAME as a plain static program, first in epoch 1: key a\n"));
}
