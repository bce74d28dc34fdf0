//! A dataflow that a closure builds, fed in every way, under random commands and folds, with crashes; its outputs, with
//! their times, and its checkpoints against a model.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Fingerprint, Manifest, Memory};
use thalweg::keyed::Fault;
use thalweg::observe::{EpochEvent, Event};
use thalweg::policy::{Policy, PolicyConfig, Script, Sight, View};
use thalweg::{Assignment, Command, Config, Epochs, Error, KeySpace, Loop, stable_hash};
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle, StreamVec};
use timely::worker::Worker;

use super::{Channels, Random, RandomPolicy, Stop, drive, timely_config};

/// A key, an event time and a value.
pub type Record = (u64, u64, u64);

/// Records with their times, in time order.
pub type Data = Vec<(u64, Record)>;

/// What came out, with its times, sorted.
pub type Rows<R> = Vec<(u64, R)>;

/// So many user keys share a routing key.
pub const SHARED: u64 = 2;

/// How records are routed.
pub fn routing(record: &Record) -> u64 {
    routing_of(record.0)
}

/// The routing key of a key.
pub fn routing_of(key: u64) -> u64 {
    stable_hash(&(key / SHARED))
}

/// A run, but for its data and its dataflow.
#[derive(Clone, Debug)]
pub struct Job {
    pub workers: usize,
    pub channels: Channels,
    pub lead: u64,
    pub shards: usize,
    pub chunk_bytes: usize,
    /// Of an epoch.
    pub ticks: u64,
    /// Above the number of workers, gates fold nothing but what commands say.
    pub fold_share: f64,
    pub decisions: Decisions,
    /// The worker that the source gives all records to, if they are not dealt to all.
    pub source: Option<usize>,
    /// Epochs that the input may be ahead of the output; 0 to never wait.
    pub ahead: u64,
    /// Steps that a worker makes after each record that it sends, so that the records of an epoch come one by one.
    pub pace: usize,
    /// A worker, and by how many epochs its input is behind that of the others.
    pub lag: Option<(usize, u64)>,
    /// The run is given up when the output has come behind this epoch: a crash.
    pub crash_at: Option<u64>,
    /// One operator with one input takes all records, so that the source's position is known.
    pub one_input: bool,
}

impl Default for Job {
    fn default() -> Self {
        Job {
            workers: 2,
            channels: Channels::Moved,
            lead: 2,
            shards: 6,
            chunk_bytes: 300,
            ticks: 1,
            fold_share: PolicyConfig::FOLD_SHARE,
            decisions: Decisions::Script(""),
            source: None,
            ahead: 2,
            pace: 0,
            lag: None,
            crash_at: None,
            one_input: true,
        }
    }
}

/// What decides on commands.
#[derive(Clone, Copy, Debug)]
pub enum Decisions {
    Script(&'static str),
    /// At the most so many commands and so many folds an epoch; one decision in so many asks for a checkpoint.
    Random {
        seed: u64,
        keys: u64,
        commands: usize,
        folds: usize,
        checkpoint_every: u64,
    },
}

impl Decisions {
    /// For the key space of this name.
    fn policy(self, space: &str) -> Box<dyn Policy> {
        match self {
            Decisions::Script(text) => Box::new(text.parse::<Script>().unwrap()),
            Decisions::Random { seed, keys, commands, folds, checkpoint_every } => {
                let mut random = Random(seed ^ stable_hash(space));
                let others = RandomPolicy { random: Random(random.next()), keys, commands, checkpoint_every };
                Box::new(RandomFolds { random, keys, folds, others })
            }
        }
    }
}

/// Adds folds that begin and end at random to the commands of another policy, all of them valid.
#[derive(Clone)]
pub struct RandomFolds {
    pub random: Random,
    /// Folds are of some of so many routing keys: those of these numbers.
    pub keys: u64,
    /// In an epoch, at the most.
    pub folds: usize,
    pub others: RandomPolicy,
}

impl Policy for RandomFolds {
    fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        let mut commands = self.others.decide(view);
        let mut assignment = view.assignment.clone();
        for _ in 0..self.random.index(self.folds + 1) {
            // Low numbers, the hot keys, more often than others.
            let number = self.random.next() % (1 + self.random.next() % self.keys);
            let key = match assignment.folded() {
                folded @ [_, ..] if self.random.index(2) == 0 => folded[self.random.index(folded.len())],
                _ => stable_hash(&number),
            };
            let wanted = if assignment.is_folded(key) { Command::Unfold { key } } else { Command::Fold { key } };
            assignment = assignment.apply([&wanted]).unwrap();
            commands.push(wanted);
        }
        commands
    }
}

/// Where a dataflow gets its key spaces from.
pub struct Spaces<'scope> {
    looped: Loop<'scope, u64>,
    decisions: Decisions,
}

