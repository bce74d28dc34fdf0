//! What a checkpoint holds, and what it must hold.

use std::collections::BTreeMap;

use thalweg::checkpoint::{Manifest, Store, read_chunk};
use thalweg::keyed::codec::{Codec, Columns, FORGOTTEN, GONE};

use super::Run;

/// Count, timers, and whether the key has been forgotten, as a checkpoint has them.
pub type State = (u64, Vec<u64>, bool);

pub type States = BTreeMap<u64, State>;

/// What the checkpoint at a boundary holds: of each key what the latest of its snapshots says.
pub fn stored(store: &dyn Store, epoch: u64) -> States {
    let manifest = Manifest::read(store, epoch).unwrap();
    let mut by_snapshot: BTreeMap<u64, BTreeMap<u64, Option<State>>> = BTreeMap::new();
    for object in &manifest.objects {
        let states = by_snapshot.entry(object.epoch).or_default();
        for chunk in &object.chunks {
            let bytes = read_chunk(store, object, chunk).unwrap().bytes;
            <Columns as Codec<u64, u64>>::decode(bytes, |(routing, key, count, timers, marks)| {
                assert_eq!(routing, thalweg::stable_hash(&key));
                let state = (marks & GONE == 0).then_some((count, timers, marks & FORGOTTEN != 0));
                assert_eq!(states.insert(key, state), None, "key {key} is saved twice at {epoch}");
            })
            .unwrap();
        }
    }
    let latest: BTreeMap<u64, Option<State>> = by_snapshot.into_values().flatten().collect();
    latest.into_iter().filter_map(|(key, state)| Some((key, state?))).collect()
}

/// What a snapshot at `boundary` must hold: all data before it, and none at or after it.
pub fn prefix(run: &Run, boundary: u64) -> States {
    let mut states = States::new();
    let mut timers: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for epoch in 0..boundary {
        for key in timers.remove(&epoch).unwrap_or_default() {
            let (count, times, forgotten) = states.get_mut(&key).unwrap();
            times.retain(|time| *time != epoch);
            if count.is_multiple_of(5) {
                (*count, *forgotten) = (0, true);
            }
            if *forgotten && times.is_empty() {
                states.remove(&key);
            }
        }
        for key in super::records(epoch, if epoch < run.epochs { run.records } else { 0 }, run.keys) {
            let (count, times, forgotten) = states.entry(key).or_default();
            *forgotten = false;
            *count += 1;
            let time = epoch + 1 + *count % 4;
            if *count % 3 == 1 && !times.contains(&time) {
                times.push(time);
                times.sort_unstable();
                timers.entry(time).or_default().push(key);
            }
        }
    }
    states
}
