//! Invariant 4: when the inputs close, the dataflow drains and terminates, with commands in flight. The driver's
//! deadline ends a run that does not.

use crate::common::{Channels, Run};
use thalweg::Command;
use thalweg::policy::{Policy, View};

#[test]
fn inputs_may_be_closed_at_any_epoch() {
    for lead in [1, 3, 10] {
        for epochs in 0..8 {
            for workers in [1, 3] {
                let run = Run { workers, lead, epochs, seed: epochs + lead, checkpoint_every: 2, ..Run::default() };
                assert_eq!(run.outputs(None).0, run.expected(), "{run:?}");
            }
        }
    }
}

#[test]
fn a_dataflow_without_any_record_ends() {
    let run = Run { records: 0, workers: 3, ..Run::default() };
    assert!(run.outputs(None).0.is_empty());
}

#[test]
fn a_worker_without_records_takes_part() {
    let run = Run { records: 2, workers: 4, channels: Channels::Serialised, ..Run::default() };
    assert_eq!(run.outputs(None).0, run.expected());
}

/// The gate holds what has been sent ahead of the loop: nothing is lost, and nothing waits for ever.
#[test]
fn the_input_may_be_all_there_before_the_loop_turns_once() {
    let run = Run { ahead: 0, epochs: 60, lead: 1, workers: 3, commands: 6, ..Run::default() };
    assert_eq!(run.outputs(None).0, run.expected());
}

/// Has each shard go on to the next worker, always.
struct Restless;

impl Policy for Restless {
    fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        let next = |owner: usize| (owner + 1) % view.assignment.workers();
        view.assignment.iter().map(|(shard, owner)| Command::Move { shard, to: next(owner) }).collect()
    }
}

#[test]
fn state_that_moves_is_no_reason_to_move_it_on() {
    for lead in [1, 3] {
        let run = Run { workers: 2, lead, epochs: 5, ..Run::default() };
        assert_eq!(run.outputs_under(|| Restless, None).0, run.expected());
    }
}
