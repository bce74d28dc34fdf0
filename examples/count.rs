//! The smallest program: counts words, rebalanced, wherever their shards are.
//!
//! ```text
//! cargo run --release --example count -- -w 2
//! ```

use thalweg::{Config, Rebalance, stable_hash};
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

const TEXT: &str = "the line along which a river runs fastest is the line that it carves and the line that it leaves";

fn main() -> Result<(), String> {
    let guards = timely::execute_from_args(std::env::args(), |worker| {
        let (mut input, probe) = (InputHandle::new(), ProbeHandle::new());
        worker.dataflow::<u64, _, _>(|scope| {
            scope
                .input_from(&mut input)
                .container::<Vec<String>>()
                .rebalance(&Config::default(), stable_hash)?
                .fold_keyed(String::clone, |word, count: &mut u64, out| {
                    *count += 1;
                    out.give((word, *count));
                })
                .inspect(|(word, count)| println!("{word}: {count}"))
                .probe_with(&probe);
            Ok::<_, thalweg::Error>(())
        })?;
        for epoch in 0..3 {
            TEXT.split(' ').filter(|_| worker.index() == 0).for_each(|word| input.send(word.to_owned()));
            input.advance_to(epoch + 1);
            worker.step_or_park_while(None, || probe.less_than(input.time()));
        }
        Ok(())
    })?;
    guards.join().into_iter().try_for_each(|worker| worker?.map_err(|error: thalweg::Error| error.to_string()))
}
