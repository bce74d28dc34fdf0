//! Invariants 3 and 7: a snapshot holds exactly the data before its boundary, and a run that resumes from it, on any
//! number of workers, gives what it would have given.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Channels, Outputs, Run};
use proptest::prelude::*;
use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Fingerprint, Manifest, Memory, Store, read_chunk};
use thalweg::keyed::codec::{Codec, Columns};
use thalweg::observe::Event;

fn fingerprint() -> Fingerprint {
    Fingerprint::default().with("logic", "counts")
}

fn config() -> CheckpointConfig {
    CheckpointConfig { trigger: "every:1000".parse().unwrap(), keep: 1000, ..CheckpointConfig::default() }
}

/// Key, count and timers, as a checkpoint has them.
type States = BTreeMap<u64, (u64, Vec<u64>)>;

fn stored(store: &dyn Store, epoch: u64) -> States {
    let manifest = Manifest::read(store, epoch).unwrap();
    let mut states = States::new();
    for object in &manifest.objects {
        for chunk in &object.chunks {
            let bytes = read_chunk(store, object, chunk).unwrap().bytes;
            <Columns as Codec<u64, u64>>::decode(bytes, |(routing, key, count, timers)| {
                assert_eq!(routing, thalweg::stable_hash(&key));
                assert_eq!(states.insert(key, (count, timers)), None, "key {key} is saved twice at {epoch}");
            })
            .unwrap();
        }
    }
    states
}

/// What a snapshot at `boundary` must hold: all data before it, and none at or after it.
fn prefix(run: &Run, boundary: u64) -> States {
    let mut states = States::new();
    let mut timers: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for epoch in 0..boundary {
        for key in timers.remove(&epoch).unwrap_or_default() {
            let (count, times) = states.get_mut(&key).unwrap();
            times.retain(|time| *time != epoch);
            let forget = *count % 5 == 0;
            let keep = !times.is_empty();
            if forget {
                *count = 0;
                if !keep {
                    states.remove(&key);
                }
            }
        }
        for key in common::records(epoch, if epoch < run.epochs { run.records } else { 0 }) {
            let (count, times) = states.entry(key).or_default();
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

fn from(outputs: &Outputs, epoch: u64) -> Outputs {
    outputs.range(epoch..).map(|(at, rows)| (*at, rows.clone())).collect()
}

fn runs() -> impl Strategy<Value = (Run, usize, u64)> {
    let channels = prop_oneof![Just(Channels::Moved), Just(Channels::Serialised)];
    let chunk_bytes = prop_oneof![Just(1usize), Just(300), Just(65536)];
    let input = (8..25u64, 1..150u64, 1..4u64, 4..30u64);
    (1..5usize, channels, 1..4u64, 1..20usize, chunk_bytes, 0..5usize, any::<u64>(), input, 1..5usize).prop_map(
        |(workers, channels, lead, shards, chunk_bytes, commands, seed, (epochs, records, ahead, crash), then)| {
            let crash_at = Some(crash);
            let checkpoint_every = 3;
            let run = Run {
                workers,
                channels,
                lead,
                shards,
                chunk_bytes,
                commands,
                checkpoint_every,
                seed,
                epochs,
                records,
                ahead,
                crash_at,
            };
            (run, then, seed ^ 7)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn a_snapshot_is_a_prefix_and_a_resumed_run_gives_the_rest((run, then, seed) in runs()) {
        let store = Memory::default();
        let begin = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), config()).unwrap();
        let (before, events) = run.outputs(Some(&begin));
        let expected = run.expected();
        for (epoch, rows) in &before {
            prop_assert!(run.crash_at.is_some_and(|crash| crash < *epoch) || Some(rows) == expected.get(epoch));
        }
        let taken = Manifest::list(&store).unwrap();
        for event in &events {
            if let Event::Checkpoint(checkpoint) = event {
                prop_assert!(checkpoint.error.is_none() && taken.contains(&checkpoint.epoch), "{:?}", checkpoint);
            }
        }
        for epoch in &taken {
            prop_assert_eq!(stored(&store, *epoch), prefix(&run, *epoch), "snapshot at {}", epoch);
            let consumed = run.records * run.epochs.min(*epoch);
            prop_assert_eq!(Manifest::read(&store, *epoch).unwrap().records, consumed);
        }
        let resume = Checkpoints::resume(Arc::new(store), fingerprint(), config()).unwrap();
        prop_assert_eq!(resume.epoch(), taken.last().copied().unwrap_or(0));
        let again = Run { workers: then, seed, crash_at: None, ..run };
        prop_assert_eq!(again.outputs(Some(&resume)).0, from(&expected, resume.epoch()));
    }
}
