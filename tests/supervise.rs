//! `replay --supervise`: what is killed is started again, and the results are as if nothing had been.

mod program;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use program::{command, fails, succeeds};

/// Against hangs only: a machine may be busy.
const DEADLINE: Duration = Duration::from_secs(90);

const STREAM: &str = "--records 60000 --keys 300 --epoch 2h --seed 5";

/// Kills one of a program's children; whether there was one.
fn kill_a_child(parent: u32) -> bool {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let Some(child) = children.split_whitespace().last() else { return false };
    Command::new("sh").args(["-c", &format!("kill -KILL {child}")]).status().unwrap().success()
}

#[test]
#[cfg(target_os = "linux")]
fn what_is_killed_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let show = |name: &str| folder.path().join(name).display().to_string();
    succeeds("replay", &format!("{STREAM} --workers 1 --policy static --results {}", show("expected.csv")));
    let arguments = format!(
        "{STREAM} --workers 2 --checkpoint {} --trigger every:5 --rate 20000 --supervise 3 --results {}",
        show("store"),
        show("r.csv")
    );
    let mut supervisor = command("replay", &arguments).stdout(Stdio::null()).spawn().unwrap();
    let manifests = folder.path().join("store/manifests");
    let (begin, mut kills) = (Instant::now(), 0);
    let status = loop {
        if let Some(status) = supervisor.try_wait().unwrap() {
            break status;
        }
        assert!(begin.elapsed() < DEADLINE, "it does not end");
        if kills < 2 && fs::read_dir(&manifests).map_or(0, Iterator::count) > 0 {
            kills += u32::from(kill_a_child(supervisor.id()));
            std::thread::sleep(Duration::from_millis(500));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success() && kills == 2, "{status}, {kills} kills");
    assert_eq!(fs::read(show("r.csv")).unwrap(), fs::read(show("expected.csv")).unwrap());
}

#[test]
fn what_always_fails_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let (store, input) = (folder.path().join("store"), folder.path().join("bad.csv"));
    fs::write(&input, "t,k\nx,c\n").unwrap();
    let told = fails(
        "replay",
        &format!(
            "--input {} --time-column t --key-columns k --checkpoint {} --supervise 2",
            input.display(),
            store.display()
        ),
        1,
    );
    assert_eq!(told.matches("starting all again").count(), 2, "{told}");
    assert!(told.contains("line 2"), "{told}");
}