impl<'scope> Spaces<'scope> {
    /// A new key space.
    pub fn space(&self, name: &str) -> KeySpace<'scope, u64> {
        self.looped.key_space(name).unwrap().policy(Boxed(self.decisions.policy(name))).unwrap()
    }
}

struct Boxed(Box<dyn Policy>);

impl Policy for Boxed {
    fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        self.0.decide(view)
    }

    fn sight(&self) -> Sight {
        self.0.sight()
    }

    fn known(&mut self, start: &Assignment, from: u64) -> Result<BTreeMap<u64, Vec<Command>>, Error> {
        self.0.known(start, from)
    }
}

/// Builds a dataflow.
pub trait Build<R>:
    for<'scope> Fn(StreamVec<'scope, u64, Record>, &Spaces<'scope>) -> StreamVec<'scope, u64, R>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<R, F> Build<R> for F where
    F: for<'scope> Fn(StreamVec<'scope, u64, Record>, &Spaces<'scope>) -> StreamVec<'scope, u64, R>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// What a run has shown.
type Seen<R> = Arc<Mutex<(Rows<R>, Vec<Event>)>>;

impl Job {
    /// The first boundary after a time.
    pub fn boundary_after(&self, time: u64) -> u64 {
        (time / self.ticks + 1) * self.ticks
    }

    /// The first boundary at or after a time.
    pub fn boundary_from(&self, time: u64) -> u64 {
        time.div_ceil(self.ticks) * self.ticks
    }

