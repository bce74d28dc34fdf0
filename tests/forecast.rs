//! The `forecast` program, run as a user runs it.

#[path = "../examples/forecast/measures.rs"]
#[allow(dead_code)]
mod measures;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use measures::{absolute_error, naive2, scale, smape};
use tempfile::TempDir;

/// `cargo test` builds the examples next to the tests.
fn forecast(folder: &TempDir, input: &str, arguments: &str) -> Output {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples/forecast");
    assert!(program.is_file(), "{} is missing: build it with `cargo build --example forecast`", program.display());
    let mut command = Command::new(program);
    command.current_dir(folder).args(["--input", input, "--time-column", "t", "--value-column", "v"]);
    command.args(arguments.split_whitespace()).stdin(Stdio::null()).output().unwrap()
}

fn succeeds(folder: &TempDir, input: &str, arguments: &str) -> String {
    let output = forecast(folder, input, arguments);
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(text: impl AsRef<[u8]>, arguments: &str) -> String {
    let folder = folder("in.csv", text);
    let output = forecast(&folder, "in.csv", arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments}");
    assert!(!folder.path().join("out.csv").exists());
    String::from_utf8(output.stderr).unwrap()
}

fn folder(name: &str, text: impl AsRef<[u8]>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), text).unwrap();
    folder
}

