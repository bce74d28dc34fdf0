use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use thalweg::{Config, Rebalance, stable_hash};
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

use super::stream::Stream;

const WORKERS: usize = 4;
const EPOCHS: u64 = 30;
const RECORDS: usize = 20_000;

/// Records by epoch and key.
type Counts = BTreeMap<(u64, u32), u64>;

/// Counts a stream in a dataflow with the default policy, and one by one: whether the counts are the same, and the part
/// of the records that gates have folded.
pub fn is_exact(exponent: f64) -> bool {
    let mut stream = Stream::new(exponent, 7);
    let mut epochs = Vec::new();
    for epoch in 0..EPOCHS {
        if epoch % super::REDRAWN_EVERY == 0 {
            stream.redraw();
        }
        epochs.push(stream.epoch(RECORDS));
    }
    let mut expected = Counts::new();
    for (epoch, keys) in (1..).zip(&epochs) {
        keys.iter().for_each(|key| *expected.entry((epoch, *key)).or_default() += 1);
    }
    counted(Arc::new(epochs)) == expected
}

fn counted(epochs: Arc<Vec<Vec<u32>>>) -> Counts {
    let counts: Arc<Mutex<Counts>> = Arc::default();
    let result = Arc::clone(&counts);
    let guards = timely::execute(timely::Config::process(WORKERS), move |worker| {
        let (mut input, probe) = (InputHandle::new(), ProbeHandle::new());
        let counts = Arc::clone(&counts);
        worker.dataflow::<u64, _, _>(|scope| {
            let data = scope.input_from(&mut input).container::<Vec<u32>>();
            data.rebalance(&Config::default(), stable_hash::<u32>)
                .expect("the configuration is valid")
                .fold_epochs(
                    |key| *key,
                    |_, count: &mut u64| *count += 1,
                    |count, more| *count += more,
                    |count, (): &mut (), context| context.give((*context.time(), *context.key(), count)),
                )
                .container::<Vec<(u64, u32, u64)>>()
                .inspect(move |(epoch, key, count)| {
                    let mut counts = counts.lock().expect("no worker has panicked");
                    *counts.entry((*epoch, *key)).or_default() += count;
                })
                .probe_with(&probe);
        });
        for (epoch, keys) in (1..).zip(epochs.iter()) {
            let part = keys.chunks(keys.len().div_ceil(WORKERS)).nth(worker.index()).unwrap_or_default();
            input.send_batch(&mut part.to_vec());
            input.advance_to(epoch);
            while probe.less_than(&epoch.saturating_sub(2)) {
                worker.step_or_park(None);
            }
        }
    });
    drop(guards.expect("the workers start"));
    std::mem::take(&mut *result.lock().expect("no worker has panicked"))
}
