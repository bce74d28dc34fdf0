//! The `exactly_once` program, killed and resumed as real processes are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{DEADLINE, Random};

const HOURS: u64 = 150;

fn write_input(directory: &Path) {
    let mut random = Random(5);
    for file in ["a.csv", "b.csv", "c.csv"] {
        let mut text = "time,key\n".to_owned();
        for hour in 0..HOURS {
            for _ in 0..random.index(60) {
                let key = random.next() % (1 + random.next() % 40);
                text += &format!("{},\"key, {key}\"\n", hour * 3600 + random.next() % 3600);
            }
        }
        fs::write(directory.join(file), text).unwrap();
    }
}

/// What it is to count, one event after the other.
fn expected(directory: &Path) -> BTreeMap<String, String> {
    let mut hours: BTreeMap<u64, BTreeMap<String, u64>> = BTreeMap::new();
    for file in ["a.csv", "b.csv", "c.csv"] {
        for row in csv::Reader::from_path(directory.join(file)).unwrap().into_deserialize::<(u64, String)>() {
            let (time, key) = row.unwrap();
            *hours.entry(time / 3600).or_default().entry(key).or_default() += 1;
        }
    }
    let (mut all, mut files) = (BTreeMap::<String, u64>::new(), BTreeMap::new());
    for (hour, keys) in hours {
        let row = |(key, count): (String, u64)| {
            let in_all = all.entry(key.clone()).or_default();
            *in_all += count;
            format!("{hour},\"{key}\",{count},{in_all}\n")
        };
        let mut rows: Vec<String> = keys.into_iter().map(row).collect();
        rows.sort();
        files.insert(format!("{:020}.csv", hour + 1), rows.concat());
    }
    files
}

fn output(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory.join("output")).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let visible = names.filter(|name| !name.starts_with('.'));
    visible.map(|name| (name.clone(), fs::read_to_string(directory.join("output").join(name)).unwrap())).collect()
}

fn start(directory: &Path, arguments: &str) -> Child {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples/exactly_once");
    assert!(program.is_file(), "build it with `cargo build --example exactly_once`");
    let mut command = Command::new(program);
    command.args("a.csv b.csv c.csv --state state --output output --trigger every:7".split(' '));
    command.args(arguments.split(' ')).current_dir(directory).stdin(Stdio::null()).spawn().unwrap()
}

/// Whether it has ended by itself before it was killed.
fn ends_before(mut child: Child, time: Duration) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < time {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

#[test]
fn killed_at_any_instant_it_gives_what_a_run_without_faults_gives() {
    let mut random = Random(11);
    for visible in ["epoch", "checkpoint"] {
        let directory = tempfile::tempdir().unwrap();
        write_input(directory.path());
        let expected = expected(directory.path());
        let arguments = |workers: usize| format!("--resume -w {workers} --visible {visible}");
        for _ in 0..12 {
            let child = start(directory.path(), &arguments(1 + random.index(4)));
            let ended = ends_before(child, Duration::from_millis(10 + random.next() % 150));
            let given = output(directory.path());
            assert!(given.iter().all(|(name, text)| expected.get(name) == Some(text)), "{visible}");
            if ended {
                break;
            }
        }
        assert!(ends_before(start(directory.path(), &arguments(3)), DEADLINE));
        assert_eq!(output(directory.path()), expected, "{visible}");
    }
}

#[test]
fn a_run_that_begins_anew_where_there_is_output_fails() {
    let directory = tempfile::tempdir().unwrap();
    write_input(directory.path());
    assert!(ends_before(start(directory.path(), "-w 2"), DEADLINE));
    fs::remove_dir_all(directory.path().join("state")).unwrap();
    let status = start(directory.path(), "-w 2").wait().unwrap();
    assert!(!status.success());
}
