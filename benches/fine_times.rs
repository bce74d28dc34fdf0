//! What timestamps finer than an epoch cost: counting keys with one time per epoch, and with thousands.
//!
//! Each arm counts the same records by key, on one worker, in plain timely and over Thalweg with its loop. What is
//! measured is CPU time of the thread; what counts is how much more fine times cost over Thalweg than they cost in
//! plain timely, where every time is a message of its own too.

mod common;

use std::collections::HashMap;

use clap::Parser;
use common::{Arguments, Sample, cpu_seconds, finish, interleave};
use thalweg::policy::Static;
use thalweg::{Config, Epochs, Rebalance, stable_hash};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

const EPOCH_TICKS: u64 = 1_000_000;
const EPOCHS: u64 = 20;
const KEYS: u64 = 10_000;

#[derive(Clone, Copy)]
enum Form {
    Plain,
    Thalweg,
}

/// CPU time of counting `records` per epoch, at so many times in each.
fn seconds(form: Form, records: u64, times: u64) -> f64 {
    timely::execute_directly(move |worker| {
        let (mut input, probe) = (InputHandle::new(), ProbeHandle::new());
        worker.dataflow::<u64, _, _>(|scope| {
            let data = scope.input_from(&mut input).container::<Vec<u64>>();
            let counts = match form {
                Form::Plain => data.unary(Exchange::new(stable_hash::<u64>), "Count", |_, _| {
                    let mut counts: HashMap<u64, u64> = HashMap::new();
                    move |input, output| {
                        input.for_each(|capability, keys| {
                            let count = |key: u64| {
                                let count = counts.entry(key).or_default();
                                *count += 1;
                                *count
                            };
                            output.session(&capability).give_iterator(keys.drain(..).map(count));
                        });
                    }
                }),
                Form::Thalweg => {
                    let config = Config { epochs: Epochs::of(EPOCH_TICKS).expect("not 0"), ..Config::default() };
                    data.rebalance(&config, stable_hash::<u64>)
                        .and_then(|stage| stage.policy(Static))
                        .expect("the configuration is valid")
                        .fold_keyed(
                            |key| *key,
                            |_, count: &mut u64, context| {
                                *count += 1;
                                context.give(*count);
                            },
                        )
                }
            };
            counts.container::<Vec<u64>>().probe_with(&probe);
        });
        let started = cpu_seconds();
        for epoch in 0..EPOCHS {
            for time in 0..times {
                input.advance_to(epoch * EPOCH_TICKS + time * (EPOCH_TICKS / times));
                (time * records / times..(time + 1) * records / times).for_each(|i| input.send((i * i + epoch) % KEYS));
                if time % 64 == 63 {
                    worker.step();
                }
            }
            input.advance_to((epoch + 1) * EPOCH_TICKS);
            while probe.less_than(&(epoch * EPOCH_TICKS)) {
                worker.step();
            }
        }
        input.close();
        while worker.step() {}
        cpu_seconds() - started
    })
}

fn main() {
    let arguments = Arguments::parse();
    let records = arguments.sized(100_000, 400_000);
    println!(
        "counting {records} records per epoch of {EPOCH_TICKS} ticks, {EPOCHS} epochs, 1 worker; CPU ns per record"
    );
    let mut found = Vec::new();
    for times in [1, 1_000, 10_000, records] {
        let arms: [&dyn Fn() -> f64; 2] =
            [&|| seconds(Form::Plain, records, times), &|| seconds(Form::Thalweg, records, times)];
        let [plain, thalweg] = interleave(arguments.pairs(), arms);
        let nanos = |sample: &Sample| sample.median() * 1e9 / (records * EPOCHS) as f64;
        let ratio = thalweg.ratio(&plain);
        println!(
            "{times:>8} times per epoch: plain {:7.1}  thalweg {:7.1}  ratio {ratio}",
            nanos(&plain),
            nanos(&thalweg)
        );
        found.push((format!("times_{times}"), ratio.json()));
    }
    finish(found);
}