/// The rows that were written: series, step, mean, low, high.
fn written(folder: &TempDir) -> Vec<Vec<String>> {
    let path: PathBuf = folder.path().join("out.csv");
    let mut reader = csv::Reader::from_path(path).unwrap();
    assert_eq!(reader.headers().unwrap(), &["series", "step", "mean", "low", "high"][..]);
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

fn number(text: &str) -> f64 {
    text.parse().unwrap()
}

fn cycle(t: usize) -> usize {
    100 + [0, 10, 40, 90, 60, 20][t % 6] + t * 7 % 5
}

fn two_series() -> String {
    let rows = (0..240).map(|t| format!("b,{t},{}\na,{t},{}\n", cycle(t), 5));
    format!("s,t,v\n{}", rows.collect::<String>())
}

#[test]
fn each_series_is_forecast_in_the_order_in_which_they_begin() {
    let folder = folder("in.csv", two_series());
    let said = succeeds(&folder, "in.csv", "--series-column s --horizon 4 --output out.csv");
    assert!(
        said.starts_with("2 series with 480 values") && said.contains("seasons") && said.contains("skill"),
        "{said}"
    );
    let rows = written(&folder);
    let named: Vec<(&str, &str)> = rows.iter().map(|row| (&row[0][..], &row[1][..])).collect();
    let expected = ["b", "a"].map(|name| ["1", "2", "3", "4"].map(|step| (name, step)));
    assert_eq!(named, expected.concat());
    for (step, row) in rows[..4].iter().enumerate() {
        let [mean, low, high] = [&row[2], &row[3], &row[4]].map(|text| number(text));
        let truth = cycle(240 + step) as f64;
        assert!((mean - truth).abs() < 5.0 && low <= mean && mean <= high && high - low < 40.0, "{row:?} {truth}");
    }
    assert!(rows[4..].iter().all(|row| (number(&row[2]) - 5.0).abs() < 1e-6));
}

#[test]
fn compressed_input_with_dates_holes_and_gaps_is_taken() {
    let minute = |t: usize| format!("2014-07-01 {:02}:{:02}:00", t / 60, t % 60);
    let value = |t: usize| if t % 17 == 3 { String::new() } else { cycle(t).to_string() };
    let rows = (0..300).filter(|t| t % 41 != 7).map(|t| format!("{},{}\r\n", minute(t), value(t)));
    let text = format!("\u{feff}t,v\r\n{}", rows.collect::<String>());
    let folder = folder("rates.csv.zst", zstd::encode_all(text.as_bytes(), 1).unwrap());
    let said = succeeds(&folder, "rates.csv.zst", "--season 6 --horizon 6 --output out.csv");
    assert!(said.contains("missing"), "{said}");
    for (step, row) in written(&folder).iter().enumerate() {
        assert!(row[0] == "rates" && (number(&row[2]) - cycle(300 + step) as f64).abs() < 6.0, "{row:?}");
    }
}

#[test]
fn what_is_not_known_is_left_empty() {
    let folder = folder("in.csv", "t,v\n1,4\n2,5\n");
    let said = succeeds(&folder, "in.csv", "--horizon 1 --output out.csv");
    assert!(said.contains("can't be told"), "{said}");
    let row = &written(&folder)[0];
    assert!(
        row[0] == "in" && (number(&row[2]) - 5.0).abs() < 1e-9 && row[3].is_empty() && row[4].is_empty(),
        "{row:?}"
    );
}

#[test]
fn a_backtest_measures_every_method() {
    let folder = folder("in.csv", two_series());
    let said =
        succeeds(&folder, "in.csv", "--series-column s --horizon 12 --season 6 --backtest --origins 3 --every 6");
    for name in
        ["MASE", "sMAPE", "OWA", "coverage", "blend", "last value", "seasonal naive", "ARIMA", "Naive2", "step 12"]
    {
        assert!(said.contains(name), "{name} is missing in {said}");
    }
    let owa = |name: &str| -> f64 {
        let row = said.lines().find(|line| line.starts_with(name)).unwrap();
        number(row[name.len()..].split_whitespace().nth(2).unwrap())
    };
    assert!(owa("blend") < owa("last value") && owa("blend") <= 1.0, "{said}");
    assert!(!folder.path().join("out.csv").exists());
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let output = "--output out.csv";
    for (text, arguments, message) in [
        ("t,v\n1,2\n", "", "required arguments were not provided"),
        ("t,v\n1,2\n", "--horizon 0 --output out.csv", "number would be zero"),
        ("t,v\n1,2\n", "--every 3 --output out.csv", "--backtest"),
        ("t,v\n1,2\n", "--season often --output out.csv", "expected auto, or a number of steps"),
        ("t,v\n1,2\n", "--output nowhere/out.csv", "there is no directory nowhere"),
        ("t,v\n1,2\n", "--output in.csv", "which it would overwrite"),
        ("t,v\n1,2\n", "--series-column s --output out.csv", "there is no column \"s\"; the columns are t, v"),
        ("", output, "is empty: expected a header line"),
        ("t,v\n", output, "has no rows"),
        ("t,v\n1,2\n2\n", output, "line 3: found 1 fields, expected 2 as in the header"),
        ("t,v\n1,2\nsoon,2\n", output, "line 3, column t: found \"soon\", expected a number, or a date"),
        ("t,v\n1,many\n", output, "line 2, column v: found \"many\", expected a number, or nothing"),
        ("t,v\n1,inf\n", output, "line 2, column v: found \"inf\""),
        ("t,v\n1,2\n1,3\n", output, "found 1, which is not after the 1 on line 2 of the same series; sort the file"),
    ] {
        let said = refused(text, arguments);
        assert!(said.contains(message), "{arguments}: {said}");
    }
    let missing = forecast(&tempfile::tempdir().unwrap(), "nothing.csv", output);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn errors_are_the_published_ones() {
    assert_eq!(smape(&[100.0, f64::NAN, 0.0], &[300.0, 1.0, 0.0]), 50.0);
    assert_eq!(absolute_error(&[1.0, f64::NAN, 4.0], &[2.0, 9.0, 2.0]), 1.5);
    assert_eq!(scale(&[1.0, 5.0, 2.0, 8.0], 2), 2.0);
}

#[test]
fn naive2_repeats_a_season_at_the_last_level() {
    let season = [1.0, 2.0, 3.0, 2.0];
    let values: Vec<f64> = (0..40).map(|t| season[t % 4] * 10.0).collect();
    let next = naive2(&values, 4, 5);
    for (found, expected) in next.iter().zip([10.0, 20.0, 30.0, 20.0, 10.0]) {
        assert!((found - expected).abs() < 1e-9, "{next:?}");
    }
    assert_eq!(naive2(&[1.0, 7.0], 4, 2), [7.0, 7.0]);
    assert_eq!(naive2(&[], 4, 1), [0.0]);
}