    /// What comes out, and the events.
    pub fn run<R: Ord + Clone + Send + 'static>(
        &self,
        data: &Data,
        checkpoints: Option<&Checkpoints>,
        build: impl Build<R>,
    ) -> (Rows<R>, Vec<Event>) {
        let seen: Seen<R> = Arc::new(Mutex::new((Rows::new(), Vec::new())));
        let sent: Arc<Vec<AtomicU64>> = Arc::new((0..self.workers).map(|_| AtomicU64::new(0)).collect());
        let (job, data, checkpoints, result) =
            (self.clone(), Arc::new(data.clone()), checkpoints.cloned(), Arc::clone(&seen));
        drive(timely_config(self.workers, self.channels), move |worker, stop| {
            job.work(worker, stop, &data, &sent, checkpoints.as_ref(), &build, &seen);
        });
        let (mut rows, events) = std::mem::take(&mut *result.lock().unwrap());
        rows.sort_unstable();
        (rows, events)
    }

    #[allow(clippy::too_many_arguments, reason = "they are what workers share")]
    fn work<R: Ord + Clone + Send + 'static>(
        &self,
        worker: &mut Worker,
        stop: &Stop,
        data: &Data,
        sent: &[AtomicU64],
        checkpoints: Option<&Checkpoints>,
        build: &impl Build<R>,
        seen: &Seen<R>,
    ) {
        let (index, peers) = (worker.index(), worker.peers());
        let (probe, mut input, fault) = (ProbeHandle::new(), InputHandle::new(), Fault::new());
        let Job { lead, shards, chunk_bytes, ticks, .. } = *self;
        let pre_copy = !(lead + shards as u64).is_multiple_of(4);
        let policy = PolicyConfig { fold_share: self.fold_share, ..PolicyConfig::default() };
        let epochs = Epochs::of(ticks).unwrap();
        let config = Config { lead, shards, chunk_bytes, pre_copy, epochs, policy, ..Config::default() };
        worker.dataflow::<u64, _, _>(|scope| {
            let (rows, events) = (Arc::clone(seen), Arc::clone(seen));
            let mut looped = Loop::new(scope, &config).unwrap();
            if let Some(checkpoints) = checkpoints {
                looped = looped.checkpoint_to(checkpoints, &fault).unwrap();
            }
            let looped = looped.observe(move |event| events.lock().unwrap().1.push(event.clone()));
            let data = scope.input_from(&mut input).container::<Vec<Record>>();
            build(data, &Spaces { looped, decisions: self.decisions })
                .inspect_core(move |event| {
                    if let Ok((stamp, batch)) = event {
                        let at = *stamp.least().unwrap();
                        rows.lock().unwrap().0.extend(batch.iter().map(|row| (at, row.clone())));
                    }
                })
                .probe_with(&probe);
        });
        let from = checkpoints.map_or(0, Checkpoints::epoch);
        let all = data.last().map_or(0, |(time, _)| time / ticks + 1);
        let end = self.crash_at.map_or(all, |crash| all.min(crash + 1));
        let source = self.source.map(|source| source % peers);
        let mine = data.iter().enumerate().filter(|(i, _)| source.unwrap_or(i % peers) == index);
        let mut mine = mine.map(|(_, record)| record).skip_while(|(time, _)| time / ticks < from).peekable();
        input.advance_to(from * ticks);
        for epoch in from..end {
            if let Some((lagging, by)) = self.lag.filter(|(lagging, _)| lagging % peers == index) {
                let by = if self.ahead > 0 { by.min(self.ahead) } else { by };
                let is_sent = |other: usize| sent[other].load(Ordering::SeqCst) >= end.min(epoch + by);
                stop.step_until(worker, || (0..peers).all(|other| other == lagging % peers || is_sent(other)));
            }
            while let Some((time, record)) = mine.next_if(|(time, _)| time / ticks == epoch) {
                input.advance_to(*time);
                input.send(*record);
                for _ in 0..self.pace {
                    worker.step();
                }
            }
            input.advance_to((epoch + 1) * ticks);
            sent[index].store(epoch + 1, Ordering::SeqCst);
            worker.step();
            if self.ahead > 0 {
                let behind = || probe.less_than(&((epoch + 1).saturating_sub(self.ahead) * ticks));
                stop.step_until(worker, || fault.check().map(|()| !behind()).unwrap());
            }
            fault.check().unwrap();
        }
        if end < all {
            stop.step_until(worker, || fault.check().map(|()| !probe.less_than(&(end * ticks))).unwrap());
            stop.give_up(worker);
            return;
        }
        input.close();
        while stop.step(worker) {
            fault.check().unwrap();
        }
    }

    /// Runs without checkpoints, and compares.
    pub fn check<R>(&self, data: &Data, expected: &Rows<R>, build: impl Build<R>)
    where
        R: Ord + Clone + Send + std::fmt::Debug + 'static,
    {
        let job = Job { crash_at: None, ..self.clone() };
        compare(&job.run(data, None, build).0, expected);
    }

    /// Runs with checkpoints and with the crash, then resumes with `again`; compares the outputs and all manifests.
    pub fn check_recovery<R>(&self, again: &Job, data: &Data, expected: &Rows<R>, build: impl Build<R>)
    where
        R: Ord + Clone + Send + std::fmt::Debug + 'static,
    {
        let store = Memory::default();
        let begin = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), config()).unwrap();
        let (rows, events) = self.run(data, Some(&begin), build.clone());
        let crash = self.crash_at.map_or(u64::MAX, |epoch| (epoch + 1) * self.ticks);
        let before = |rows: &Rows<R>| rows.iter().filter(|(at, _)| *at < crash).cloned().collect::<Vec<_>>();
        compare(&before(&rows), &before(expected));
        self.check_manifests(&store, data, &events, &begin);
        let resume = Checkpoints::resume(Arc::new(store.clone()), fingerprint(), config()).unwrap();
        let again = Job { crash_at: None, ..again.clone() };
        let (rows, events) = again.run(data, Some(&resume), build);
        let from = resume.epoch() * self.ticks;
        compare(&rows, &expected.iter().filter(|(at, _)| *at >= from).cloned().collect());
        again.check_manifests(&store, data, &events, &resume);
    }

    /// Whether each checkpoint that the run has taken tells of all records before it, and has the assignments that the
    /// commands before it have made, folds included.
    fn check_manifests(&self, store: &Memory, data: &Data, events: &[Event], begun: &Checkpoints) {
        let (epochs, outcomes) = epochs_and_errors(events);
        assert_eq!(outcomes, Vec::<String>::new());
        for epoch in Manifest::list(store).unwrap().into_iter().filter(|epoch| *epoch > begun.epoch()) {
            let manifest = Manifest::read(store, epoch).unwrap();
            let records = data.iter().filter(|(time, _)| time / self.ticks < epoch).count() as u64;
            assert_eq!(manifest.records, self.one_input.then_some(records), "records before {epoch}");
            for (name, space) in manifest.spaces {
                let commands = epochs.iter().filter(|event| event.space == name && event.boundary <= epoch);
                let resumed = begun.assignment(&name, self.workers).map(Result::unwrap);
                let start = resumed.unwrap_or_else(|| Assignment::even(self.shards, self.workers).unwrap());
                let assignment = start.apply(commands.flat_map(|event| &event.commands)).unwrap();
                assert_eq!(space.assignment, assignment, "{name} at {epoch}");
            }
        }
    }
}

/// What was seen of each epoch, and why checkpoints have failed.
fn epochs_and_errors(events: &[Event]) -> (Vec<&EpochEvent>, Vec<String>) {
    let (mut epochs, mut errors) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Epoch(epoch) => epochs.push(epoch),
            Event::Checkpoint(checkpoint) => errors.extend(checkpoint.error.clone()),
        }
    }
    (epochs, errors)
}

