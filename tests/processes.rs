//! Two processes on loopback: this test runs itself as each of them.

mod common;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{DEADLINE, Run};

const PROCESS: &str = "THALWEG_TEST_PROCESS";
const ADDRESSES: &str = "THALWEG_TEST_ADDRESSES";

fn run() -> Run {
    Run { workers: 2, lead: 2, commands: 4, checkpoint_every: 3, epochs: 30, seed: 3, ..Run::default() }
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// One of the processes: prints its part of the output.
#[test]
#[ignore = "run by `two_processes_give_the_same_answer`, as each of its processes"]
fn one_of_two_processes() {
    let process = std::env::var(PROCESS).unwrap().parse().unwrap();
    let addresses = std::env::var(ADDRESSES).unwrap().split(',').map(String::from).collect();
    let communication =
        timely::CommunicationConfig::Cluster { threads: 2, process, addresses, report: false, zerocopy: false };
    let config = timely::Config { communication, worker: timely::WorkerConfig::default() };
    for (epoch, rows) in run().outputs_on(config) {
        for (key, count, by) in rows {
            println!("row {epoch} {key} {count} {by}");
        }
    }
}

#[test]
fn two_processes_give_the_same_answer() {
    let addresses = [free_address(), free_address()].join(",");
    let start = |process: usize| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "one_of_two_processes", "--ignored", "--nocapture"])
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
    let mut outputs = common::Outputs::new();
    for child in children {
        let output = child.join().unwrap();
        assert!(output.status.success());
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let Some((_, row)) = line.split_once("row ") else { continue };
            let row: Vec<u64> = row.split(' ').map(|word| word.parse().unwrap()).collect();
            outputs.entry(row[0]).or_default().push((row[1], row[2], row[3] as u8));
        }
    }
    outputs.values_mut().for_each(|rows| rows.sort_unstable());
    assert_eq!(outputs, run().expected());
}
