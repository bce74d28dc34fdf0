//! The shards of several workers against one plain map, with every step in between other steps.

mod cases;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::{Occasion, Origin, Place, Shards};
use crate::keyed::Chunk;
use crate::keyed::codec::{Codec, Columns, GONE};
use crate::keyed::leaving::Parcel;
use crate::keyspace::{Assignment, Command, KeyRange};

/// To which worker a chunk goes; to the store if there is none.
type To = Option<usize>;
type Worker = Shards<u64, u64, Columns, To>;

const KEYS: u64 = 60;

/// Ticks of an epoch.
const EPOCH: u64 = 10;

#[derive(Clone, Debug)]
enum Step {
    /// Records of one batch.
    Count(Vec<u64>),
    Forget(u64),
    /// Counts a key, and sets a timer of it so much later.
    Schedule(u64, u64),
    /// Time passes, but not beyond the next boundary.
    Pass,
    /// Copies ahead what leaves at the next boundary.
    Prepare(Vec<(u64, usize)>),
    Change(Vec<(u64, usize)>),
    Snapshot {
        whole: bool,
    },
    Work(usize, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = prop::collection::vec((any::<u64>(), 0..4usize), 1..4);
    let prepare = change.clone();
    let step = prop_oneof![
        8 => prop::collection::vec(0..KEYS, 1..4).prop_map(Step::Count),
        1 => (0..KEYS).prop_map(Step::Forget),
        2 => (0..KEYS, 1..3 * EPOCH).prop_map(|(key, later)| Step::Schedule(key, later)),
        1 => Just(Step::Pass),
        1 => prepare.prop_map(Step::Prepare),
        1 => change.prop_map(Step::Change),
        1 => prop::bool::weighted(0.2).prop_map(|whole| Step::Snapshot { whole }),
        4 => (0..3usize, any::<bool>()).prop_map(|(worker, scan)| Step::Work(worker, scan)),
    ];
    prop::collection::vec(step, 0..300)
}

/// A snapshot in progress: what there was at its boundary, what of it has changed since the one before, and what has
/// been saved. A key that is gone has no count.
struct Saving {
    all: BTreeMap<u64, u64>,
    changed: BTreeMap<u64, Option<u64>>,
    saved: BTreeMap<u64, Option<u64>>,
}

fn rows(chunk: &Chunk) -> Vec<(u64, Option<u64>)> {
    let mut rows = Vec::new();
    let decoded = <Columns as Codec<u64, u64>>::decode(chunk.bytes.clone(), |(_, key, count, _, marks)| {
        rows.push((key, (marks & GONE == 0).then_some(count)));
    });
    decoded.unwrap();
    rows
}

struct World {
    workers: Vec<Worker>,
    /// What is on its way to each worker, and whether it was sent ahead.
    sent: Vec<VecDeque<(bool, Chunk)>>,
    /// What will hold from the next boundary, if it is prepared.
    prepared: Option<Assignment>,
    now: u64,
    expected: BTreeMap<u64, u64>,
    /// Timers that are set: their times and keys.
    timers: BTreeSet<(u64, u64)>,
    /// What the snapshot in progress must be, and what of it has been saved.
    snapshot: Option<Saving>,
    /// Chunks of the snapshots that the one in progress builds upon, and of itself: the latest ones last.
    chain: Vec<Vec<Chunk>>,
    /// Keys that have changed since the last snapshot, or are to be saved since all are.
    changed: BTreeSet<u64>,
}

/// Routing keys all over the key space, in the order of the keys.
fn routing(key: u64) -> u64 {
    key * (u64::MAX / KEYS)
}

impl World {
    fn new() -> Self {
        let start = Assignment::even(4, 3).unwrap();
        let workers = (0..3).map(|worker| Worker::new(worker, start.clone(), &[], 40)).collect();
        World {
            workers,
            sent: vec![VecDeque::new(); 3],
            prepared: None,
            now: 0,
            expected: BTreeMap::new(),
            timers: BTreeSet::new(),
            snapshot: None,
            chain: Vec::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Whether anything is leaving, or on its way, for a boundary that has been crossed.
    fn moves(&self) -> bool {
        self.workers.iter().any(Worker::are_leaving) || self.sent.iter().flatten().any(|(ahead, _)| !ahead)
    }

    /// Counts keys, but for those whose state is on its way: their records would wait. One with timers is not
    /// forgotten.
    fn count(&mut self, keys: &[u64], forget: bool, timer: Option<u64>) {
        let Self { workers, expected, changed, timers, .. } = self;
        for worker in workers {
            let is_here = |key: &u64| worker.place(worker.find(routing(*key))) == Place::Here;
            let keys: Vec<u64> = keys.iter().copied().filter(is_here).collect();
            let routing: Vec<u64> = keys.iter().map(|key| routing(*key)).collect();
            let indices: Vec<u32> = routing.iter().map(|routing| worker.find(*routing) as u32).collect();
            worker.locate(&routing, keys.into_iter());
            worker.update_located(&routing, &indices, &mut Vec::new(), |key, count, times| {
                changed.insert(*key);
                *count += 1;
                assert_eq!(*count, expected.get(key).map_or(1, |count| count + 1), "key {key}");
                let forget = forget && timers.iter().all(|(_, scheduled)| scheduled != key);
                if forget {
                    expected.remove(key);
                } else {
                    expected.insert(*key, *count);
                }
                times.extend(timer);
                timers.extend(timer.map(|time| (time, *key)));
                forget
            });
        }
    }

    /// The time of the next boundary.
    fn boundary(&self) -> u64 {
        (self.now / EPOCH + 1) * EPOCH
    }

    /// Time passes, up to but not including `until`, and what has become due is fired.
    fn pass(&mut self, until: u64) {
        while self.now < until {
            (0..self.workers.len()).for_each(|worker| self.fire(worker, self.now));
            self.now += 1;
        }
    }

    fn fire(&mut self, worker: usize, time: u64) {
        let worker = &mut self.workers[worker];
        for timer in worker.take_due(time, 99) {
            let Some(index) = worker.fire(&timer) else { continue };
            let key = (timer.routing, &timer.key);
            worker.update(index, key, Occasion::Timer, &mut Vec::new(), |_, _, _| false);
            self.changed.insert(timer.key);
            assert!(self.timers.remove(&(time, timer.key)), "{time} of key {} is not set", timer.key);
        }
    }

    /// The next boundary, the commands of which are known. What it needs is there when what the one before it made
    /// leave has arrived.
    fn prepare(&mut self, moves: &[(u64, usize)]) {
        if self.prepared.is_some() {
            return;
        }
        self.settle(Self::moves);
        let next = self.next(moves);
        let at = self.boundary();
        self.workers.iter_mut().for_each(|worker| worker.prepare(&next, at, Some));
        self.prepared = Some(next);
    }

    /// A boundary: it waits for all that leaves to arrive.
    fn change(&mut self, moves: &[(u64, usize)]) {
        if self.prepared.is_none() {
            self.settle(Self::moves);
        }
        self.pass(self.boundary());
        let next = self.prepared.take().unwrap_or_else(|| self.next(moves));
        for worker in &mut self.workers {
            worker.change(next.clone(), Some);
        }
    }

    fn next(&self, moves: &[(u64, usize)]) -> Assignment {
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
        next
    }

    fn begin_snapshot(&mut self, whole: bool) {
        if self.prepared.is_some() {
            self.change(&[]);
        }
        self.settle(|world| world.snapshot.is_some() || world.moves());
        self.pass(self.boundary());
        self.workers.iter_mut().for_each(|worker| worker.begin_snapshot(whole, None));
        if whole {
            self.chain.clear();
            self.changed = self.expected.keys().copied().collect();
        }
        self.chain.push(Vec::new());
        let changed = std::mem::take(&mut self.changed);
        let expected = changed.into_iter().map(|key| (key, self.expected.get(&key).copied())).collect();
        self.snapshot = Some(Saving { all: self.expected.clone(), changed: expected, saved: BTreeMap::new() });
    }

    /// What a run has that resumes from the last snapshot on two workers.
    fn resumed(&self) -> BTreeMap<u64, u64> {
        let start = Assignment::even(5, 2).unwrap();
        let chunks: Vec<&Chunk> = self.chain.iter().rev().flatten().collect();
        let parts: Vec<KeyRange> = chunks.iter().map(|chunk| chunk.range).collect();
        let mut counts = BTreeMap::new();
        for worker in 0..2 {
            let mut resumed = Worker::new(worker, start.clone(), &parts, 40);
            for chunk in &chunks {
                resumed.arrive((*chunk).clone(), Origin::Store).unwrap();
            }
            // What it has is what a snapshot of all of it says.
            resumed.begin_snapshot(true, None);
            while resumed.is_saving() {
                let mut parcels = Vec::new();
                resumed.work(true, &mut parcels);
                parcels.iter().for_each(|parcel| counts.extend(rows(&parcel.chunk)));
            }
            assert_eq!((resumed.held.unsaved, resumed.states.len() as u64), (0, resumed.held.keys));
        }
        counts.into_iter().map(|(key, count)| (key, count.unwrap())).collect()
    }

    fn settle(&mut self, unsettled: impl Fn(&Self) -> bool) {
        let mut turns = 0..10_000;
        while unsettled(self) {
            assert!(turns.next().is_some(), "the work does not come to an end");
            (0..self.workers.len()).for_each(|worker| self.work(worker, true));
        }
    }

    fn work(&mut self, worker: usize, scan: bool) {
        let mut parcels = Vec::new();
        let ahead = !self.workers[worker].are_leaving();
        self.workers[worker].work(scan, &mut parcels);
        if let Some((ahead, chunk)) = self.sent[worker].pop_front() {
            let origin = if ahead && self.prepared.is_some() { Origin::Ahead } else { Origin::Worker };
            let arrived = self.workers[worker].arrive(chunk, origin).unwrap();
            arrived.times.range(..self.now).for_each(|time| self.fire(worker, *time));
        }
        for Parcel { chunk, hold } in parcels {
            match hold {
                Some(to) => self.sent[to].push_back((ahead, chunk)),
                None => {
                    let saving = self.snapshot.as_mut().unwrap();
                    for (key, count) in rows(&chunk) {
                        assert_eq!(saving.saved.insert(key, count), None, "key {key} is saved twice");
                    }
                    self.chain.last_mut().unwrap().push(chunk);
                }
            }
        }
        if self.workers.iter().all(|worker| !worker.is_saving())
            && let Some(Saving { all, mut changed, saved }) = self.snapshot.take()
        {
            // Of a key that came and went between two snapshots, nothing need be said.
            changed.retain(|key, count| count.is_some() || saved.contains_key(key));
            assert_eq!(saved, changed);
            assert_eq!(self.resumed(), all);
        }
    }
}

proptest! {
    #[test]
    fn keys_are_where_they_belong_and_snapshots_are_of_one_instant(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Count(keys) => world.count(&keys, false, None),
                Step::Forget(key) => world.count(&[key], true, None),
                Step::Schedule(key, later) => world.count(&[key], false, Some(world.now + later)),
                Step::Pass => world.pass((world.now + 2).min(world.boundary() - 1)),
                Step::Prepare(moves) => world.prepare(&moves),
                Step::Change(moves) => world.change(&moves),
                Step::Snapshot { whole } => world.begin_snapshot(whole),
                Step::Work(worker, scan) => world.work(worker, scan),
            }
        }
        world.begin_snapshot(false);
        world.settle(|world| world.snapshot.is_some());
        world.pass(world.now + 4 * EPOCH);
        prop_assert!(world.timers.is_empty(), "not fired: {:?}", world.timers);
        let keys: u64 = world.workers.iter().map(|worker| worker.size().0).sum();
        prop_assert_eq!(keys, world.expected.len() as u64);
        for worker in &world.workers {
            let of_shards = worker.keys.sum();
            prop_assert_eq!((of_shards as u64, worker.states.len() as u64), (worker.held.keys, worker.held.keys));
        }
    }
}

/// Two routing keys that can't be told apart where records look for their keys.
fn alike() -> (u64, u64) {
    const INVERSE: u64 = 0xf1de_83e1_9937_733d;
    let of = |product: u64| product.wrapping_mul(INVERSE);
    (of(5 << 40), of(5 << 40 | 9))
}

#[test]
fn a_key_with_two_routing_keys_that_look_alike_does_not_stop_the_others() {
    let (one, other) = alike();
    assert_eq!(crate::keyed::entry::check(one), crate::keyed::entry::check(other));
    let mut worker = Worker::new(0, Assignment::even(1, 1).unwrap(), &[], 40);
    let mut updated = Vec::new();
    for batch in [&[(one, 7)][..], &[(other, 7), (routing(8), 8)]] {
        let (routing, keys): (Vec<u64>, Vec<u64>) = batch.iter().copied().unzip();
        worker.locate(&routing, keys.into_iter());
        worker.update_located(&routing, &vec![0; routing.len()], &mut Vec::new(), |key, _, times| {
            updated.push(*key);
            times.push(100);
            false
        });
    }
    assert_eq!(updated, [7, 7, 8]);
}
