//! What becomes of the processes of a run when one of them is killed, or never comes up.

mod program;

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use program::command;

/// Against hangs only: a machine may be busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// How `replay` ends when another process is gone.
const LOST: i32 = 3;

/// Long enough to be killed in its middle.
const STREAM: &str = "--records 400000 --keys 300 --epoch 1h --seed 5 --rate 100000 --workers 2 --connect-timeout 10";

fn hosts(folder: &Path, processes: usize) -> String {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let lines: Vec<String> = (0..processes).map(|_| free()).collect();
    let file = folder.join("hosts");
    fs::write(&file, lines.join("\n")).unwrap();
    format!("--processes {processes} --hostfile {}", file.display())
}

fn start(arguments: &str, process: usize) -> Child {
    let arguments = format!("{arguments} --process {process}");
    command("replay", &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// How a process ended, and what it said of it.
fn ended(mut child: Child) -> (ExitStatus, String) {
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begin.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("process {} does not end", child.id());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    (status, told)
}

#[test]
fn when_one_is_killed_the_others_end_and_name_it() {
    for (processes, victim, after) in [(2, 1, 0), (2, 0, 400), (3, 1, 150), (3, 2, 700), (3, 0, 900)] {
        let folder = tempfile::tempdir().unwrap();
        let arguments = format!("{STREAM} {}", hosts(folder.path(), processes));
        let mut children: Vec<Child> = (0..processes).map(|process| start(&arguments, process)).collect();
        let mut killed = children.remove(victim);
        std::thread::sleep(Duration::from_millis(after));
        killed.kill().unwrap();
        assert!(!killed.wait().unwrap().success(), "the run has ended before it was killed");
        for child in children {
            let (status, told) = ended(child);
            assert_eq!(status.code(), Some(LOST), "{victim} of {processes} after {after} ms: {told}");
            assert!(told.contains(&format!("process {victim} ")), "{victim} of {processes}: {told}");
            assert!(!told.contains("panicked"), "{told}");
        }
    }
}

#[test]
fn one_that_never_comes_up_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let arguments =
        format!("{STREAM} {} --connect-timeout 1", hosts(folder.path(), 3)).replace("--connect-timeout 10", "");
    for child in [0, 2].map(|process| start(&arguments, process)) {
        let (status, told) = ended(child);
        assert_eq!(status.code(), Some(LOST), "{told}");
        assert!(told.contains("process 1 at 127.0.0.1:"), "{told}");
    }
}

/// A process that fails by itself takes the others with it, and each says why.
#[test]
fn when_one_fails_the_others_end() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("good.csv"), folder.path().join("bad.csv"));
    let rows: String = (0..50_000).map(|i| format!("{i},k{}\n", i % 7)).collect();
    fs::write(&good, format!("t,k\n{rows}")).unwrap();
    fs::write(&bad, format!("t,k\n{rows}nonsense\n")).unwrap();
    let arguments =
        format!("--time-column t --key-columns k --epoch-records 5000 --workers 2 {}", hosts(folder.path(), 2));
    let first = start(&format!("{arguments} --input {} --rate 20000", good.display()), 0);
    let second = start(&format!("{arguments} --input {}", bad.display()), 1);
    let (status, told) = ended(second);
    assert!(status.code() == Some(1) && told.contains("line 50002"), "{told}");
    let (status, told) = ended(first);
    assert!(status.code() == Some(LOST) && told.contains("process 1 "), "{told}");
}
