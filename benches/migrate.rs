//! What is felt of a migration: the latency of counting by key while a quarter of the state goes to the other worker,
//! and while it comes back.
//!
//! Two workers, at half of what they can do, fed by a schedule (`common/open.rs`). A visit of an arm is a while in
//! which nothing is looked at, a quiet window, and a window of equal length in which the state moves: one time away,
//! the next time back. Left out are loading, which is the cold start, and the first visit of each arm. How long a
//! migration takes is told by the loop's events: from when it is commanded to the end of the last epoch in which state
//! was on its way.
//!
//! | arm | what moves |
//! |---|---|
//! | none | nothing: how much two quiet windows differ |
//! | all at once | all shards at one boundary, nothing copied ahead |
//! | batched | a few shards at a boundary, the next ones when they are there: Megaphone's way |
//! | thalweg | a shard at each boundary, copied ahead (with `--quick` 16 at a time) |

mod common;
#[path = "common/open.rs"]
mod open;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use clap::Parser;
use common::{Arguments, Ratio, Sample, Verdict, finish};
use open::{EPOCH, Feed, Seen, Start, Tail, WARM, drawn, half_load, in_turn, together};
use thalweg::observe::Event;
use thalweg::policy::{Policy, Sight, View};
use thalweg::{Command, Config, Epochs, KeyRange, Rebalance, stable_hash};
use timely::dataflow::operators::{Input, Probe};
use timely::worker::Worker;

const WORKERS: usize = 2;

/// Slices in which all keys are loaded.
const LOADING: u64 = 50 * EPOCH;

/// Slices for measuring what the workers can do, and records in each.
const TRIAL: (u64, u64) = (50 * EPOCH, 4_000);

/// Batches in which the arm of that name moves its shards: a few in each, and so many that they take about as long as
/// all at once.
const BATCHES: usize = 8;

const ARMS: [&str; 4] = ["none", "all at once", "batched", "thalweg"];

#[derive(Clone, Copy)]
struct Size {
    keys: u64,
    shards: usize,
    /// Boundaries over which the library's own way spreads the moves.
    steps: usize,
    /// Slices of a window.
    window: u64,
    /// Visits of each arm, a first one included.
    rounds: usize,
}

/// When shards of an arm move, and what is known of it: shared by the policy, the observer and who feeds.
#[derive(Default)]
struct Migration {
    /// Shards still to be moved, and to where.
    queue: Vec<(KeyRange, usize)>,
    /// The first boundary by which all that was commanded has been done.
    until: u64,
    /// Moved at once.
    batch: usize,
    /// The next ones are commanded before these are there.
    hurries: bool,
    begun: Option<Instant>,
    ended: Option<Instant>,
    bytes: u64,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Migration>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Migration> {
        self.0.lock().expect("no worker panics")
    }

    fn note(&self, event: &Event) {
        let Event::Epoch(epoch) = event else { return };
        if epoch.moved_bytes > 0 {
            let mut migration = self.lock();
            migration.bytes += epoch.moved_bytes;
            migration.ended = Some(Instant::now());
        }
    }
}

impl Policy for Shared {
    fn sight(&self) -> Sight {
        Sight::Nothing
    }

    fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        let mut migration = self.lock();
        if migration.queue.is_empty() || view.epoch < migration.until && !migration.hurries {
            return Vec::new();
        }
        migration.begun.get_or_insert_with(Instant::now);
        migration.until = view.boundary;
        let count = migration.batch.min(migration.queue.len());
        migration.queue.drain(..count).map(|(shard, to)| Command::Move { shard, to }).collect()
    }
}

/// What one arm's visit was like.
#[derive(Clone)]
struct Visit {
    arm: usize,
    seen: Seen,
    seconds: f64,
    bytes: u64,
}

