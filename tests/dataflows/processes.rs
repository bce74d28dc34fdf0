//! Two processes on loopback: this test runs itself as each of them.

use crate::common::processes::{cluster, rows_of_two};
use crate::common::{Outputs, Run};

fn run() -> Run {
    Run { workers: 2, lead: 2, commands: 4, checkpoint_every: 3, epochs: 30, seed: 3, ..Run::default() }
}

/// One of the processes: prints its part of the output.
#[test]
#[ignore = "run by `two_processes_give_the_same_answer`, as each of its processes"]
fn one_of_two_processes() {
    for (epoch, rows) in run().outputs_on(cluster()) {
        for (key, count, by) in rows {
            println!("row {epoch} {key} {count} {by}");
        }
    }
}

#[test]
fn two_processes_give_the_same_answer() {
    let mut outputs = Outputs::new();
    for row in rows_of_two("processes::one_of_two_processes") {
        let row: Vec<u64> = row.split(' ').map(|word| word.parse().unwrap()).collect();
        outputs.entry(row[0]).or_default().push((row[1], row[2], row[3] as u8));
    }
    outputs.values_mut().for_each(|rows| rows.sort_unstable());
    assert_eq!(outputs, run().expected());
}
