//! What is felt of a checkpoint: the latency of counting by key while one is taken, what it writes, and how much less
//! is done in a time.
//!
//! Before each checkpoint a part of the keys has changed since the one before, scattered over all shards. Latency is
//! that of slices fed by a schedule at half of what the workers can do (`common/open.rs`), in a window that begins when
//! a checkpoint is asked for, and in a quiet one of equal length just before it. Sustained throughput is that of a
//! hundred epochs fed as fast as they are taken, with and without a checkpoint. The store is a directory, and what it
//! takes is durable. Left out are loading and the first checkpoint, of everything, which are the cold start.
//!
//! Two workers on two cores have none for the thread that writes: so it is measured with one worker too, but for
//! `--quick`.

mod common;
#[path = "common/open.rs"]
mod open;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Parser;
use common::{Arguments, Ratio, Sample, Verdict, finish};
use open::{EPOCH, Feed, Seen, Start, WARM, drawn, half_load, in_turn, process_cpu_seconds, together};
use serde_json::Value;
use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Directory, Fingerprint, Store};
use thalweg::keyed::Fault;
use thalweg::keyed::codec::{Codec, Columns};
use thalweg::observe::{CheckpointEvent, Event};
use thalweg::policy::Static;
use thalweg::{Config, Epochs, Error, Rebalance, stable_hash};
use timely::dataflow::operators::{Input, Probe};
use timely::worker::Worker;

/// Percent of the keys that have changed since the checkpoint before.
const SHARES: [u64; 3] = [1, 10, 100];

/// Slices in which keys are loaded, or changed without a schedule.
const LOADING: u64 = 25 * EPOCH;

/// Slices for measuring what the workers can do, and records in each.
const TRIAL: (u64, u64) = (50 * EPOCH, 4_000);

/// Slices after which a checkpoint that has been asked for has begun: it is commanded once an epoch is complete, and
/// begins two epochs later.
const ASKING: u64 = 6 * EPOCH;

/// Slices from one checkpoint to the next, where throughput is measured.
const SUSTAINED: u64 = 100 * EPOCH;

/// Prime, and no factor of a number of keys: its multiples are all of them, in no order.
const SCATTER: u64 = 982_451_653;

/// A throughput of 0.97 of that without checkpoints.
const MOST_TIME: f64 = 1.0 / 0.97;

/// How long nothing is written once merging what earlier checkpoints have left is over.
const CALM: Duration = Duration::from_millis(300);

/// How long a worker that waits for the store sleeps, if it isn't woken: seldom enough to cost nothing that is
/// measured.
const NAP: Duration = Duration::from_millis(20);

#[derive(Clone, Copy)]
struct Size {
    workers: usize,
    keys: u64,
    /// Slices of a window.
    window: u64,
    /// Records of an epoch where throughput is measured.
    records: u64,
    pairs: usize,
}

/// A directory, and how much has been written to it.
struct Counted {
    directory: Directory,
    bytes: AtomicU64,
    written: Mutex<Instant>,
}

impl Counted {
    fn count(&self, bytes: &[u8]) {
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        *self.written.lock().expect("nobody panics") = Instant::now();
    }

    fn is_calm(&self) -> bool {
        self.written.lock().expect("nobody panics").elapsed() > CALM
    }
}

impl Store for Counted {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.count(bytes);
        self.directory.put(name, bytes)
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.count(bytes);
        self.directory.create(name, bytes)
    }
    fn get(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.directory.get(name)
    }
    fn get_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        self.directory.get_range(name, offset, length)
    }
    fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.directory.list(prefix)
    }
    fn delete(&self, name: &str) -> Result<(), Error> {
        self.directory.delete(name)
    }
}

/// What the workers share.
struct Shared {
    size: Size,
    store: Arc<Counted>,
    checkpoints: Checkpoints,
    start: Start,
    /// Records per slice at half load.
    rate: AtomicU64,
    /// Checkpoints that are durable.
    durable: AtomicU64,
    events: Mutex<Vec<CheckpointEvent>>,
}

impl Shared {
    fn note(&self, event: &Event) {
        let Event::Checkpoint(event) = event else { return };
        assert_eq!(event.error, None, "the disk works");
        self.events.lock().expect("no worker panics").push(event.clone());
        self.durable.fetch_add(1, Ordering::AcqRel);
    }
}

