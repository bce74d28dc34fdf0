//! Invariant 1: with any sequence of commands, any number of workers and any lead, the output per epoch, as a multiset,
//! is that of a plain program.

mod common;

use std::sync::{Arc, Mutex};

use common::{Channels, Outputs, Random, RandomPolicy, drive, expected, on_record, on_timer, records, timely_config};
use proptest::prelude::*;
use thalweg::{Config, Rebalance, stable_hash};
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

#[derive(Clone, Debug)]
struct Run {
    workers: usize,
    channels: Channels,
    lead: u64,
    shards: usize,
    chunk_bytes: usize,
    commands: usize,
    seed: u64,
    epochs: u64,
    records: u64,
    /// Epochs that the input may be ahead of the output; large enough to never wait if 0.
    ahead: u64,
}

fn outputs(run: &Run) -> Outputs {
    let seen = Arc::new(Mutex::new(Outputs::new()));
    let result = Arc::clone(&seen);
    let Run { workers, channels, .. } = *run;
    let run = run.clone();
    drive(timely_config(workers, channels), move |worker, stop| {
        let (index, peers) = (worker.index() as u64, worker.peers());
        let (probe, mut input, seen) = (ProbeHandle::new(), InputHandle::new(), Arc::clone(&seen));
        let config = Config { lead: run.lead, shards: run.shards, chunk_bytes: run.chunk_bytes, ..Config::default() };
        let policy = RandomPolicy { random: Random(run.seed), commands: run.commands, checkpoint_every: 5 };
        worker.dataflow::<u64, _, _>(|scope| {
            scope
                .input_from(&mut input)
                .container::<Vec<u64>>()
                .rebalance(&config, stable_hash)
                .unwrap()
                .policy(policy)
                .unwrap()
                .keyed(|key| *key, on_record, on_timer)
                .inspect_core(move |event| {
                    if let Ok((stamp, rows)) = event {
                        seen.lock().unwrap().entry(*stamp.least().unwrap()).or_default().extend_from_slice(rows);
                    }
                })
                .probe_with(&probe);
        });
        for epoch in 0..run.epochs {
            records(epoch, run.records).skip(index as usize).step_by(peers).for_each(|key| input.send(key));
            input.advance_to(epoch + 1);
            worker.step();
            if run.ahead > 0 {
                stop.step_until(worker, || !probe.less_than(&(epoch + 1).saturating_sub(run.ahead)));
            }
        }
        input.close();
        stop.step_until(worker, || probe.done());
    });
    let mut outputs = std::mem::take(&mut *result.lock().unwrap());
    outputs.values_mut().for_each(|rows| rows.sort_unstable());
    outputs
}

fn run() -> impl Strategy<Value = Run> {
    let channels = prop_oneof![Just(Channels::Moved), Just(Channels::Serialised)];
    let size = (1..25u64, 0..150u64, 0..4u64);
    (
        1..5usize,
        channels,
        1..5u64,
        1..20usize,
        prop_oneof![Just(1usize), Just(300), Just(65536)],
        0..6usize,
        any::<u64>(),
        size,
    )
        .prop_map(|(workers, channels, lead, shards, chunk_bytes, commands, seed, (epochs, records, ahead))| Run {
            workers,
            channels,
            lead,
            shards,
            chunk_bytes,
            commands,
            seed,
            epochs,
            records,
            ahead,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_output_is_that_of_a_plain_program(run in run()) {
        let expected = expected((0..run.epochs).map(|epoch| (epoch, records(epoch, run.records).collect())));
        prop_assert_eq!(outputs(&run), expected);
    }
}
