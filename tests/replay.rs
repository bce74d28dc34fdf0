//! The `replay` program, run as a user runs it.

use std::fs;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// `cargo test` builds the examples next to the tests.
fn replay(arguments: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples/replay");
    assert!(program.is_file(), "{} is missing: build it with `cargo build --example replay`", program.display());
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace()).stdin(Stdio::null());
    command
}

/// A hang is a failure, not a hang.
const DEADLINE: Duration = Duration::from_secs(180);

fn run(arguments: &str) -> Output {
    let (mut stdout, mut stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let mut command = replay(arguments);
    command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
    let status = wait(&mut command.spawn().unwrap(), arguments);
    let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
    for (file, bytes) in [(&mut stdout, &mut output.stdout), (&mut stderr, &mut output.stderr)] {
        file.rewind().unwrap();
        file.read_to_end(bytes).unwrap();
    }
    output
}

fn wait(child: &mut Child, arguments: &str) -> ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begin.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("{arguments}: it does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn succeeds(arguments: &str) -> String {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn fails(arguments: &str, code: i32) -> String {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments}: {errors}");
    errors
}

const STREAM: &str = "--records 20000 --keys 300 --epoch 4h --seed 5";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn show(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

/// The results of a plain run with one worker.
fn expected(folder: &Folder) -> String {
    succeeds(&format!("{STREAM} --workers 1 --policy static --results {}", folder.show("expected.csv")));
    folder.read("expected.csv")
}

#[test]
fn results_do_not_depend_on_workers_policy_or_lead() {
    let folder = Folder::new();
    let expected = expected(&folder);
    fs::write(folder.path("script"), "5 split 0x8900000000000000\n 5 move 0x8900000000000000 2\n 9 move 0 3\n")
        .unwrap();
    let scripted = format!("--policy scripted:{}", folder.show("script"));
    for how in ["--workers 8 --lead 1", "--workers 3 --lead 4 --chunk-bytes 100", &format!("--workers 4 {scripted}")] {
        let summary = succeeds(&format!("{STREAM} {how} --verify --results {}", folder.show("r.csv")));
        assert!(summary.contains("the same as a plain static program in all"), "{summary}");
        assert!(folder.read("r.csv") == expected, "{how}");
    }
}

#[test]
fn events_are_there_for_each_epoch_and_checkpoint() {
    let folder = Folder::new();
    let (events, store) = (folder.show("events"), folder.show("store"));
    succeeds(&format!(
        "{STREAM} --workers 4 --fold-share 100 --events {events} --checkpoint {store} --trigger every:10"
    ));
    let text = folder.read("events");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).collect::<Vec<_>>();
    let epochs = of("epoch");
    let records: u64 = epochs.iter().map(|epoch| epoch["records"].as_u64().unwrap()).sum();
    assert_eq!(records, 20_000);
    for epoch in &epochs {
        let loads: u64 = epoch["loads"].as_array().unwrap().iter().map(|load| load.as_u64().unwrap()).sum();
        assert_eq!((epoch["records"].as_u64(), epoch["totals"]["count"].as_u64()), (Some(loads), Some(loads)));
        assert!(epoch["max_mean"].as_f64().unwrap() >= 1.0 && epoch["actual"] == epoch["records"]);
    }
    assert!(epochs.iter().any(|epoch| epoch["moved_bytes"].as_u64() > Some(0)));
    let checkpoints = of("checkpoint");
    assert!(checkpoints.len() >= 7 && checkpoints[0]["epoch"] == 10, "{checkpoints:?}");
}

