//! What the tests share: a driver that never hangs, a logic with every feature, and what it must give.
#![allow(dead_code, reason = "each test uses a part")]

pub mod behaves;
pub mod counting;
pub mod flow;
pub mod hooked;
pub mod job;
pub mod ledger;
pub mod processes;
#[path = "../../examples/common/random.rs"]
pub mod random;
pub mod snapshots;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;
pub use random::Random;
use thalweg::checkpoint::{Checkpoints, Memory, Store, StoreLock};
use thalweg::keyed::codec::Serde;
use thalweg::keyed::{Context, Fault};
use thalweg::observe::Event;
use thalweg::policy::{Policy, View};
use thalweg::{Assignment, Command, Config, Error, KeyRange, Rebalance, stable_hash};
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;
use timely::{CommunicationConfig, WorkerConfig};

/// Generous: a machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// How workers talk: by moving records, or by serialising them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    Moved,
    Serialised,
}

pub fn timely_config(workers: usize, channels: Channels) -> timely::Config {
    let communication = match channels {
        Channels::Moved => CommunicationConfig::Process(workers),
        Channels::Serialised => CommunicationConfig::ProcessBinary(workers),
    };
    timely::Config { communication, worker: WorkerConfig::default() }
}

/// Whether a worker is to give up: another one has panicked, or the deadline has passed.
#[derive(Clone)]
pub struct Stop {
    failed: Arc<AtomicBool>,
    deadline: Instant,
}

impl Stop {
    pub fn is_set(&self) -> bool {
        assert!(Instant::now() < self.deadline, "the deadline has passed: the dataflow hangs");
        self.failed.load(Ordering::Relaxed)
    }

    /// Steps the worker; whether any of its dataflows has something left to do.
    pub fn step(&self, worker: &mut Worker) -> bool {
        worker.step_or_park(Some(Duration::from_millis(1))) && !self.is_set()
    }

    /// Drops all that the worker does.
    pub fn give_up(&self, worker: &mut Worker) {
        worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
    }

    /// Steps the worker until `done`, or until it is to give up.
    pub fn step_until(&self, worker: &mut Worker, mut done: impl FnMut() -> bool) {
        while !done() && !self.is_set() {
            worker.step_or_park(Some(Duration::from_millis(1)));
        }
    }
}

/// Runs `body` on each worker. The first panic, or the deadline, ends them all, and is passed on.
pub fn drive<R: Send + 'static>(
    config: timely::Config,
    body: impl Fn(&mut Worker, &Stop) -> R + Send + Sync + 'static,
) -> Vec<R> {
    drive_for(DEADLINE, config, body)
}

/// As [`drive`], with another deadline.
pub fn drive_for<R: Send + 'static>(
    time: Duration,
    config: timely::Config,
    body: impl Fn(&mut Worker, &Stop) -> R + Send + Sync + 'static,
) -> Vec<R> {
    let stop = Stop { failed: Arc::new(AtomicBool::new(false)), deadline: Instant::now() + time };
    let panic = Arc::new(Mutex::new(None));
    let first = Arc::clone(&panic);
    let guards = timely::execute(config, move |worker| {
        let result = catch_unwind(AssertUnwindSafe(|| body(worker, &stop)));
        if result.is_err() || stop.failed.load(Ordering::Relaxed) {
            stop.failed.store(true, Ordering::Relaxed);
            stop.give_up(worker);
        }
        result.map_err(|panic| first.lock().unwrap().get_or_insert(panic).type_id()).ok()
    })
    .unwrap();
    let results: Vec<_> = guards.join().into_iter().map(|result| result.ok().flatten()).collect();
    if let Some(panic) = panic.lock().unwrap().take() {
        resume_unwind(panic);
    }
    results.into_iter().map(|result| result.expect("no worker has panicked")).collect()
}

/// Steps for long enough for whatever does not wait to have come about.
pub fn step(worker: &mut Worker) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(100) {
        worker.step_or_park(Some(Duration::from_millis(1)));
    }
}

