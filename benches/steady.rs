//! What Thalweg costs where nothing happens: counting keys, with routing, profiling and all that a checkpoint needs.
//!
//! Arms: plain timely (`Exchange` and one hash map per worker); Thalweg with its loop, a static policy, and a store to
//! which no checkpoint is due; and the form that Megaphone uses, where one operator tags each record with its worker
//! and another one keeps a map per bin. What is measured is CPU time of the workers while they step, per record, after
//! an epoch in which every key has come; and, of the first two, latency by a schedule (`common/open.rs`) at half of
//! what Thalweg can do, after a while in which it is not looked at, with a million keys and two workers.
//!
//! One figure varies at a time. Records have neither values nor sizes of their own. The policy is static: what deciding
//! costs is told by the bench *scale*, and so is what a shard costs that has records in an epoch; here an epoch has
//! about a thousand records for each shard, but 2^20 in all at least, and 2^22 (with `--quick`) or 2^26 at most. The
//! tagged form has no buffers for what moves, and so is the least that it can cost.

mod common;
#[path = "common/open.rs"]
mod open;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use common::{Arguments, Sample, Verdict, cpu_seconds, finish};
use foldhash::fast::RandomState;
use open::{EPOCH, Feed, Start, WARM, drawn, half_load, histogram, in_turn, together};
use serde_json::{Value, json};
use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Fingerprint, Memory};
use thalweg::keyed::Fault;
use thalweg::policy::Static;
use thalweg::{Config, Epochs, Rebalance, ordered_key, stable_hash};
use timely::communication::Config as Communication;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle, StreamVec};

type Counts = HashMap<u64, u64, RandomState>;

/// What is counted, and how it is routed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Workload {
    /// Keys all over the 64 bits, routed by their hashes.
    HashCount,
    /// Keys from 0 on, routed by themselves.
    KeyCount,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Thalweg,
    Tagged,
}

const ARMS: [Form; 3] = [Form::Plain, Form::Thalweg, Form::Tagged];

/// Records in a message, as timely's own buffers have.
const BATCH: usize = 1024;

/// Slices in which all keys are loaded there.
const LOADING: u64 = 50 * EPOCH;

/// Slices for measuring what Thalweg can do, and records in each.
const TRIAL: (u64, u64) = (50 * EPOCH, 10_000);

/// Steps after which nothing is left to be done for an epoch.
const AFTER: usize = 100;

/// One line of the table.
#[derive(Clone, Copy)]
struct Case {
    workload: Workload,
    workers: usize,
    serialised: bool,
    keys: u64,
    shards: usize,
}

/// The routing key: the top bits say where it belongs.
fn routing_key(workload: Workload, keys: u64) -> impl Fn(&u64) -> u64 + Clone + 'static {
    let width = u64::MAX / keys;
    move |key| match workload {
        Workload::HashCount => stable_hash(key),
        Workload::KeyCount => ordered_key(key) * width,
    }
}

fn plain<'scope>(data: StreamVec<'scope, u64, u64>, case: Case) -> StreamVec<'scope, u64, u64> {
    data.unary(Exchange::new(stable_hash::<u64>), "Count", |_, _| {
        let mut counts = Counts::default();
        move |input, output| {
            input.for_each(|capability, keys| {
                keys.drain(..).for_each(|key| *counts.entry(key).or_default() += 1);
                if counts.len() as u64 > case.keys {
                    output.session(&capability).give(0);
                }
            });
        }
    })
}

fn tagged<'scope>(data: StreamVec<'scope, u64, u64>, case: Case) -> StreamVec<'scope, u64, u64> {
    let routing_key = routing_key(case.workload, case.keys);
    let shift = 64 - case.shards.trailing_zeros();
    let owners: Vec<u64> = (0..case.shards as u64).map(|bin| bin % case.workers as u64).collect();
    data.map(move |key| {
        let bin = routing_key(&key) >> shift;
        (owners[bin as usize], bin, key)
    })
    .unary(Exchange::new(|(to, _, _): &(u64, u64, u64)| *to), "Count", move |_, _| {
        let mut bins: Vec<Counts> = vec![Counts::default(); case.shards];
        move |input, output| {
            input.for_each(|capability, records| {
                for (_, bin, key) in records.drain(..) {
                    *bins[bin as usize].entry(key).or_default() += 1;
                }
                if bins[0].len() as u64 > case.keys {
                    output.session(&capability).give(0);
                }
            });
        }
    })
}

fn thalweg<'scope>(
    data: StreamVec<'scope, u64, u64>,
    case: Case,
    checkpoints: &Checkpoints,
    epochs: Epochs,
) -> StreamVec<'scope, u64, u64> {
    let config = Config { shards: case.shards, epochs, ..Config::default() };
    data.rebalance(&config, routing_key(case.workload, case.keys))
        .and_then(|stage| stage.policy(Static)?.checkpoint_to(checkpoints, &Fault::unwatched()))
        .expect("the configuration is valid")
        .fold_keyed(|key| *key, |_, count: &mut u64, _| *count += 1)
}