/// One window with a checkpoint, and the quiet one before it.
#[derive(Clone)]
struct Visit {
    share: usize,
    seen: Seen,
    bytes: u64,
    saved_keys: u64,
    seconds: f64,
}

/// A hundred epochs without a checkpoint, or with one.
#[derive(Clone, Copy)]
struct Run {
    share: usize,
    with: bool,
    wall: f64,
    cpu: f64,
    saved_keys: u64,
}

/// A worker, and its dataflow.
struct Running<'a> {
    worker: &'a mut Worker,
    feed: Feed,
    fault: Fault,
    shared: &'a Shared,
    /// Checkpoints that have been asked for.
    asked: u64,
}

impl<'a> Running<'a> {
    fn new(worker: &'a mut Worker, shared: &'a Arc<Shared>) -> Self {
        let (mut feed, fault) = (Feed::new(), Fault::new());
        let config = Config { epochs: Epochs::of(EPOCH).expect("not 0"), ..Config::default() };
        let noting = Arc::clone(shared);
        worker.dataflow::<u64, _, _>(|scope| {
            let counts = scope
                .input_from(&mut feed.input)
                .container::<Vec<u64>>()
                .rebalance(&config, stable_hash::<u64>)
                .and_then(|stage| stage.policy(Static)?.checkpoint_to(&shared.checkpoints, &fault))
                .expect("the configuration is valid")
                .observe(move |event| noting.note(event))
                .fold_keyed(
                    |key| *key,
                    |_, count: &mut u64, context| {
                        *count += 1;
                        context.give(*count);
                    },
                );
            counts.container::<Vec<u64>>().probe_with(&feed.probe);
        });
        Running { worker, feed, fault, shared, asked: 0 }
    }

    fn closed(&mut self, slices: u64, keys: open::Keys<'_>) {
        self.feed.closed(self.worker, slices, keys);
    }

    /// The event of the last checkpoint that was asked for, once it is durable and nothing is written any more.
    fn wait_for_checkpoint(&mut self) -> CheckpointEvent {
        while self.shared.durable.load(Ordering::Acquire) < self.asked || !self.shared.store.is_calm() {
            self.worker.step_or_park(Some(NAP));
            self.fault.check().expect("the disk works");
        }
        let events = self.shared.events.lock().expect("no worker panics");
        events.last().expect("it has become durable").clone()
    }

    fn ask(&mut self) {
        self.asked += 1;
        if self.worker.index() == 0 {
            self.shared.checkpoints.request();
        }
    }

    /// Takes a checkpoint of what has changed so far, then changes just these keys.
    fn prepare(&mut self, changing: u64) {
        self.ask();
        let few = scattered(drawn(self.worker, 100, 1), self.shared.size.keys);
        self.closed(ASKING, &few);
        self.wait_for_checkpoint();
        let each = in_turn(self.worker, changing, self.feed.slice(), LOADING);
        let each = scattered(each, self.shared.size.keys);
        self.closed(LOADING, &each);
    }

    fn visit(&mut self, share: usize) -> Visit {
        let Size { keys, window, .. } = self.shared.size;
        let changing = keys * SHARES[share] / 100;
        self.prepare(changing);
        let rate = self.shared.rate.load(Ordering::Acquire);
        let some = scattered(drawn(self.worker, rate, changing), keys);
        self.asked += 1;
        let (asking, index) = (self.shared.checkpoints.clone(), self.worker.index());
        let begin = self.shared.start.agree();
        let seen = self.feed.open(self.worker, begin, WARM + 2 * window, &some, |slice| {
            if slice == WARM + window && index == 0 {
                asking.request();
            }
        });
        let CheckpointEvent { bytes, saved_keys, seconds, .. } = self.wait_for_checkpoint();
        Visit { share, seen, bytes, saved_keys, seconds }
    }

