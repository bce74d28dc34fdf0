//! Checkpoints of states nearly all of which change: all is saved then, and only then.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::common::{Channels, drive, timely_config};
use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Fingerprint, Manifest, Memory, Store};
use thalweg::keyed::codec::Serde;
use thalweg::keyed::{Context, Fault};
use thalweg::observe::{CheckpointEvent, Event};
use thalweg::policy::{Policy, View};
use thalweg::{Command, Config, Rebalance, stable_hash};
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

const KEYS: u64 = 3000;

const SHARDS: usize = 6;

/// From this key on states are long.
const LONG: u64 = 1_000_000;

fn config() -> CheckpointConfig {
    CheckpointConfig { trigger: "every:1".parse().unwrap(), keep: 2, ..CheckpointConfig::default() }
}

fn begin(store: &Memory) -> Checkpoints {
    Checkpoints::begin(Arc::new(store.clone()), Fingerprint::default(), config()).unwrap()
}

/// In this epoch, gives all to worker 0.
#[derive(Clone, Copy)]
struct MoveAll(Option<u64>);

impl Policy for MoveAll {
    fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        let shards = view.assignment.iter().filter(|(_, owner)| self.0 == Some(view.epoch) && *owner != 0);
        shards.map(|(shard, _)| Command::Move { shard, to: 0 }).collect()
    }
}

fn on_record(key: u64, state: &mut Vec<u64>, _: &mut Context<'_, u64, u64, u64>) {
    let (words, next) = (if key < LONG { 1 } else { 10_000 }, state.first().map_or(0, |count| count + 1));
    state.clear();
    state.extend((0..words).map(|word| stable_hash(&(key, word, next))));
    state[0] = next;
}

/// Takes in the keys of so many epochs, with a checkpoint of each, on two workers; what became of the checkpoints and
/// what was seen of the epochs.
fn run(
    checkpoints: &Checkpoints,
    policy: MoveAll,
    epochs: u64,
    keys: fn(u64) -> Vec<u64>,
) -> (Vec<CheckpointEvent>, Vec<(u64, u64)>) {
    let events = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let (seen, checkpoints) = (Arc::clone(&events), checkpoints.clone());
    drive(timely_config(2, Channels::Moved), move |worker, stop| {
        let (index, workers) = (worker.index(), worker.peers());
        let (probe, mut input, fault) = (ProbeHandle::new(), InputHandle::new(), Fault::new());
        let config = Config { lead: 1, shards: SHARDS, chunk_bytes: 2000, ..Config::default() };
        worker.dataflow::<u64, _, _>(|scope| {
            let seen = Arc::clone(&seen);
            let stage = scope.input_from(&mut input).container::<Vec<u64>>().rebalance(&config, stable_hash).unwrap();
            let stage = stage.checkpoint_to(&checkpoints, &fault).unwrap().policy(policy).unwrap();
            let stage = stage.observe(move |event| match event {
                Event::Checkpoint(checkpoint) => seen.lock().unwrap().0.push(checkpoint.clone()),
                Event::Epoch(epoch) => seen.lock().unwrap().1.push((epoch.epoch, epoch.keys)),
            });
            stage.codec::<Serde>().keyed(|key| *key, on_record, |_, _| {}).probe_with(&probe);
        });
        let start = checkpoints.epoch();
        input.advance_to(start);
        for epoch in start..start + epochs {
            keys(epoch - start).into_iter().skip(index).step_by(workers).for_each(|key| input.send(key));
            input.advance_to(epoch + 1);
            worker.step();
            let until = epoch.saturating_sub(1);
            stop.step_until(worker, || fault.check().map(|()| !probe.less_than(&until)).unwrap());
            // The threads that write and merge get their turns.
            thread::sleep(Duration::from_millis(3));
        }
        input.close();
        while stop.step(worker) {
            fault.check().unwrap();
        }
    });
    let (outcomes, held) = std::mem::take(&mut *events.lock().unwrap());
    assert!(outcomes.iter().all(|checkpoint| checkpoint.error.is_none()), "{outcomes:?}");
    (outcomes, held)
}

fn all(_: u64) -> Vec<u64> {
    (0..KEYS).collect()
}

/// Those that save all, as nearly all has changed.
fn whole(outcomes: &[CheckpointEvent]) -> usize {
    outcomes.iter().filter(|checkpoint| checkpoint.generations == 0).count()
}

#[test]
fn what_was_merged_before_does_not_stay_in_the_store() {
    let store = Memory::default();
    let keys = |epoch: u64| match epoch {
        1..60 => (0..40).map(|i| (i * 7 + epoch * 31) % KEYS).collect(),
        _ => all(epoch),
    };
    let (outcomes, _) = run(&begin(&store), MoveAll(None), 120, keys);
    assert!(whole(&outcomes) > 10, "{outcomes:?}");
    let read = |epoch| Manifest::read(&store, epoch).unwrap().objects;
    let objects = Manifest::list(&store).unwrap().into_iter().flat_map(read);
    let referenced: BTreeSet<String> = objects.map(|object| object.name).collect();
    let left: Vec<_> = store.list("objects/").unwrap().into_iter().filter(|name| !referenced.contains(name)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_an_idle_worker_holds_counts_after_a_resume_too() {
    let store = Memory::default();
    run(&begin(&store), MoveAll(None), 5, all);
    let resume = Checkpoints::resume(Arc::new(store), Fingerprint::default(), config()).unwrap();
    let of_one_worker = |_| all(0).into_iter().filter(|key| stable_hash(key) / (u64::MAX / 6 + 1) % 2 == 0).collect();
    let (outcomes, held) = run(&resume, MoveAll(None), 20, of_one_worker);
    assert!(outcomes.iter().all(|checkpoint| checkpoint.saved_keys < KEYS * 2 / 3), "{outcomes:?}");
    assert!(held.iter().skip(1).all(|(_, keys)| *keys == KEYS), "{held:?}");
}

#[test]
fn what_a_worker_has_given_away_does_not_count() {
    let (outcomes, held) = run(&begin(&Memory::default()), MoveAll(Some(10)), 40, all);
    assert!(whole(&outcomes) > 15, "{outcomes:?}");
    assert!(held.iter().skip(13).all(|(_, keys)| *keys == KEYS), "{held:?}");
}

#[test]
fn where_the_keys_that_change_are_short_and_others_long_these_are_not_written_again() {
    let keys = |epoch| match epoch {
        0 => (0..1000).chain(LONG..LONG + 20).collect(),
        _ => (0..1000).collect(),
    };
    let (outcomes, _) = run(&begin(&Memory::default()), MoveAll(None), 15, keys);
    assert!(outcomes[0].bytes > 1_000_000 && outcomes[1..].iter().all(|c| c.bytes < 100_000), "{outcomes:?}");
}
