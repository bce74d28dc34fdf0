//! Checkpoints of what has changed: each holds all there is nevertheless, whatever fails, and they don't pile up.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::common::hooked::before_writing;
use crate::common::snapshots::{prefix, stored};
use crate::common::{Encoding, Outputs, Random, Run};
use proptest::prelude::*;
use thalweg::Error;
use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Fingerprint, Manifest, Memory, Store, resolve};
use thalweg::observe::{CheckpointEvent, Event};

fn config(keep: usize) -> CheckpointConfig {
    CheckpointConfig { trigger: "every:1".parse().unwrap(), keep, ..CheckpointConfig::default() }
}

/// Many keys, of which few change in an epoch; each epoch has a checkpoint, and shards move all the time.
fn run() -> Run {
    Run { epochs: 60, records: 40, keys: 3000, commands: 2, chunk_bytes: 200, lead: 1, ..Run::default() }
}

fn outcomes(events: Vec<Event>) -> Vec<CheckpointEvent> {
    events.into_iter().filter_map(|e| if let Event::Checkpoint(c) = e { Some(c) } else { None }).collect()
}

fn boundaries(manifest: &Manifest) -> BTreeSet<u64> {
    manifest.objects.iter().map(|object| object.epoch).collect()
}

fn from(outputs: &Outputs, epoch: u64) -> Outputs {
    outputs.range(epoch..).map(|(at, rows)| (*at, rows.clone())).collect()
}

/// Each checkpoint in the store holds what it must, and there is nothing else in the store.
fn check(store: &Memory, run: &Run) -> Vec<Manifest> {
    let manifests: Vec<Manifest> =
        Manifest::list(store).unwrap().into_iter().map(|epoch| Manifest::read(store, epoch).unwrap()).collect();
    for manifest in &manifests {
        assert_eq!(stored(store, manifest.epoch), prefix(run, manifest.epoch), "snapshot at {}", manifest.epoch);
    }
    manifests
}

#[test]
fn what_has_changed_is_written_and_old_snapshots_are_merged() {
    let (store, run) = (Memory::default(), run());
    let begin = Checkpoints::begin(Arc::new(store.clone()), Fingerprint::default(), config(3)).unwrap();
    let (outputs, events) = run.outputs(Some(&begin));
    assert_eq!(outputs, run.expected());
    let outcomes = outcomes(events);
    assert!(outcomes.iter().all(|c| c.error.is_none() && c.merge_error.is_none()), "{outcomes:?}");
    // An epoch has 40 records, and fires some of the timers of 4 epochs before it.
    assert!(outcomes.iter().all(|c| c.saved_keys <= 160), "{outcomes:?}");
    assert!(outcomes.iter().skip(20).all(|c| c.saved_share() < 0.3), "{outcomes:?}");
    let manifests = check(&store, &run);
    assert_eq!(manifests.len(), 3);
    let referenced: BTreeSet<&str> = manifests.iter().flat_map(|m| &m.objects).map(|o| o.name.as_str()).collect();
    assert!(referenced.iter().any(|name| name.contains("-merged-")), "{referenced:?}");
    let last = &manifests[2];
    assert!((2..=33).contains(&boundaries(last).len()), "{:?}", boundaries(last));
    // What was merged last may not be referred to yet.
    let unreferenced = store.list("objects/").unwrap().into_iter().filter(|name| !referenced.contains(name.as_str()));
    assert!(unreferenced.clone().all(|name| name.contains("-merged-")), "{:?}", unreferenced.collect::<Vec<_>>());
    let resume = Checkpoints::resume(Arc::new(store), Fingerprint::default(), config(3)).unwrap();
    let again = Run { workers: 3, seed: 5, ..run };
    assert_eq!(again.outputs(Some(&resume)).0, from(&again.expected(), resume.epoch()));
}

/// What is gone is in no such snapshot.
#[test]
fn where_nearly_all_keys_have_changed_all_are_saved_and_the_chain_begins_anew() {
    for (keys, every, lead) in [(2, 1, 1), (97, 8, 2)] {
        let (store, run) = (Memory::default(), Run { keys, lead, records: 100, ..run() });
        let config = CheckpointConfig { trigger: format!("every:{every}").parse().unwrap(), ..config(2) };
        let begin = Checkpoints::begin(Arc::new(store.clone()), Fingerprint::default(), config.clone()).unwrap();
        let (outputs, events) = run.outputs(Some(&begin));
        assert_eq!(outputs, run.expected());
        let outcomes = outcomes(events);
        assert!(outcomes.len() > 5 && outcomes.iter().all(|c| c.error.is_none()), "{outcomes:?}");
        // But for those that tell what has changed: the second one, with what comes before it is known, and now and
        // then.
        let while_fed = || outcomes.iter().filter(|c| c.epoch < run.epochs);
        let whole = while_fed().filter(|c| c.saved_keys == c.keys && c.generations == 0).count();
        assert!(whole > 2, "{outcomes:?}");
        check(&store, &run);
        let resume = Checkpoints::resume(Arc::new(store), Fingerprint::default(), config).unwrap();
        let again = Run { workers: 3, seed: 5, ..run };
        assert_eq!(again.outputs(Some(&resume)).0, from(&again.expected(), resume.epoch()));
    }
}

