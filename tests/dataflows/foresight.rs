//! The default policy looks ahead and puts workers in and out of use: what comes out per epoch is that of a plain
//! program (invariant 1) all the same, after a crash and when the inputs close too (invariant 4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::common::job::{Data, Job, Record, Rows, Spaces, config, fingerprint, routing};
use crate::common::{Channels, Random};
use thalweg::checkpoint::{Checkpoints, Manifest, Memory, Store};
use thalweg::keyed::Fault;
use thalweg::observe::{EpochEvent, Event};
use thalweg::policy::{Policy, PolicyConfig, Proactive, View};
use thalweg::{Assignment, Command, Config, Error, Loop, Rebalance};
use timely::dataflow::StreamVec;

/// Key, records of the epoch or 0, and records so far.
type Row = (u64, u64, u64);

/// Records in an epoch of much load, and in one of little; and how many epochs of each follow one another.
const MUCH: usize = 120;
const LITTLE: usize = 12;
const HALF: u64 = 8;

/// Foresight, and a checkpoint now and then.
struct Ahead {
    policy: Proactive,
    checkpoint_every: u64,
}

impl Policy for Ahead {
    fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        let mut commands = self.policy.decide(view);
        if self.checkpoint_every > 0 && view.boundary.is_multiple_of(self.checkpoint_every) {
            commands.push(Command::Checkpoint);
        }
        commands
    }

    fn known(&mut self, start: &Assignment, from: u64) -> Result<BTreeMap<u64, Vec<Command>>, Error> {
        self.policy.known(start, from)
    }
}

/// A dataflow under that policy.
#[derive(Clone)]
struct Flow {
    config: PolicyConfig,
    folds: bool,
    checkpoint_every: u64,
}

impl Flow {
    /// One for workers of such capacities that has them in and out of use.
    fn new(capacity: &[f64], folds: bool) -> Self {
        let (capacity, min_workers) = (capacity.to_vec(), Some(1));
        let config = PolicyConfig { capacity, min_workers, prediction_horizon: 2, ..PolicyConfig::default() };
        Flow { config, folds, checkpoint_every: 0 }
    }

    fn build(
        &self,
    ) -> impl for<'s> Fn(StreamVec<'s, u64, Record>, &Spaces<'s>) -> StreamVec<'s, u64, Row> + Clone + use<> {
        let Flow { config, folds, checkpoint_every } = self.clone();
        move |data, spaces| {
            let policy = Ahead { policy: Proactive::new(config.clone()).unwrap(), checkpoint_every };
            let keys = spaces.space("keys").policy(policy).unwrap();
            let stage = data.rebalance(&keys, routing).unwrap().named("stage").unwrap();
            match folds {
                true => stage.fold_epochs(
                    |record| record.0,
                    |_, records: &mut u64| *records += 1,
                    |records, others| *records += others,
                    |records, sum: &mut u64, context| {
                        *sum += records;
                        context.give((*context.key(), records, *sum));
                    },
                ),
                false => stage.fold_keyed(
                    |record| record.0,
                    |record, sum: &mut u64, context| {
                        *sum += 1;
                        context.give((record.0, 0, *sum));
                    },
                ),
            }
        }
    }

    /// What must come out.
    fn expected(&self, job: &Job, data: &Data) -> Rows<Row> {
        let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
        let mut folded: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        let mut rows = Rows::new();
        for (time, (key, ..)) in data {
            let sum = sums.entry(*key).or_default();
            *sum += 1;
            rows.push((*time, (*key, 0, *sum)));
            *folded.entry((job.boundary_after(*time), *key)).or_default() += 1;
        }
        if self.folds {
            sums.clear();
            rows = Rows::new();
            for ((at, key), records) in folded {
                let sum = sums.entry(key).or_default();
                *sum += records;
                rows.push((at, (key, records, *sum)));
            }
        }
        rows.sort_unstable();
        rows
    }
}

/// A load that goes up and down, with a hot key.
fn swinging(epochs: u64, ticks: u64) -> Data {
    let mut random = Random(5);
    let mut data = Data::new();
    for epoch in 0..epochs {
        for i in 0..if (epoch / HALF).is_multiple_of(2) { MUCH } else { LITTLE } {
            let key = if i % 4 == 0 { 3 } else { random.next() % 100 };
            data.push((epoch * ticks + random.next() % ticks, (key, 0, 0)));
        }
    }
    data.sort_by_key(|(time, _)| *time);
    data
}

fn of_epochs(events: &[Event]) -> impl Iterator<Item = &EpochEvent> {
    events.iter().filter_map(|event| match event {
        Event::Epoch(epoch) => Some(epoch),
        Event::Checkpoint(_) => None,
    })
}

/// How often a worker was left without a shard, and how often one without was given some.
fn swings(start: &Assignment, events: &[Event]) -> (usize, usize) {
    let owners = |assignment: &Assignment| assignment.iter().map(|(_, owner)| owner).collect::<BTreeSet<usize>>();
    let (mut assignment, mut emptied, mut filled) = (start.clone(), 0, 0);
    for event in of_epochs(events) {
        assert!(event.refused.is_empty(), "{event:?}");
        let next = assignment.apply(&event.commands).unwrap();
        emptied += owners(&assignment).difference(&owners(&next)).count();
        filled += owners(&next).difference(&owners(&assignment)).count();
        assignment = next;
    }
    (emptied, filled)
}

fn even(job: &Job) -> Assignment {
    Assignment::even(job.shards, job.workers).unwrap()
}