/// Steps until what does wait has come about.
pub fn step_until(worker: &mut Worker, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < DEADLINE, "it does not come about");
        worker.step_or_park(Some(Duration::from_millis(1)));
    }
}

/// Commands at random: splits (also into single keys), merges, moves and checkpoints, all of them valid.
#[derive(Clone)]
pub struct RandomPolicy {
    pub random: Random,
    /// Splits are at some of so many keys.
    pub keys: u64,
    /// Commands per epoch, at the most.
    pub commands: usize,
    /// One decision in so many asks for a checkpoint; 0 for none.
    pub checkpoint_every: u64,
}

impl Policy for RandomPolicy {
    fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        let mut commands = Vec::new();
        let mut assignment = view.assignment.clone();
        for _ in 0..self.random.index(self.commands + 1) {
            let shard = assignment.range(self.random.index(assignment.len()));
            let mut wanted = match self.random.index(4) {
                0 => vec![Command::Split { shard, at: stable_hash(&(self.random.next() % self.keys)) }],
                1 => vec![Command::Split { shard, at: stable_hash(&(self.random.next() % self.keys)).wrapping_add(1) }],
                2 => merge_with_next(&assignment, shard),
                _ => vec![Command::Move { shard, to: self.random.index(assignment.workers()) }],
            };
            if let Ok(next) = assignment.apply(&wanted) {
                assignment = next;
                commands.append(&mut wanted);
            }
        }
        if self.checkpoint_every > 0 && self.random.next().is_multiple_of(self.checkpoint_every) {
            commands.push(Command::Checkpoint);
        }
        commands
    }
}

fn merge_with_next(assignment: &Assignment, left: KeyRange) -> Vec<Command> {
    let Some(after) = left.last().checked_add(1) else { return Vec::new() };
    let right = assignment.range(assignment.find(after));
    let to = assignment.owner(assignment.find(left.start()));
    vec![Command::Move { shard: right, to }, Command::Merge { left, right }]
}

/// What the logic under test gives: the key, its count, and whether a record (0) or a timer (1) gave it.
pub type Row = (u64, u64, u8);

/// The outputs by epoch, sorted.
pub type Outputs = BTreeMap<u64, Vec<Row>>;

/// The keys of an epoch's records: skewed, and different in each epoch.
pub fn records(epoch: u64, count: u64, keys: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |i| (i * i + epoch * 31) % keys)
}

/// Counts, sets timers on some records and forgets on some timers: every feature of a keyed operator.
pub fn on_record(key: u64, count: &mut u64, context: &mut Context<'_, u64, u64, Row>) {
    *count += 1;
    context.give((key, *count, 0));
    if *count % 3 == 1 {
        context.schedule(&(context.time() + 1 + *count % 4));
    }
}

pub fn on_timer(count: &mut u64, context: &mut Context<'_, u64, u64, Row>) {
    context.give((*context.key(), *count, 1));
    if (*count).is_multiple_of(5) {
        context.forget();
    }
}

/// What `on_record` and `on_timer` must give: computed one record after the other, without timely.
pub fn expected(epochs: impl IntoIterator<Item = (u64, Vec<u64>)>) -> Outputs {
    let data: BTreeMap<u64, Vec<u64>> = epochs.into_iter().collect();
    let mut timers: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut outputs = Outputs::new();
    let last = data.keys().next_back().copied().unwrap_or(0);
    for epoch in 0..=last + 8 {
        let mut rows = Vec::new();
        for key in timers.remove(&epoch).unwrap_or_default() {
            let count = counts.get_mut(&key).expect("a key with a timer has a state");
            rows.push((key, *count, 1));
            if (*count).is_multiple_of(5) {
                *count = 0;
            }
        }
        for key in data.get(&epoch).into_iter().flatten() {
            let count = counts.entry(*key).or_default();
            *count += 1;
            rows.push((*key, *count, 0));
            if *count % 3 == 1 {
                timers.entry(epoch + 1 + *count % 4).or_default().insert(*key);
            }
        }
        if !rows.is_empty() {
            rows.sort_unstable();
            outputs.insert(epoch, rows);
        }
    }
    outputs
}