fn refused(name: &str) -> Error {
    let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
    Error::Store { action: "write", object: name.into(), source }
}

#[test]
fn after_an_abandoned_checkpoint_all_is_saved() {
    // Long enough for the thread that writes to have its turn before the end.
    let (memory, run) = (Memory::default(), Run { epochs: 240, ..run() });
    let before_put = |_: &Memory, name: &str, _: &[u8]| {
        let epoch: u64 = name.split(['/', '-', '.']).nth(1).unwrap().parse().unwrap();
        if (20..23).contains(&epoch) { Err(refused(name)) } else { Ok(()) }
    };
    let store = before_writing(memory.clone(), before_put);
    let begin = Checkpoints::begin(Arc::new(store), Fingerprint::default(), config(1000)).unwrap();
    let (outputs, events) = run.outputs(Some(&begin));
    assert_eq!(outputs, run.expected());
    let outcomes = outcomes(events);
    let abandoned = outcomes.iter().filter(|c| c.error.is_some());
    assert!(abandoned.clone().count() >= 1, "{outcomes:?}");
    let next = outcomes.iter().find(|c| c.error.is_none() && c.epoch > 20).unwrap();
    assert_eq!(next.saved_keys, next.keys, "{next:?}");
    let manifests = check(&memory, &run);
    let next = manifests.iter().find(|manifest| manifest.epoch > 20).unwrap();
    assert_eq!(boundaries(next), BTreeSet::from([next.epoch]));
    assert!(outcomes.last().unwrap().saved_share() < 0.3, "{outcomes:?}");
}

#[test]
fn what_cannot_be_merged_stays_apart() {
    let (memory, run) = (Memory::default(), run());
    let before_put = |_: &Memory, name: &str, _: &[u8]| {
        if name.contains("-merged-") { Err(refused(name)) } else { Ok(()) }
    };
    let store = before_writing(memory.clone(), before_put);
    let begin = Checkpoints::begin(Arc::new(store), Fingerprint::default(), config(2)).unwrap();
    let (outputs, events) = run.outputs(Some(&begin));
    assert_eq!(outputs, run.expected());
    let outcomes = outcomes(events);
    assert!(outcomes.iter().all(|c| c.error.is_none()), "{outcomes:?}");
    assert!(outcomes.iter().any(|c| c.merge_error.as_ref().is_some_and(|e| e.contains("-merged-"))), "{outcomes:?}");
    assert_eq!(check(&memory, &run).len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    /// One run after the other crashes, and the store fails now and then.
    #[test]
    fn nothing_is_lost_over_crashes_and_failures(
        seed: u64, crashes in prop::collection::vec((5..60u64, 1..4usize), 0..4), failing in 0..5usize,
        keep in 1..4usize, chunk_bytes in prop_oneof![Just(1usize), Just(400)], keys in prop_oneof![Just(40u64), Just(2000)],
    ) {
        let memory = Memory::default();
        let run = Run { chunk_bytes, keys, seed, codec: Encoding::Columns, ..run() };
        let expected = run.expected();
        for (at, (crash_at, workers)) in crashes.iter().map(|(at, w)| (Some(*at), *w)).chain([(None, 2)]).enumerate() {
            let random = std::sync::Mutex::new(Random(seed ^ at as u64));
            let before_put = move |_: &Memory, name: &str, _: &[u8]| {
                let fails = random.lock().unwrap().index(20) < failing;
                if fails { Err(refused(name)) } else { Ok(()) }
            };
            let store = Arc::new(before_writing(memory.clone(), before_put));
            let resume = Checkpoints::resume(store, Fingerprint::default(), config(keep)).unwrap();
            let run = Run { workers, crash_at, seed: seed ^ at as u64, ..run.clone() };
            let (outputs, _) = run.outputs(Some(&resume));
            for (epoch, rows) in &outputs {
                let is_whole = crash_at.is_none_or(|crash| *epoch < crash);
                prop_assert!(!is_whole || Some(rows) == expected.get(epoch), "epoch {epoch}");
            }
            if crash_at.is_none() {
                prop_assert_eq!(outputs, from(&expected, resume.epoch()));
            }
            check(&memory, &run);
            prop_assert!(resolve(&memory, &Fingerprint::default()).unwrap().skipped.is_empty());
        }
    }
}