/// A store to which no checkpoint is due.
fn never() -> Checkpoints {
    let config =
        CheckpointConfig { trigger: "every:1000000".parse().expect("a trigger"), ..CheckpointConfig::default() };
    Checkpoints::begin(Arc::new(Memory::default()), Fingerprint::default(), config).expect("the store is empty")
}

/// The batches of one epoch of one worker: in the first all keys, in the others any.
fn batches(case: Case, epoch: usize, worker: usize, records: u64) -> Vec<Vec<u64>> {
    let workers = case.workers as u64;
    let of = |i: u64| match case.workload {
        Workload::HashCount => stable_hash(&i),
        Workload::KeyCount => i,
    };
    let any = |i: u64| of(stable_hash(&(i, epoch as u64)) % case.keys);
    let count = if epoch == 0 { case.keys } else { records } / workers;
    let keys = (0..count).map(|i| i * workers + worker as u64).map(|i| if epoch == 0 { of(i) } else { any(i) });
    let keys: Vec<u64> = keys.collect();
    keys.chunks(BATCH).map(<[u64]>::to_vec).collect()
}

/// CPU seconds of all workers, for each arm and epoch. All arms are dataflows of the same workers, and have an epoch in
/// turn, forth and back.
fn seconds(case: Case, epochs: usize, records: u64) -> Vec<[f64; 3]> {
    let checkpoints = never();
    let guards = timely::execute(case.timely(), move |worker| {
        let mut arms = ARMS.map(|form| {
            let (mut input, probe) = (InputHandle::new(), ProbeHandle::new());
            worker.dataflow::<u64, _, _>(|scope| {
                let data = scope.input_from(&mut input).container::<Vec<u64>>();
                let counts = match form {
                    Form::Plain => plain(data, case),
                    Form::Thalweg => thalweg(data, case, &checkpoints, Epochs::default()),
                    Form::Tagged => tagged(data, case),
                };
                counts.container::<Vec<u64>>().probe_with(&probe);
            });
            (input, probe)
        });
        let mut used = vec![[0.0; 3]; epochs];
        for (epoch, used) in used.iter_mut().enumerate() {
            for turn in 0..ARMS.len() {
                let arm = if epoch % 2 == 0 { turn } else { ARMS.len() - 1 - turn };
                let (input, probe) = &mut arms[arm];
                let batches = batches(case, epoch, worker.index(), records);
                let started = cpu_seconds();
                for (i, mut batch) in batches.into_iter().enumerate() {
                    input.send_batch(&mut batch);
                    if i % 16 == 15 {
                        worker.step();
                    }
                }
                input.advance_to(epoch as u64 + 1);
                while probe.less_than(input.time()) {
                    worker.step_or_park(None);
                }
                // The loop has its turn after the epoch's output.
                (0..AFTER).for_each(|_| _ = worker.step_or_park(Some(Duration::ZERO)));
                used[arm] = cpu_seconds() - started;
            }
        }
        used
    });
    let mut sum = vec![[0.0; 3]; epochs];
    for used in guards.expect("the workers start").join() {
        let used = used.expect("no worker panics");
        sum.iter_mut().zip(used).for_each(|(sum, used)| sum.iter_mut().zip(used).for_each(|(s, u)| *s += u));
    }
    sum
}

/// The 99th percentiles of latencies, in ms, of so many visits to plain timely and to Thalweg by turns.
fn tails(case: Case, visits: usize, window: u64) -> [Sample; 2] {
    let (checkpoints, start) = (never(), Start::new(case.workers));
    let rate = Arc::new(AtomicU64::new(0));
    let guards = timely::execute(case.timely(), move |worker| {
        let mut arms = [Form::Plain, Form::Thalweg].map(|form| {
            let mut feed = Feed::new();
            worker.dataflow::<u64, _, _>(|scope| {
                let data = scope.input_from(&mut feed.input).container::<Vec<u64>>();
                let counts = match form {
                    Form::Thalweg => thalweg(data, case, &checkpoints, Epochs::of(EPOCH).expect("not 0")),
                    Form::Plain | Form::Tagged => plain(data, case),
                };
                counts.container::<Vec<u64>>().probe_with(&feed.probe);
            });
            feed
        });
        arms.iter_mut().for_each(|feed| feed.closed(worker, LOADING, &in_turn(worker, case.keys, 0, LOADING)));
        start.wait();
        let begun = Instant::now();
        arms[1].closed(worker, TRIAL.0, &drawn(worker, TRIAL.1, case.keys));
        rate.fetch_max(half_load(TRIAL, begun), Ordering::SeqCst);
        start.wait();
        let keys = drawn(worker, rate.load(Ordering::SeqCst), case.keys);
        let mut seen = Vec::new();
        for visit in 0..2 * visits + 2 {
            let arm = usize::from(visit % 4 == 1 || visit % 4 == 2);
            let begin = start.agree();
            seen.push((arm, arms[arm].open(worker, begin, WARM + window, &keys, |_| ())));
        }
        seen
    });
    let workers: Vec<_> =
        guards.expect("the workers start").join().into_iter().map(|seen| seen.expect("no worker panics")).collect();
    let mut tails = [Vec::new(), Vec::new()];
    // The first visit of each arm is a cold start.
    for visit in 2..2 * visits + 2 {
        let seen = together(workers.iter().map(|visits| visits[visit].1.clone()));
        let p99 = histogram(&seen.latencies[WARM as usize..]).value_at_quantile(0.99);
        tails[workers[0][visit].0].push(p99 as f64 * 1e-6);
    }
    tails.map(|tails| tails.into_iter().collect())
}