/// A dataflow that counts by key.
fn count(worker: &mut Worker, config: &Config) -> (Feed, Shared) {
    let (mut feed, shared) = (Feed::new(), Shared::default());
    let noting = shared.clone();
    worker.dataflow::<u64, _, _>(|scope| {
        let counts = scope
            .input_from(&mut feed.input)
            .container::<Vec<u64>>()
            .rebalance(config, stable_hash::<u64>)
            .and_then(|stage| stage.policy(shared.clone()))
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
    (feed, shared)
}

/// What a worker does: loads the state of both dataflows, finds out how fast it is, and visits the arms in turn.
fn work(worker: &mut Worker, size: Size, start: &Start, rate: &Mutex<u64>) -> Vec<Visit> {
    let config = Config { epochs: Epochs::of(EPOCH).expect("not 0"), shards: size.shards, ..Config::default() };
    let without = Config { pre_copy: false, ..config.clone() };
    let mut dataflows = [count(worker, &without), count(worker, &config)];
    for (feed, _) in &mut dataflows {
        feed.closed(worker, LOADING, &in_turn(worker, size.keys, 0, LOADING));
    }
    start.wait();
    let begin = Instant::now();
    let (slices, records) = TRIAL;
    dataflows[0].0.closed(worker, slices, &drawn(worker, records, size.keys));
    if worker.index() == 0 {
        *rate.lock().expect("no worker panics") = half_load(TRIAL, begin);
    }
    start.wait();
    let records = *rate.lock().expect("no worker panics");
    let keys = drawn(worker, records, size.keys);
    let quarter: Vec<KeyRange> = config
        .initial(WORKERS)
        .expect("there are shards enough")
        .iter()
        .filter_map(|(range, owner)| (owner == 0).then_some(range))
        .take(size.shards / 4)
        .collect();
    let mut visits = Vec::new();
    // Where the quarter is, in each dataflow.
    let mut homes = [0; 2];
    for round in 0..size.rounds {
        for place in 0..ARMS.len() {
            let arm = if round % 2 == 0 { place } else { ARMS.len() - 1 - place };
            let dataflow = dataflow_of(ARMS[arm]);
            let ((feed, shared), home) = (&mut dataflows[dataflow], &mut homes[dataflow]);
            let moves = worker.index() == 0 && ARMS[arm] != "none";
            *shared.lock() = Migration::default();
            let begin = start.agree();
            let seen = feed.open(worker, begin, WARM + 2 * size.window, &keys, |slice| {
                if moves && slice == WARM + size.window {
                    let batches = match ARMS[arm] {
                        "batched" => BATCHES,
                        "thalweg" => size.steps,
                        _ => 1,
                    };
                    let hurries = ARMS[arm] == "thalweg";
                    *home = WORKERS - 1 - *home;
                    let queue: Vec<_> = quarter.iter().map(|range| (*range, *home)).collect();
                    *shared.lock() =
                        Migration { batch: queue.len().div_ceil(batches), queue, hurries, ..Migration::default() };
                }
            });
            visits.push(Visit::of(arm, seen, &shared.lock()));
        }
    }
    visits
}

/// The library's own way has a dataflow for itself, on which nothing is measured but it and how quiet windows differ.
fn dataflow_of(arm: &str) -> usize {
    usize::from(matches!(arm, "none" | "thalweg"))
}

impl Visit {
    fn of(arm: usize, seen: Seen, migration: &Migration) -> Self {
        assert!(migration.queue.is_empty(), "a window is too short for the migration");
        let seconds = migration.begun.zip(migration.ended).map_or(0.0, |(begun, ended)| (ended - begun).as_secs_f64());
        Visit { arm, seen, seconds, bytes: migration.bytes }
    }
}

/// What an arm's visits were like, one by one.
struct Arm {
    quiet: Vec<Tail>,
    event: Vec<Tail>,
    seconds: Sample,
    bytes: f64,
    /// By what part of the moved bytes more memory is resident.
    rise: Sample,
}

impl Arm {
    fn of(visits: &[&Visit]) -> Self {
        let (quiet, event) =
            visits.iter().map(|visit| visit.seen.windows()).map(|[quiet, event]| (quiet, event)).unzip();
        let bytes = visits.iter().map(|visit| visit.bytes as f64).collect::<Sample>().median();
        Arm {
            quiet,
            event,
            seconds: visits.iter().map(|visit| visit.seconds).collect(),
            bytes,
            rise: visits.iter().map(|visit| visit.seen.rise() / bytes.max(1.0)).collect(),
        }
    }

    /// A figure of the windows with the event over that of the quiet ones.
    fn ratio(&self, of: fn(&Tail) -> f64) -> Ratio {
        let [event, quiet] = [&self.event, &self.quiet].map(|tails| tails.iter().map(of).collect::<Sample>());
        event.ratio(&quiet)
    }

    /// The area of excess latency that quiet windows do not have.
    fn area(&self) -> Sample {
        self.event.iter().zip(&self.quiet).map(|(event, quiet)| event.area - quiet.area).collect()
    }
}

fn median(tails: &[Tail], of: fn(&Tail) -> f64) -> f64 {
    tails.iter().map(of).collect::<Sample>().median()
}

fn main() {
    let arguments = Arguments::parse();
    let size = Size {
        keys: arguments.sized(1_000_000, 16_000_000),
        shards: 256,
        // So that a boundary moves 2 to 3 MB.
        steps: arguments.sized(4, 64) as usize,
        window: arguments.sized(80 * EPOCH, 120 * EPOCH),
        rounds: arguments.pairs() + 1,
    };
    let rate = Arc::new(Mutex::new(0));
    let (start, shared_rate) = (Start::new(WORKERS), Arc::clone(&rate));
    let guards =
        timely::execute(timely::Config::process(WORKERS), move |worker| work(worker, size, &start, &shared_rate));
    let workers: Vec<Vec<Visit>> =
        guards.expect("workers start").join().into_iter().map(|visits| visits.expect("no worker panics")).collect();
    let visits: Vec<Visit> = (0..workers[0].len())
        .map(|i| Visit { seen: together(workers.iter().map(|visits| visits[i].seen.clone())), ..workers[0][i].clone() })
        .collect();
    let records = *rate.lock().expect("no worker panics");
    report(size, records, &visits[ARMS.len()..]);
}

/// Prints what has been found.
fn report(size: Size, records: u64, visits: &[Visit]) {
    println!(
        "{} keys in {} shards, {WORKERS} workers, {records} records per ms (half load), windows of {} ms",
        size.keys, size.shards, size.window
    );
    println!("arm          quiet: p50, p99.9, max ms     moving: p50, p99.9, max ms     area ms²   seconds   MB moved");
    let arms: Vec<Arm> = (0..ARMS.len())
        .map(|arm| Arm::of(&visits.iter().filter(|visit| visit.arm == arm).collect::<Vec<_>>()))
        .collect();
    for (name, arm) in ARMS.iter().zip(&arms) {
        let row = |tails| [median(tails, |t| t.median), median(tails, |t| t.p999), median(tails, |t| t.max)];
        let ([a, b, c], [d, e, f]) = (row(&arm.quiet), row(&arm.event));
        let (area, seconds, megabytes) = (arm.area().median(), arm.seconds.median(), arm.bytes * 1e-6);
        println!(
            "{name:<12} {a:8.2} {b:8.2} {c:8.2}     {d:8.2} {e:8.2} {f:8.2}     {area:11.0} {seconds:9.3} {megabytes:9.1}"
        );
    }
    let [none, at_once, batched, ours] = &arms[..] else { unreachable!("there are four arms") };
    let ratios = [
        ("max_none", none.ratio(|t| t.max), None),
        ("p999_none", none.ratio(|t| t.p999), None),
        ("max_at_once", at_once.ratio(|t| t.max), None),
        ("max_batched", batched.ratio(|t| t.max), None),
        ("max", ours.ratio(|t| t.max), Some(1.25)),
        ("p999", ours.ratio(|t| t.p999), Some(1.25)),
        ("area_to_batched", ours.area().ratio(&batched.area()), Some(0.1)),
        ("area_to_at_once", ours.area().ratio(&at_once.area()), Some(0.01)),
        ("seconds_to_at_once", ours.seconds.ratio(&at_once.seconds), Some(1.5)),
    ];
    let mut found = Vec::new();
    for (name, ratio, target) in &ratios {
        println!("{name:<20} {ratio}");
        found.push(((*name).to_owned(), ratio.json()));
        found.extend(target.map(|most| Verdict::at_most(*name, ratio.median, most).tell()));
    }
    found.push(Verdict::at_most("memory over bytes moved", ours.rise.median(), 0.02).tell());
    finish(found);
}