/// Fails with what is missing and what is too much.
fn compare<R: Ord + Clone + std::fmt::Debug>(rows: &Rows<R>, expected: &Rows<R>) {
    if rows == expected {
        return;
    }
    let count = |rows: &Rows<R>| {
        rows.iter().fold(BTreeMap::<(u64, R), i64>::new(), |mut counts, row| {
            *counts.entry(row.clone()).or_default() += 1;
            counts
        })
    };
    let (given, expected) = (count(rows), count(expected));
    let minus = |left: &BTreeMap<(u64, R), i64>, right: &BTreeMap<(u64, R), i64>| {
        let more = left.iter().filter(|(row, count)| right.get(row).copied().unwrap_or(0) < **count);
        more.map(|(row, _)| row.clone()).collect::<Vec<_>>()
    };
    panic!("missing: {:?}; too much: {:?}", minus(&expected, &given), minus(&given, &expected));
}

pub fn fingerprint() -> Fingerprint {
    Fingerprint::default().with("logic", "folds")
}

pub fn config() -> CheckpointConfig {
    CheckpointConfig { trigger: "every:1000".parse().unwrap(), keep: 1000, ..CheckpointConfig::default() }
}

/// Records at random: some keys are hot, some epochs are empty.
#[derive(Clone, Debug)]
pub struct Source {
    pub seed: u64,
    pub epochs: u64,
    /// In an epoch, at the most.
    pub records: usize,
    pub keys: u64,
    /// How far event times lie from the records' times, at the most: before, after.
    pub disorder: (u64, u64),
}

impl Source {
    pub fn data(&self, ticks: u64) -> Data {
        let mut random = Random(self.seed);
        let mut data = Data::new();
        for epoch in 0..self.epochs {
            let records = if random.index(5) == 0 { 0 } else { random.index(self.records + 1) };
            for _ in 0..records {
                let time = epoch * ticks + random.next() % ticks;
                let key = random.next() % if random.index(2) == 0 { self.keys.min(3) } else { self.keys };
                let (before, after) = self.disorder;
                let event_time = (time + random.next() % (after + 1)).saturating_sub(random.next() % (before + 1));
                data.push((time, (key, event_time, random.next() % 100)));
            }
        }
        data.sort_by_key(|(time, _)| *time);
        data
    }
}

/// Jobs of all kinds under random commands; some routing keys that are folded have no records.
pub fn jobs() -> impl Strategy<Value = Job> {
    let channels = prop_oneof![Just(Channels::Moved), Just(Channels::Serialised)];
    let chunk_bytes = prop_oneof![Just(1usize), Just(300), Just(65536)];
    let shape = (1..5usize, channels, 1..5u64, 1..20usize, chunk_bytes);
    let ticks = prop_oneof![Just(1u64), Just(7), Just(1000)];
    let decisions = (any::<u64>(), 1..30u64, 0..5usize, 0..5usize, prop_oneof![Just(0u64), Just(2), Just(7)]);
    let source = prop_oneof![3 => Just(None), 1 => (0..4usize).prop_map(Some)];
    let feed = (source, 0..4u64, 0..4usize, prop::option::of((0..4usize, 1..4u64)));
    (shape, ticks, decisions, feed).prop_map(|(shape, ticks, decisions, (source, ahead, pace, lag))| {
        let (workers, channels, lead, shards, chunk_bytes) = shape;
        let (seed, keys, commands, folds, checkpoint_every) = decisions;
        let decisions = Decisions::Random { seed, keys, commands, folds, checkpoint_every };
        Job {
            workers,
            channels,
            lead,
            shards,
            chunk_bytes,
            ticks,
            decisions,
            source,
            ahead,
            pace,
            lag,
            ..Job::default()
        }
    })
}

/// Jobs that take checkpoints and may crash, each with how it goes on.
pub fn recoveries() -> impl Strategy<Value = (Job, Job)> {
    (jobs(), jobs(), prop::option::of(2..12u64)).prop_map(|(job, again, crash_at)| {
        let often = |decisions| match decisions {
            Decisions::Random { seed, keys, commands, folds, .. } => {
                Decisions::Random { seed, keys, commands, folds: folds + 1, checkpoint_every: 3 }
            }
            other @ Decisions::Script(_) => other,
        };
        let job = Job { crash_at, decisions: often(job.decisions), ..job };
        let again = Job { ticks: job.ticks, decisions: often(again.decisions), ..again };
        (job, again)
    })
}

/// Inputs of all sizes.
pub fn inputs() -> impl Strategy<Value = Source> {
    (any::<u64>(), 0..15u64, 0..30usize, 1..40u64).prop_map(|(seed, epochs, records, keys)| Source {
        seed,
        epochs,
        records,
        keys,
        disorder: (0, 0),
    })
}
