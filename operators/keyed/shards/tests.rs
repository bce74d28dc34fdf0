//! The shards of several workers against one plain map, with every step in between other steps.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Occasion, Parcel, Place, Shards};
use crate::keyed::codec::{Codec, Columns};
use crate::keyspace::{Assignment, Command};

/// To which worker a chunk goes; to the store if there is none.
type To = Option<usize>;
type Worker = Shards<u64, u64, Columns, To>;

const KEYS: u64 = 60;

#[derive(Clone, Debug)]
enum Step {
    Count(u64),
    Forget(u64),
    Change(Vec<(u64, usize)>),
    Snapshot,
    Work(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = prop::collection::vec((any::<u64>(), 0..4usize), 1..4);
    let step = prop_oneof![
        8 => (0..KEYS).prop_map(Step::Count),
        1 => (0..KEYS).prop_map(Step::Forget),
        1 => change.prop_map(Step::Change),
        1 => Just(Step::Snapshot),
        4 => (0..3usize).prop_map(Step::Work),
    ];
    prop::collection::vec(step, 0..300)
}

struct World {
    workers: Vec<Worker>,
    expected: BTreeMap<u64, u64>,
    /// What the snapshot in progress must be, and what of it has been saved.
    snapshot: Option<(BTreeMap<u64, u64>, BTreeMap<u64, u64>)>,
}

/// Routing keys all over the key space, in the order of the keys.
fn routing(key: u64) -> u64 {
    key * (u64::MAX / KEYS)
}

impl World {
    fn new() -> Self {
        let start = Assignment::even(4, 3).unwrap();
        let workers = (0..3).map(|worker| Worker::new(worker, start.clone(), &[], 40)).collect();
        World { workers, expected: BTreeMap::new(), snapshot: None }
    }

    fn owner(&mut self, key: u64) -> Option<(&mut Worker, usize)> {
        self.workers.iter_mut().find_map(|worker| match worker.place(routing(key)) {
            Place::Here(index) => Some((worker, index)),
            Place::Coming(_) | Place::Elsewhere => None,
        })
    }

    /// Counts a key, unless its state is on its way: then its records would wait.
    fn count(&mut self, key: u64, forget: bool) {
        let Some((worker, index)) = self.owner(key) else { return };
        let mut count = 0;
        worker.update(index, (routing(key), key), Occasion::Record, &mut Vec::new(), |_, state, _| {
            *state += 1;
            count = *state;
            forget
        });
        let expected = self.expected.entry(key).or_default();
        *expected += 1;
        assert_eq!(count, *expected, "key {key}");
        if forget {
            self.expected.remove(&key);
        }
    }

    /// A boundary: it waits for all that leaves to arrive.
    fn change(&mut self, moves: &[(u64, usize)]) {
        self.settle(|world| world.workers.iter().any(|worker| !worker.departures.is_empty()));
        let mut next = self.workers[0].assignment().clone();
        for (at, to) in moves {
            let shard = next.shard_of(*at);
            let commands = match shard.split(*at) {
                Some((_, right)) if *to < 3 => {
                    vec![Command::Split { shard, at: *at }, Command::Move { shard: right, to: *to }]
                }
                // Shards are merged into the first one, on whose worker all that follow move up by an index.
                _ => {
                    let (left, right) = (next.range(0), next.range(1.min(next.len() - 1)));
                    vec![Command::Move { shard: right, to: next.owner(0) }, Command::Merge { left, right }]
                }
            };
            next = next.apply_valid(commands).assignment;
        }
        for worker in &mut self.workers {
            worker.change(next.clone(), Some);
        }
    }

    fn begin_snapshot(&mut self) {
        self.settle(|world| world.snapshot.is_some() || world.workers.iter().any(|w| !w.departures.is_empty()));
        self.workers.iter_mut().for_each(|worker| worker.begin_snapshot(None));
        self.snapshot = Some((self.expected.clone(), BTreeMap::new()));
    }

    fn settle(&mut self, unsettled: impl Fn(&Self) -> bool) {
        let mut turns = 0..10_000;
        while unsettled(self) {
            assert!(turns.next().is_some(), "the work does not come to an end");
            (0..self.workers.len()).for_each(|worker| self.work(worker));
        }
    }

    fn work(&mut self, worker: usize) {
        let mut parcels = Vec::new();
        self.workers[worker].work(&mut parcels);
        for Parcel { chunk, hold } in parcels {
            match hold {
                Some(to) => drop(self.workers[to].arrive(chunk).unwrap()),
                None => {
                    let (_, saved) = self.snapshot.as_mut().unwrap();
                    <Columns as Codec<u64, u64>>::decode(chunk.bytes, |(_, key, count, _, _)| {
                        assert_eq!(saved.insert(key, count), None, "key {key} is saved twice");
                    })
                    .unwrap();
                }
            }
        }
        if self.workers.iter().all(|worker| !worker.is_saving())
            && let Some((expected, saved)) = self.snapshot.take()
        {
            assert_eq!(saved, expected);
        }
    }
}

proptest! {
    #[test]
    fn keys_are_where_they_belong_and_snapshots_are_of_one_instant(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Count(key) => world.count(key, false),
                Step::Forget(key) => world.count(key, true),
                Step::Change(moves) => world.change(&moves),
                Step::Snapshot => world.begin_snapshot(),
                Step::Work(worker) => world.work(worker),
            }
        }
        world.begin_snapshot();
        world.settle(|world| world.snapshot.is_some());
        let keys: u64 = world.workers.iter().map(|worker| worker.size().0).sum();
        prop_assert_eq!(keys, world.expected.len() as u64);
    }
}
