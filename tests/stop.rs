//! SIGTERM: a last checkpoint, a clean end, and a run that goes on from there.

mod program;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use program::{command, succeeds};

/// Against hangs only: a machine may be busy.
const DEADLINE: Duration = Duration::from_secs(60);

const STREAM: &str = "--records 60000 --keys 300 --epoch 2h --seed 5 --trigger every:5";

fn terminate(child: &Child) {
    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

fn output(mut child: Child) -> Output {
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

/// Where a run has stopped, which must have ended well.
fn stopped(child: Child) -> u64 {
    let output = output(child);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let line = told.lines().find_map(|line| line.strip_prefix("stopped before epoch "));
    line.and_then(|rest| rest.split(':').next())
        .and_then(|epoch| epoch.parse().ok())
        .unwrap_or_else(|| panic!("{told}"))
}

fn start(arguments: &str) -> Child {
    command("replay", arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until all processes run.
fn wait_for_a_checkpoint(store: &Path) {
    let begin = Instant::now();
    while fs::read_dir(store.join("manifests")).map_or(0, Iterator::count) == 0 {
        assert!(begin.elapsed() < DEADLINE, "there is no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn results(folder: &Path, name: &str) -> String {
    format!("--results {}", folder.join(name).display())
}

#[test]
fn a_run_that_is_terminated_takes_a_checkpoint_and_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    succeeds("replay", &format!("{STREAM} --workers 1 --policy static {}", results(path, "expected.csv")));
    let checkpoint = format!("--checkpoint {}", path.join("store").display());
    let child = start(&format!("{STREAM} --workers 2 {checkpoint} --rate 20000 {}", results(path, "r.csv")));
    wait_for_a_checkpoint(&path.join("store"));
    terminate(&child);
    let epoch = stopped(child);
    assert!(epoch > 0 && !path.join("r.csv").exists());
    assert!(path.join(format!("store/manifests/{epoch:020}.json")).is_file());
    succeeds("replay", &format!("{STREAM} --workers 3 {checkpoint} --resume {}", results(path, "r.csv")));
    assert_eq!(fs::read(path.join("r.csv")).unwrap(), fs::read(path.join("expected.csv")).unwrap());
}

/// Whichever of the processes is told, all stop.
#[test]
fn all_processes_stop_together() {
    let folder = tempfile::tempdir().unwrap();
    for (round, told) in [&[0usize][..], &[1], &[0, 1]].into_iter().enumerate() {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let hosts = folder.path().join(format!("hosts-{round}"));
        fs::write(&hosts, format!("{}\n{}\n", free(), free())).unwrap();
        let (hosts, store) = (hosts.display().to_string(), folder.path().join(format!("store-{round}")));
        let arguments = format!(
            "{STREAM} --workers 2 --processes 2 --hostfile {hosts} --checkpoint {} --rate 20000",
            store.display()
        );
        let children = [0, 1].map(|process| start(&format!("{arguments} --process {process}")));
        wait_for_a_checkpoint(&store);
        told.iter().for_each(|process| terminate(&children[*process]));
        let [first, second] = children.map(stopped);
        assert_eq!(first, second, "{told:?}");
    }
}