fn main() {
    let arguments = Arguments::parse();
    let epochs = 2 + arguments.pairs();
    println!("{:>46} plain, ns   Thalweg, ratio           tagged, ratio", "");
    let mut found = Vec::new();
    for case in cases(&arguments) {
        // A thousand records for each shard, where that is not too much.
        let records = (case.shards as u64 * 1024).clamp(1 << 20, arguments.sized(1 << 22, 1 << 26));
        let seconds = seconds(case, epochs, records);
        // The first epoch has all keys, the second one is the first with these tables.
        let [plain, thalweg, tagged] =
            [0, 1, 2].map(|arm| seconds[2..].iter().map(|epoch| epoch[arm]).collect::<Sample>());
        let (ours, theirs) = (thalweg.ratio(&plain), tagged.ratio(&plain));
        let nanos = plain.median() * 1e9 / records as f64;
        println!("{case:>46} {nanos:9.1}   {ours:<22}   {theirs}");
        if let Some(most) = most_cpu(case.shards) {
            found.push(Verdict::at_most(format!("{case}: CPU"), ours.median, most).tell());
        }
        found.push((case.to_string(), json!({ "plain_ns": nanos, "thalweg": ours.json(), "tagged": theirs.json() })));
    }
    found.extend([1 << 12, 1 << 20].into_iter().flat_map(|shards| latency(&arguments, shards)));
    finish(found);
}

/// The target for CPU time over plain timely's.
fn most_cpu(shards: usize) -> Option<f64> {
    match shards.ilog2() {
        12 => Some(1.05),
        16 => Some(1.10),
        _ => None,
    }
}

/// Measures and prints the latencies with so many shards.
fn latency(arguments: &Arguments, shards: usize) -> [(String, Value); 2] {
    let case = Case { workload: Workload::HashCount, workers: 2, serialised: false, keys: 1_000_000, shards };
    let [plain, thalweg] = tails(case, arguments.pairs(), arguments.sized(500, 2_000));
    let ratio = thalweg.ratio(&plain);
    let (theirs, ours) = (plain.median(), thalweg.median());
    println!("{case}: p99 of {theirs:.2} ms in plain timely, {ours:.2} ms over Thalweg: {ratio}");
    let most = if shards > 1 << 12 { 1.25 } else { 1.10 };
    let verdict = Verdict::at_most(format!("{case}: p99"), ratio.median, most).tell();
    let json = json!({ "plain_ms": theirs, "thalweg_ms": ours, "ratio": ratio.json() });
    [(format!("p99, {case}"), json), verdict]
}

/// What is measured: each figure in turn, with the others in the middle.
fn cases(arguments: &Arguments) -> Vec<Case> {
    let middle =
        Case { workload: Workload::HashCount, workers: 1, serialised: false, keys: 1_000_000, shards: 1 << 12 };
    let keys = if arguments.is_quick() {
        vec![10_000, 100_000, 1_000_000]
    } else {
        vec![10_000, 100_000, 1_000_000, 10_000_000]
    };
    let shards = [1 << 8, 1 << 16, 1 << 20].map(|shards| Case { shards, ..middle });
    let two = Case { workers: 2, ..middle };
    keys.into_iter()
        .map(|keys| Case { keys, ..middle })
        .chain(shards)
        .chain([Case { workload: Workload::KeyCount, ..middle }, two, Case { serialised: true, ..two }])
        .collect()
}

impl Case {
    fn timely(self) -> timely::Config {
        let communication = match (self.workers, self.serialised) {
            (1, _) => Communication::Thread,
            (workers, false) => Communication::Process(workers),
            (workers, true) => Communication::ProcessBinary(workers),
        };
        timely::Config { communication, worker: timely::WorkerConfig::default() }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workload = if self.workload == Workload::HashCount { "hash-count" } else { "key-count" };
        let channels = if self.serialised { "serialised" } else { "moved" };
        let (workers, keys, shards) = (self.workers, self.keys, self.shards);
        f.pad(&format!("{workload}, {workers} {channels}, 10^{} keys, 2^{} shards", keys.ilog10(), shards.ilog2()))
    }
}