#[test]
fn the_output_is_that_of_a_plain_program_while_workers_come_and_go() {
    for (workers, capacity, lead, ticks, channels) in [
        (2, &[50.0][..], 1, 1, Channels::Moved),
        (3, &[50.0], 2, 7, Channels::Serialised),
        (4, &[50.0, 25.0, 100.0, 50.0], 3, 1, Channels::Serialised),
        (3, &[30.0, 100.0, 35.0], 1, 1000, Channels::Moved),
    ] {
        for folds in [false, true] {
            let (job, flow) = (Job { workers, lead, ticks, channels, ..Job::default() }, Flow::new(capacity, folds));
            let data = swinging(4 * HALF, ticks);
            let (rows, events) = job.run(&data, None, flow.build());
            assert!(rows == flow.expected(&job, &data), "{job:?} {folds}");
            let (emptied, filled) = swings(&even(&job), &events);
            assert!(emptied >= 1 && filled >= 1, "{emptied} emptied, {filled} filled by {job:?}, folding: {folds}");
            let has_folded = |e: &EpochEvent| e.commands.iter().any(|c| matches!(c, Command::Fold { .. }));
            assert_eq!(of_epochs(&events).any(has_folded), folds, "{job:?}");
        }
    }
}

/// Each run comes to its end while a worker is being emptied, in one of its epochs or others.
#[test]
fn inputs_may_be_closed_while_workers_are_emptied() {
    for (lead, ahead, folds) in [(1, 0, true), (3, 2, false)] {
        for epochs in HALF + 1..2 * HALF + 2 {
            let (job, flow) = (Job { workers: 3, lead, ahead, ..Job::default() }, Flow::new(&[50.0], folds));
            let data = swinging(epochs, 1);
            job.check(&data, &flow.expected(&job, &data), flow.build());
        }
    }
}

/// At the boundary of the checkpoint one worker has everything, or all have something.
#[test]
fn a_resumed_run_goes_on_from_the_workers_in_use() {
    for (crash_at, folds, workers) in [(HALF + 5, false, 4), (HALF - 1, true, 2), (2 * HALF + 5, true, 1)] {
        let job = Job { workers: 3, crash_at: Some(crash_at), ..Job::default() };
        let flow = Flow { checkpoint_every: 2, ..Flow::new(&[50.0], folds) };
        let data = swinging(4 * HALF, 1);
        let expected = flow.expected(&job, &data);
        job.check_recovery(&Job { workers, ..Job::default() }, &data, &expected, flow.build());
    }
}

#[test]
fn scaling_goes_on_from_a_checkpoint_in_which_workers_have_nothing() {
    let job = Job { workers: 4, ..Job::default() };
    let flow = Flow { checkpoint_every: 2, ..Flow::new(&[50.0], false) };
    let data = swinging(5 * HALF, 1);
    let store = Memory::default();
    let begin = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), config()).unwrap();
    job.run(&swinging(2 * HALF, 1), Some(&begin), flow.build());
    let resume = Checkpoints::resume(Arc::new(store.clone()), fingerprint(), config()).unwrap();
    let saved = Manifest::read(&store, resume.epoch()).unwrap().spaces["keys"].assignment.clone();
    assert!(saved.iter().all(|(_, owner)| owner == 0), "{saved:?}");
    for workers in [1, 2, 4] {
        let copy = Memory::default();
        store.list("").unwrap().iter().for_each(|name| copy.put(name, &store.get(name).unwrap()).unwrap());
        let resume = Checkpoints::resume(Arc::new(copy), fingerprint(), config()).unwrap();
        let again = Job { workers, ..Job::default() };
        let (rows, events) = again.run(&data, Some(&resume), flow.build());
        let rest: Rows<Row> = flow.expected(&job, &data).into_iter().filter(|(at, _)| *at >= resume.epoch()).collect();
        assert!(rows == rest, "{workers}");
        let (emptied, filled) = swings(&saved.rescaled(workers).unwrap(), &events);
        assert!(workers == 1 || emptied >= 1 && filled >= 1, "{workers}: {emptied} emptied, {filled} filled");
    }
}

/// A run on other workers than the configuration is for, anew and from a checkpoint.
#[test]
fn what_does_not_fit_the_workers_is_an_error() {
    let store = Memory::default();
    let begin = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), config()).unwrap();
    let job = Job { workers: 4, ..Job::default() };
    job.run(&swinging(HALF, 1), Some(&begin), Flow { checkpoint_every: 2, ..Flow::new(&[50.0], false) }.build());
    let resume = Checkpoints::resume(Arc::new(store), fingerprint(), config()).unwrap();
    for (capacity, min_workers, told) in [
        (vec![100.0], 2, "min_workers is 2, but there are 1 workers"),
        (vec![100.0; 4], 1, "capacity has 4 numbers, but there are 1 workers"),
    ] {
        let policy = PolicyConfig { capacity, min_workers: Some(min_workers), ..PolicyConfig::default() };
        for checkpoints in [None, Some(resume.clone())] {
            let config = Config { policy: policy.clone(), ..Config::default() };
            let error = timely::example(move |scope| {
                let looped = Loop::new(scope, &config).unwrap();
                let looped = match checkpoints {
                    Some(checkpoints) => looped.checkpoint_to(&checkpoints, &Fault::new()).unwrap(),
                    None => looped,
                };
                looped.key_space("keys").map(drop).unwrap_err()
            });
            assert!(matches!(&error, Error::Usage { .. }) && error.to_string().contains(told), "{error}");
        }
    }
}