/// A run of the logic above under random commands.
#[derive(Clone, Debug)]
pub struct Run {
    pub workers: usize,
    pub channels: Channels,
    pub lead: u64,
    pub shards: usize,
    pub chunk_bytes: usize,
    /// Commands per epoch, at the most.
    pub commands: usize,
    /// One decision in so many asks for a checkpoint; 0 for none.
    pub checkpoint_every: u64,
    pub seed: u64,
    pub epochs: u64,
    pub records: u64,
    pub keys: u64,
    /// Epochs that the input may be ahead of the output; 0 to never wait.
    pub ahead: u64,
    /// The run is given up when the output has come so far: a crash.
    pub crash_at: Option<u64>,
    /// The stage's name.
    pub name: &'static str,
    pub codec: Encoding,
}

/// How states are encoded.
#[derive(Clone, Copy, Debug)]
pub enum Encoding {
    Columns,
    Serde,
    Abomonated,
}

impl Default for Run {
    fn default() -> Self {
        Run {
            workers: 2,
            channels: Channels::Moved,
            lead: 2,
            shards: 6,
            chunk_bytes: 300,
            commands: 3,
            checkpoint_every: 0,
            seed: 1,
            epochs: 20,
            records: 100,
            keys: 97,
            ahead: 2,
            crash_at: None,
            name: "keyed",
            codec: Encoding::Columns,
        }
    }
}

impl Run {
    /// What it must give.
    pub fn expected(&self) -> Outputs {
        expected((0..self.epochs).map(|epoch| (epoch, records(epoch, self.records, self.keys).collect())))
    }

    /// What it gives, and its events.
    pub fn outputs(&self, checkpoints: Option<&Checkpoints>) -> (Outputs, Vec<Event>) {
        let policy = self.random_policy();
        self.outputs_under(move || policy.clone(), checkpoints)
    }

    /// What the workers of this process give, on a cluster of several.
    pub fn outputs_on(&self, config: timely::Config) -> Outputs {
        let policy = self.random_policy();
        self.execute(config, move || policy.clone(), None).0
    }

    fn random_policy(&self) -> RandomPolicy {
        let Run { seed, keys, commands, checkpoint_every, .. } = *self;
        RandomPolicy { random: Random(seed), keys, commands, checkpoint_every }
    }

    /// What it gives under another policy.
    pub fn outputs_under<P: Policy>(
        &self,
        policy: impl Fn() -> P + Send + Sync + 'static,
        checkpoints: Option<&Checkpoints>,
    ) -> (Outputs, Vec<Event>) {
        self.execute(timely_config(self.workers, self.channels), policy, checkpoints)
    }

    fn execute<P: Policy>(
        &self,
        config: timely::Config,
        policy: impl Fn() -> P + Send + Sync + 'static,
        checkpoints: Option<&Checkpoints>,
    ) -> (Outputs, Vec<Event>) {
        let seen = Arc::new(Mutex::new((Outputs::new(), Vec::new())));
        let result = Arc::clone(&seen);
        let run = self.clone();
        let checkpoints = checkpoints.cloned();
        drive(config, move |worker, stop| {
            run.work(worker, stop, policy(), checkpoints.as_ref(), &seen);
        });
        let (mut outputs, events) = std::mem::take(&mut *result.lock().unwrap());
        outputs.values_mut().for_each(|rows| rows.sort_unstable());
        (outputs, events)
    }