    fn sustain(&mut self, share: usize, with: bool) -> Run {
        let Size { keys, records, .. } = self.shared.size;
        let changing = keys * SHARES[share] / 100;
        self.prepare(changing);
        let some = scattered(drawn(self.worker, records / EPOCH, changing), keys);
        self.shared.start.wait();
        let (begin, cpu) = (Instant::now(), process_cpu_seconds());
        if with {
            self.ask();
        }
        self.closed(SUSTAINED, &some);
        let wall = begin.elapsed().as_secs_f64();
        // What is still being written is of this run too.
        let saved_keys = if with { self.wait_for_checkpoint().saved_keys } else { 0 };
        self.shared.start.wait();
        Run { share, with, wall, cpu: process_cpu_seconds() - cpu, saved_keys }
    }
}

/// Keys in no order.
fn scattered(keys: impl Fn(u64, &mut Vec<u64>), all: u64) -> impl Fn(u64, &mut Vec<u64>) {
    move |slice, buffer| {
        keys(slice, buffer);
        buffer.iter_mut().for_each(|key| *key = *key * SCATTER % all);
    }
}

fn work(worker: &mut Worker, shared: &Arc<Shared>) -> (Vec<Visit>, Vec<Run>) {
    let Size { keys, pairs, .. } = shared.size;
    let mut running = Running::new(worker, shared);
    let all = in_turn(running.worker, keys, 0, LOADING);
    running.closed(LOADING, &all);
    running.prepare(keys);
    shared.start.wait();
    let (begin, (slices, records)) = (Instant::now(), TRIAL);
    let some = drawn(running.worker, records, keys);
    running.closed(slices, &some);
    if running.worker.index() == 0 {
        shared.rate.store(half_load(TRIAL, begin), Ordering::Release);
    }
    shared.start.wait();
    let (mut visits, mut runs) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        for place in 0..SHARES.len() {
            let share = if pair % 2 == 0 { place } else { SHARES.len() - 1 - place };
            visits.push(running.visit(share));
            runs.extend([pair % 2 == 0, pair % 2 != 0].map(|with| running.sustain(share, with)));
        }
    }
    (visits, runs)
}

/// Bytes of one key with its state, as encoded.
fn row_bytes() -> f64 {
    const ROWS: u64 = 1000;
    let mut encoder = <Columns as Codec<u64, u64>>::Encoder::default();
    (0..ROWS).for_each(|key| <Columns as Codec<u64, u64>>::push(&mut encoder, (stable_hash(&key), &key, &1, &[], 0)));
    <Columns as Codec<u64, u64>>::finish(encoder).len() as f64 / ROWS as f64
}

fn main() {
    let arguments = Arguments::parse();
    let keys = arguments.sized(1_000_000, 10_000_000);
    let mut found = Vec::new();
    let (window, records) = (arguments.sized(30 * EPOCH, 200 * EPOCH), keys / 20);
    for workers in (arguments.sized(2, 1)..=2).rev() {
        let workers = workers as usize;
        measure(Size { workers, keys, window, records, pairs: arguments.pairs() }, &mut found);
    }
    finish(found);
}

fn measure(size: Size, found: &mut Vec<(String, Value)>) {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let store = Arc::new(Counted {
        directory: Directory::open(directory.path()).expect("the directory can be made"),
        bytes: AtomicU64::new(0),
        written: Mutex::new(Instant::now()),
    });
    let config = CheckpointConfig { trigger: "every:1000000000".parse().expect("it is one"), ..Default::default() };
    let counted: Arc<dyn Store> = Arc::clone(&store) as _;
    let checkpoints = Checkpoints::begin(counted, Fingerprint::default(), config).expect("there is no checkpoint");
    let shared = Arc::new(Shared {
        size,
        store,
        checkpoints,
        start: Start::new(size.workers),
        rate: AtomicU64::new(0),
        durable: AtomicU64::new(0),
        events: Mutex::default(),
    });
    let working = Arc::clone(&shared);
    let guards = timely::execute(timely::Config::process(size.workers), move |worker| work(worker, &working));
    let workers: Vec<(Vec<Visit>, Vec<Run>)> =
        guards.expect("workers start").join().into_iter().map(|found| found.expect("no worker panics")).collect();
    let seen = |i: usize| together(workers.iter().map(|(visits, _)| visits[i].seen.clone()));
    let (visits, runs) = &workers[0];
    let visits: Vec<Visit> =
        visits.iter().enumerate().map(|(i, visit)| Visit { seen: seen(i), ..visit.clone() }).collect();
    println!(
        "{} keys, {} worker(s), {} records per ms (half load), windows of {} ms; throughput with {} records per epoch",
        size.keys,
        size.workers,
        shared.rate.load(Ordering::Acquire),
        size.window,
        size.records
    );
    for (share, percent) in SHARES.iter().enumerate() {
        let visits: Vec<&Visit> = visits.iter().filter(|visit| visit.share == share).collect();
        let runs: Vec<&Run> = runs.iter().filter(|run| run.share == share).collect();
        let suffix = format!("{percent}_percent_{}_workers", size.workers);
        let named = |(name, value): (String, Value)| (format!("{name}_{suffix}"), value);
        found.extend(report(size, *percent, &visits, &runs).into_iter().map(named));
    }
    let saved: u64 = shared.events.lock().expect("no worker panics").iter().map(|event| event.bytes).sum();
    let put = shared.store.bytes.load(Ordering::Relaxed) as f64 / saved as f64;
    println!("all that was written, merged and manifests included, over what was saved: {put:.2}");
    found.push((format!("written_over_saved_{}_workers", size.workers), put.into()));
}

