//! A dataflow of one worker that counts keys.

use thalweg::policy::Static;
use thalweg::{Assignment, Config, Rebalance};
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

use crate::allocator::allocated;
use crate::common::cpu_seconds;

/// Epochs before any is measured.
const WARM_UP: u64 = 12;

/// What a run has come to.
pub struct Run {
    /// CPU time per epoch.
    pub seconds: f64,
    /// What is allocated at its end, but for keys and their states.
    pub bytes: usize,
}

/// Epochs of a dataflow with so many shards, of which so many have one key each, with a record in each epoch.
pub fn run(shards: usize, live: usize, epochs: u64) -> Run {
    let ranges = Assignment::even(shards, 1).expect("the sizes are possible");
    let keys: Vec<u64> = (0..live).map(|i| ranges.range(i * (shards / live)).start()).collect();
    drop(ranges);
    let before = allocated();
    timely::execute_directly(move |worker| {
        let (mut input, probe) = (InputHandle::new(), ProbeHandle::new());
        worker.dataflow::<u64, _, _>(|scope| {
            let data = scope.input_from(&mut input).container::<Vec<u64>>();
            let config = Config { shards, ..Config::default() };
            data.rebalance(&config, |key| *key)
                .and_then(|stage| stage.policy(Static))
                .expect("the configuration is valid")
                .fold_keyed(
                    |key| *key,
                    |_, count: &mut u64, context| {
                        *count += 1;
                        context.give(*count);
                    },
                )
                .container::<Vec<u64>>()
                .probe_with(&probe);
        });
        let mut epoch = 0;
        let mut go = |epochs: u64| {
            let started = cpu_seconds();
            for _ in 0..epochs {
                keys.iter().for_each(|key| input.send(*key));
                epoch += 1;
                input.advance_to(epoch);
                while probe.less_than(&epoch) {
                    worker.step();
                }
            }
            (cpu_seconds() - started) / epochs as f64
        };
        go(WARM_UP);
        let seconds = go(epochs);
        let bytes = allocated() - before;
        input.close();
        while worker.step() {}
        Run { seconds, bytes }
    })
}