    fn work(
        &self,
        worker: &mut Worker,
        stop: &Stop,
        policy: impl Policy,
        checkpoints: Option<&Checkpoints>,
        seen: &Arc<Mutex<(Outputs, Vec<Event>)>>,
    ) {
        let (index, peers) = (worker.index(), worker.peers());
        let (probe, mut input, fault) = (ProbeHandle::new(), InputHandle::new(), Fault::new());
        let Run { lead, shards, chunk_bytes, .. } = *self;
        let config = Config { lead, shards, chunk_bytes, pre_copy: !self.seed.is_multiple_of(4), ..Config::default() };
        worker.dataflow::<u64, _, _>(|scope| {
            let (rows, events) = (Arc::clone(seen), Arc::clone(seen));
            let mut stage =
                scope.input_from(&mut input).container::<Vec<u64>>().rebalance(&config, stable_hash).unwrap();
            if let Some(checkpoints) = checkpoints {
                stage = stage.checkpoint_to(checkpoints, &fault).unwrap();
            }
            let stage = stage.named(self.name).unwrap().policy(policy).unwrap();
            let stage = stage.observe(move |event| events.lock().unwrap().1.push(event.clone()));
            let output = match self.codec {
                Encoding::Columns => stage.keyed(|key| *key, on_record, on_timer),
                Encoding::Serde => stage.codec::<Serde>().keyed(|key| *key, on_record, on_timer),
                #[cfg(feature = "abomonation")]
                Encoding::Abomonated => {
                    stage.codec::<thalweg::keyed::codec::Abomonated>().keyed(|key| *key, on_record, on_timer)
                }
                #[cfg(not(feature = "abomonation"))]
                Encoding::Abomonated => unreachable!("the feature is off"),
            };
            output
                .inspect_core(move |event| {
                    if let Ok((stamp, batch)) = event {
                        rows.lock().unwrap().0.entry(*stamp.least().unwrap()).or_default().extend_from_slice(batch);
                    }
                })
                .probe_with(&probe);
        });
        let start = checkpoints.map_or(0, Checkpoints::epoch);
        input.advance_to(start);
        for epoch in start..self.epochs {
            records(epoch, self.records, self.keys).skip(index).step_by(peers).for_each(|key| input.send(key));
            input.advance_to(epoch + 1);
            worker.step();
            if self.ahead > 0 {
                let behind = || probe.less_than(&(epoch + 1).saturating_sub(self.ahead));
                stop.step_until(worker, || fault.check().map(|()| !behind()).unwrap());
            }
            if self.crash_at.is_some_and(|crash| epoch >= crash) {
                stop.step_until(worker, || !probe.less_than(&(epoch + 1)));
                stop.give_up(worker);
                return;
            }
            fault.check().unwrap();
        }
        input.close();
        while stop.step(worker) {
            fault.check().unwrap();
        }
    }
}

/// Runs of all sizes, with or without a crash.
pub fn runs() -> impl Strategy<Value = Run> {
    let channels = prop_oneof![Just(Channels::Moved), Just(Channels::Serialised)];
    let other = if cfg!(feature = "abomonation") { Encoding::Abomonated } else { Encoding::Serde };
    let codec = prop_oneof![Just(Encoding::Columns), Just(other)];
    let chunk_bytes = prop_oneof![Just(1usize), Just(300), Just(65536)];
    let workers = (1..5usize, channels, codec);
    let config = (1..5u64, 1..20usize, chunk_bytes);
    let decisions = (0..6usize, prop_oneof![Just(0u64), Just(2), Just(7)], any::<u64>());
    let size = prop_oneof![(0..150u64, Just(97u64)), (500..1500u64, Just(3000u64))];
    let input = (0..25u64, size, 0..4u64);
    (workers, config, decisions, input).prop_map(|(workers, config, decisions, input)| {
        let (workers, channels, codec) = workers;
        let (lead, shards, chunk_bytes) = config;
        let (commands, checkpoint_every, seed) = decisions;
        let (epochs, (records, keys), ahead) = input;
        Run {
            workers,
            channels,
            codec,
            lead,
            shards,
            chunk_bytes,
            commands,
            checkpoint_every,
            seed,
            epochs,
            records,
            keys,
            ahead,
            ..Run::default()
        }
    })
}
