//! Two processes on loopback: a test runs itself as each of them.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::DEADLINE;

const PROCESS: &str = "THALWEG_TEST_PROCESS";
const ADDRESSES: &str = "THALWEG_TEST_ADDRESSES";

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// What one of the processes runs with: two workers of each.
pub fn cluster() -> timely::Config {
    let process = std::env::var(PROCESS).unwrap().parse().unwrap();
    let addresses = std::env::var(ADDRESSES).unwrap().split(',').map(String::from).collect();
    let communication =
        timely::CommunicationConfig::Cluster { threads: 2, process, addresses, report: false, zerocopy: false };
    timely::Config { communication, worker: timely::WorkerConfig::default() }
}

/// Runs an ignored test, named with its module, as two processes, and gives what both have printed behind the word "row".
pub fn rows_of_two(test: &str) -> Vec<String> {
    let addresses = [free_address(), free_address()].join(",");
    let start = |process: usize| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(PROCESS, process.to_string())
            .env(ADDRESSES, &addresses)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children = [start(0), start(1)].map(|child| std::thread::spawn(move || child.wait_with_output().unwrap()));
    let begin = Instant::now();
    while !children.iter().all(std::thread::JoinHandle::is_finished) {
        assert!(begin.elapsed() < DEADLINE + Duration::from_secs(30), "the processes do not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut rows = Vec::new();
    for child in children {
        let output = child.join().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        rows.extend(text.lines().filter_map(|line| Some(line.split_once("row ")?.1.to_owned())));
    }
    rows
}
