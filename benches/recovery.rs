//! How long a recovery takes: until the first output that had not been there before the crash.
//!
//! What it should take is what reading the checkpoint back takes, and applying again the records after it: measured as
//! a plain loader on as many threads, which reads, checks and decodes the same objects into one map each, and as the
//! same number of records in the steady state of the recovered run. Wall time, as it is the user's.

mod common;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use common::{Arguments, finish, interleave};
use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Directory, Fingerprint, Memory, Store, read_chunk};
use thalweg::keyed::Fault;
use thalweg::keyed::codec::{Codec, Columns};
use thalweg::policy::Script;
use thalweg::{Config, Rebalance, stable_hash};
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

const WORKERS: usize = 2;
/// The checkpoint is taken at this boundary, when each key has been seen.
const CHECKPOINT: u64 = 10;
/// Epochs after it whose output was there before the crash.
const REPLAYED: u64 = 10;

type State = (u64, f64);

#[derive(Clone, Copy)]
struct Size {
    keys: u64,
    /// Per epoch after the checkpoint.
    records: u64,
}

impl Size {
    /// The keys of an epoch that one worker feeds: before the checkpoint all of them in turn.
    fn keys_of(self, epoch: u64, worker: u64) -> impl Iterator<Item = u64> {
        let all = self.keys / CHECKPOINT;
        let count = if epoch < CHECKPOINT { all } else { self.records };
        let share = (0..count).filter(move |i| i % WORKERS as u64 == worker);
        share.map(move |i| if epoch < CHECKPOINT { epoch * all + i } else { stable_hash(&(i, epoch)) % self.keys })
    }
}

fn open(directory: &Path, resume: bool) -> Checkpoints {
    let config =
        CheckpointConfig { trigger: "every:1000000".parse().expect("it is one"), ..CheckpointConfig::default() };
    let store = Arc::new(Directory::open(directory).expect("the directory can be made"));
    let open = if resume { Checkpoints::resume } else { Checkpoints::begin };
    open(store, Fingerprint::default(), config).expect("there is a checkpoint, or none")
}

/// Runs epochs up to `end`, and says when the outputs of those before each of `marks` were there.
fn run(checkpoints: Checkpoints, size: Size, end: u64, marks: [u64; 2]) -> [Instant; 2] {
    let passed = Arc::new(Mutex::new(Vec::new()));
    let passing = Arc::clone(&passed);
    let guards = timely::execute(timely::Config::process(WORKERS), move |worker| {
        let (mut input, probe, fault) = (InputHandle::new(), ProbeHandle::new(), Fault::new());
        let from = checkpoints.epoch();
        worker.dataflow::<u64, _, _>(|scope| {
            let script: Script = format!("{CHECKPOINT} checkpoint").parse().expect("it is a script");
            scope
                .input_from(&mut input)
                .container::<Vec<u64>>()
                .rebalance(&Config::default(), stable_hash::<u64>)
                .and_then(|stage| stage.policy(script)?.checkpoint_to(&checkpoints, &fault))
                .expect("the configuration is valid")
                .fold_keyed(
                    |key| *key,
                    |key, (count, sum): &mut State, context| {
                        *count += 1;
                        *sum += key as f64;
                        context.give(*count);
                    },
                )
                .probe_with(&probe);
        });
        let buffer = RefCell::new(Vec::new());
        for epoch in from..end {
            input.advance_to(epoch);
            buffer.borrow_mut().extend(size.keys_of(epoch, worker.index() as u64));
            input.send_batch(&mut buffer.borrow_mut());
            input.advance_to(epoch + 1);
            while probe.less_than(&epoch) {
                worker.step_or_park(Some(Duration::from_millis(1)));
                fault.check().expect("all objects are there");
            }
            if worker.index() == 0 && marks.contains(&epoch) {
                passing.lock().expect("no worker panics").push(Instant::now());
            }
        }
        input.close();
        while worker.step_or_park(Some(Duration::from_millis(1))) {}
    });
    guards.expect("workers start").join().into_iter().for_each(|worker| worker.expect("no worker panics"));
    let passed = passed.lock().expect("no worker panics");
    [passed[0], passed[1]]
}

/// Seconds that a plain loader takes.
fn load(directory: &Path) -> f64 {
    let store = Directory::open(directory).expect("it is there");
    let checkpoints = open(directory, true);
    let objects = &checkpoints.resumed().expect("there is a checkpoint").objects;
    let begin = Instant::now();
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let store = &store;
            scope.spawn(move || {
                let mut states: HashMap<u64, State> = HashMap::new();
                for object in objects.iter().skip(worker).step_by(WORKERS) {
                    let memory = Memory::default();
                    memory.put(&object.name, &store.get(&object.name).expect("it is there")).expect("it fits");
                    for chunk in &object.chunks {
                        let bytes = read_chunk(&memory, object, chunk).expect("it is whole").bytes;
                        <Columns as Codec<u64, State>>::decode(bytes, |(_, key, state, _, _)| {
                            _ = states.insert(key, state);
                        })
                        .expect("it is of these types");
                    }
                }
                assert!(!states.is_empty());
            });
        }
    });
    begin.elapsed().as_secs_f64()
}

fn main() {
    let arguments = Arguments::parse();
    let keys = arguments.sized(1_000_000, 4_000_000);
    let mut found = Vec::new();
    println!("{keys} keys, {WORKERS} workers, {REPLAYED} epochs to apply again; wall seconds");
    for records in [keys / 100, keys / 10] {
        let size = Size { keys, records };
        let directory = tempfile::tempdir().expect("there is room for a directory");
        let last = CHECKPOINT + REPLAYED;
        run(open(directory.path(), false), size, last, [CHECKPOINT, last - 1]);
        // The epoch `last` is new; those up to twice as far are the steady state.
        let steady = RefCell::new(0.0);
        let recover = || {
            let begin = Instant::now();
            let [first, end] =
                run(open(directory.path(), true), size, last + REPLAYED + 2, [last + 1, last + REPLAYED + 1]);
            *steady.borrow_mut() = (end - first).as_secs_f64();
            (first - begin).as_secs_f64()
        };
        let needed = || load(directory.path()) + *steady.borrow();
        let arms: [&dyn Fn() -> f64; 2] = [&recover, &needed];
        let [recovery, needed] = interleave(arguments.pairs(), arms);
        let ratio = recovery.ratio(&needed);
        let (recovery, needed) = (recovery.median(), needed.median());
        println!("{records:>9} records per epoch: recovery {recovery:.3}  needed {needed:.3}  ratio {ratio}");
        found.push((format!("recovery_{records}"), ratio.json()));
    }
    finish(found);
}