/// Prints what has been found of one share of changed keys.
fn report(size: Size, percent: u64, visits: &[&Visit], runs: &[&Run]) -> Vec<(String, Value)> {
    let tails: Vec<_> = visits.iter().map(|visit| visit.seen.windows()).collect();
    let sample = |window: usize, of: fn(&open::Tail) -> f64| tails.iter().map(|t| of(&t[window])).collect::<Sample>();
    let [quiet, event] =
        [0, 1].map(|window| [sample(window, |t| t.median), sample(window, |t| t.p999), sample(window, |t| t.max)]);
    let medians = |samples: &[Sample; 3]| samples.each_ref().map(Sample::median);
    let ([a, b, c], [d, e, f]) = (medians(&quiet), medians(&event));
    let each = |of: fn(&Visit) -> f64| visits.iter().map(|visit| of(visit)).collect::<Sample>().median();
    let (saved, bytes, seconds) = (each(|v| v.saved_keys as f64), each(|v| v.bytes as f64), each(|v| v.seconds));
    println!("{percent:>3} % changed: quiet p50 {a:.2} p99.9 {b:.2} max {c:.2} ms, checkpoint {d:.2} {e:.2} {f:.2} ms");
    println!("     {saved:.0} keys saved of {}, {:.1} bytes each, in {seconds:.2} s", size.keys, bytes / saved);
    let ([p999, max], size_ratio) =
        ([event[1].ratio(&quiet[1]), event[2].ratio(&quiet[2])], bytes / (saved * row_bytes()));
    let arm =
        |with: bool, of: fn(&Run) -> f64| runs.iter().filter(|r| r.with == with).map(|run| of(run)).collect::<Sample>();
    let wall: Ratio = arm(false, |run| run.wall).ratio(&arm(true, |run| run.wall));
    let cpu: Ratio = arm(false, |run| run.cpu).ratio(&arm(true, |run| run.cpu));
    let more = arm(true, |run| run.cpu).median() - arm(false, |run| run.cpu).median();
    let per_key = more * 1e9 / arm(true, |run| run.saved_keys as f64).median();
    println!("     throughput over that without: wall {wall}, by CPU time {cpu}; {per_key:.0} ns of CPU per key saved");
    println!("     max over quiet {max}, p99.9 {p999}");
    let changing = size.keys as f64 * percent as f64 * 0.01;
    let verdicts = [
        Verdict::at_most("max", max.median, 1.1),
        Verdict::at_most("keys saved over those that have changed", saved / changing, 1.01),
        Verdict::at_most("bytes (compressed) over those of the changed state as encoded", size_ratio, 1.1),
        Verdict::at_most("time with checkpoints over without", 1.0 / wall.median, MOST_TIME),
    ];
    let found = [
        ("max", max.json()),
        ("p999", p999.json()),
        ("throughput", wall.json()),
        ("throughput_cpu", cpu.json()),
        ("bytes", size_ratio.into()),
    ];
    let found = found.map(|(name, value)| (name.to_owned(), value)).into_iter();
    found.chain(verdicts.map(Verdict::tell)).collect()
}