/// Kills the run in its middle, and resumes it on another number of workers.
#[test]
fn a_killed_run_resumes_and_gives_the_same_results() {
    let folder = Folder::new();
    let expected = expected(&folder);
    let (store, results) = (folder.show("store"), folder.show("r.csv"));
    let arguments = format!("{STREAM} --checkpoint {store} --trigger every:3 --results {results}");
    let mut child = replay(&format!("{arguments} --workers 4 --rate 20000")).spawn().unwrap();
    let begin = Instant::now();
    while count(&folder.path("store/manifests")) < 2 {
        assert!(child.try_wait().unwrap().is_none() && begin.elapsed() < Duration::from_secs(60), "no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!folder.path("r.csv").exists(), "the run has ended before it was killed");

    let again = fails(&format!("{arguments} --workers 4"), 1);
    assert!(again.contains("resume from it, or give an empty store"), "{again}");
    let other = fails(&format!("{} --workers 4 --resume", arguments.replace("--seed 5", "--seed 6")), 1);
    assert!(other.contains(r#"seed was "5" and is now "6""#), "{other}");
    damage_newest(&folder.path("store/manifests"));
    for workers in [3, 8] {
        let output = run(&format!("{arguments} --workers {workers} --resume --verify"));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        assert!(workers != 3 || told.contains("a checkpoint is passed over: manifests/"), "{told}");
        assert!(folder.read("r.csv") == expected, "{workers} workers");
        fs::remove_file(folder.path("r.csv")).unwrap();
    }
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, |entries| {
        entries.filter(|entry| entry.as_ref().is_ok_and(|e| !e.file_name().to_string_lossy().starts_with('.'))).count()
    })
}

fn damage_newest(folder: &Path) {
    let mut manifests: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    manifests.retain(|path| path.extension().is_some_and(|e| e == "json"));
    manifests.sort();
    let newest = manifests.last().unwrap();
    let mut bytes = fs::read(newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(newest, bytes).unwrap();
}

#[test]
fn two_processes_give_the_same_results() {
    let folder = Folder::new();
    let expected = expected(&folder);
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    fs::write(folder.path("hosts"), format!("{}\n{}\n", free(), free())).unwrap();
    let arguments = format!(
        "{STREAM} --workers 2 --processes 2 --verify --hostfile {} --results {}",
        folder.show("hosts"),
        folder.show("r.csv")
    );
    let mut second = replay(&format!("{arguments} --process 1")).stdout(Stdio::null()).spawn().unwrap();
    let summary = succeeds(&format!("{arguments} --process 0"));
    assert!(wait(&mut second, &arguments).success());
    assert!(summary.contains("on 4 workers") && summary.contains("the same as a plain static program"), "{summary}");
    assert!(folder.read("r.csv") == expected);
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_do() {
    let folder = Folder::new();
    fs::write(folder.path("bad.csv"), "t,k\n1,a\n2,b\nx,c\n").unwrap();
    let columns = format!("--input {} --time-column t --key-columns k", folder.show("bad.csv"));
    let error = fails(&columns, 1);
    assert!(error.contains("bad.csv") && error.contains("line 4"), "{error}");
    assert!(succeeds(&format!("{columns} --lenient")).contains("skipped      1 row"));
    assert!(fails("--lead 0", 1).contains("the lead must be at least 1 epoch"));
    assert!(fails("--sample 2", 1).contains("sample"));
    assert!(fails("--trigger sometimes", 2).contains("every:N"));
    fs::write(folder.path("script"), "1 checkpoint\n").unwrap();
    let early = fails(&format!("{STREAM} --lead 3 --policy scripted:{}", folder.show("script")), 1);
    assert!(early.contains("with a lead of 3 epochs the first is 3"), "{early}");
    fs::write(folder.path("file"), "").unwrap();
    fails(&format!("--checkpoint {}", folder.show("file")), 2);
}

#[test]
fn the_help_gives_units_and_defaults() {
    let help = succeeds("--help");
    for flag in
        ["--lead <EPOCHS>", "--sample <SHARE>", "--shards", "--max-shards", "--trigger", "[default: 2]", "--verify"]
    {
        assert!(help.contains(flag), "{flag}: {help}");
    }
}
