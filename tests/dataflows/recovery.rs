//! Invariants 3 and 7: a snapshot holds exactly the data before its boundary, and a run that resumes from it, on any
//! number of workers, gives what it would have given.

use std::sync::Arc;
use std::time::Duration;

use crate::common::hooked::before_writing;
use crate::common::snapshots::{prefix, stored};
use crate::common::{Encoding, Outputs, Run, runs};
use proptest::prelude::*;
use thalweg::Error;
use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Fingerprint, Manifest, Memory, Space, Store, verify};
use thalweg::observe::Event;
use thalweg::policy::Script;

fn fingerprint() -> Fingerprint {
    Fingerprint::default().with("logic", "counts")
}

fn config() -> CheckpointConfig {
    CheckpointConfig { trigger: "every:1000".parse().unwrap(), keep: 1000, ..CheckpointConfig::default() }
}

fn from(outputs: &Outputs, epoch: u64) -> Outputs {
    outputs.range(epoch..).map(|(at, rows)| (*at, rows.clone())).collect()
}

/// Runs, and compares the output so far and every snapshot with what they must be.
fn check_snapshots(run: &Run, store: &Memory) {
    let begin = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), config()).unwrap();
    let (outputs, events) = run.outputs(Some(&begin));
    let expected = run.expected();
    for (epoch, rows) in &outputs {
        assert!(run.crash_at.is_some_and(|crash| crash < *epoch) || Some(rows) == expected.get(epoch), "epoch {epoch}");
    }
    let taken = Manifest::list(store).unwrap();
    for event in &events {
        if let Event::Checkpoint(checkpoint) = event {
            assert!(checkpoint.error.is_none() && taken.contains(&checkpoint.epoch), "{checkpoint:?}");
        }
    }
    for epoch in &taken {
        assert_eq!(stored(store, *epoch), prefix(run, *epoch), "snapshot at {epoch}");
        assert_eq!(Manifest::read(store, *epoch).unwrap().records, Some(run.records * run.epochs.min(*epoch)));
    }
}

/// A snapshot at every boundary, each of them longer in the making than an epoch: the next one waits for it, and keys
/// are saved before they change.
#[test]
fn snapshots_may_take_longer_than_epochs() {
    let run =
        Run { chunk_bytes: 1, records: 3000, keys: 20_000, epochs: 8, checkpoint_every: 1, lead: 1, ..Run::default() };
    let store = Memory::default();
    check_snapshots(&run, &store);
    assert!(Manifest::list(&store).unwrap().len() >= 8);
}

/// Commands known beforehand, at a boundary that comes while states are still being read.
#[test]
fn a_boundary_may_come_while_states_are_restored() {
    let store = Memory::default();
    let run = Run { chunk_bytes: 1, records: 2000, keys: 5000, epochs: 12, lead: 4, ..Run::default() };
    let script = |text: &str| text.parse::<Script>().unwrap();
    let begin = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), config()).unwrap();
    run.outputs_under(move || script("6 checkpoint"), Some(&begin));
    let resume = Checkpoints::resume(Arc::new(store), fingerprint(), config()).unwrap();
    assert_eq!(resume.epoch(), 6);
    let moves = "7 move 0 1\n 7 split 0x9000000000000000\n 7 move 0x9000000000000000 0\n 8 move 0 0";
    let (outputs, _) = run.outputs_under(move || script(moves), Some(&resume));
    assert_eq!(outputs, from(&run.expected(), 6));
}

/// Slow with objects; looks, whenever a manifest is put, whether all it refers to is there.
fn watch(store: &Memory, name: &str, bytes: &[u8]) -> Result<(), Error> {
    if name.starts_with("objects/") {
        std::thread::sleep(Duration::from_millis(5));
        return Ok(());
    }
    let json = bytes.splitn(2, |byte| *byte == b'\n').nth(1).unwrap();
    let manifest: Manifest = serde_json::from_slice(json).unwrap();
    assert!(manifest.objects.iter().all(|object| verify(store, object).is_ok()), "{name} comes too early");
    Ok(())
}

#[test]
fn a_manifest_is_written_when_all_workers_objects_are_durable() {
    let store = Memory::default();
    let begin = Checkpoints::begin(Arc::new(before_writing(store.clone(), watch)), fingerprint(), config()).unwrap();
    let run = Run { workers: 3, checkpoint_every: 2, ..Run::default() };
    let (outputs, events) = run.outputs(Some(&begin));
    assert_eq!(outputs, run.expected());
    let outcomes = events.iter().filter_map(|e| if let Event::Checkpoint(c) = e { Some(c) } else { None });
    let outcomes: Vec<_> = outcomes.collect();
    assert!(!outcomes.is_empty() && outcomes.iter().all(|c| c.error.is_none()), "{outcomes:?}");
    assert_eq!(Manifest::list(&store).unwrap().len(), outcomes.len());
}

/// The disk is full.
fn refuse(_: &Memory, name: &str, _: &[u8]) -> Result<(), Error> {
    let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
    Err(Error::Store { action: "write", object: name.into(), source })
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_abandoned_and_the_run_goes_on() {
    let begin =
        Checkpoints::begin(Arc::new(before_writing(Memory::default(), refuse)), fingerprint(), config()).unwrap();
    let run = Run { checkpoint_every: 2, ..Run::default() };
    let (outputs, events) = run.outputs(Some(&begin));
    assert_eq!(outputs, run.expected());
    let errors = events.iter().filter_map(|e| if let Event::Checkpoint(c) = e { c.error.clone() } else { None });
    let errors: Vec<_> = errors.collect();
    assert!(!errors.is_empty() && errors.iter().all(|error| error.contains("can't write objects/")), "{errors:?}");
}

#[test]
fn a_checkpoint_of_other_operators_is_refused() {
    let store = Memory::default();
    let run = Run { checkpoint_every: 2, ..Run::default() };
    run.outputs(Some(&Checkpoints::begin(Arc::new(store.clone()), fingerprint(), config()).unwrap()));
    let resume = Checkpoints::resume(Arc::new(store), fingerprint(), config()).unwrap();
    let renamed = Run { name: "counts", ..run };
    let error = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| renamed.outputs(Some(&resume)))).unwrap_err();
    let error = error.downcast_ref::<String>().unwrap();
    assert!(error.contains("Incompatible") && error.contains("name them as before"), "{error}");
}

/// A run that resumes from the newest checkpoint in the store, once that is changed as if another program had taken it.
fn resumed_from(store: &Memory, change: impl Fn(&mut Manifest)) -> Checkpoints {
    let newest = *Manifest::list(store).unwrap().last().unwrap();
    let mut manifest = Manifest::read(store, newest).unwrap();
    change(&mut manifest);
    manifest.replace(store).unwrap();
    Checkpoints::resume(Arc::new(store.clone()), fingerprint(), config()).unwrap()
}

/// Its states would be lost.
#[test]
fn a_checkpoint_of_an_operator_that_is_gone_is_refused() {
    let store = Memory::default();
    let run = Run { checkpoint_every: 2, ..Run::default() };
    run.outputs(Some(&Checkpoints::begin(Arc::new(store.clone()), fingerprint(), config()).unwrap()));
    let resume = resumed_from(&store, |manifest| {
        let users = Space { operators: vec!["riders".into()], ..manifest.spaces["keys"].clone() };
        manifest.spaces.insert("users".into(), users);
    });
    let error = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.outputs(Some(&resume)))).unwrap_err();
    let error = error.downcast_ref::<String>().unwrap();
    assert!(error.contains("Incompatible") && error.contains("riders"), "{error}");
}

/// States are found by their routing keys, whatever the shards were.
#[test]
fn an_operator_may_be_in_another_key_space_than_before() {
    let store = Memory::default();
    let run = Run { checkpoint_every: 2, crash_at: Some(12), ..Run::default() };
    run.outputs(Some(&Checkpoints::begin(Arc::new(store.clone()), fingerprint(), config()).unwrap()));
    let resume = resumed_from(&store, |manifest| {
        let space = manifest.spaces.remove("keys").unwrap();
        manifest.spaces.insert("stations".into(), space);
    });
    assert!(resume.epoch() > 0 && resume.assignment("keys", 3).is_none());
    let again = Run { workers: 3, shards: 7, crash_at: None, ..run };
    assert_eq!(again.outputs(Some(&resume)).0, from(&again.expected(), resume.epoch()));
}

/// Objects that are damaged between resolving and restoring end the run with an error that names them.
#[test]
fn an_object_that_is_lost_while_restoring_is_an_error() {
    let store = Memory::default();
    let run = Run { checkpoint_every: 2, ..Run::default() };
    run.outputs(Some(&Checkpoints::begin(Arc::new(store.clone()), fingerprint(), config()).unwrap()));
    let resume = Checkpoints::resume(Arc::new(store.clone()), fingerprint(), config()).unwrap();
    let lost = resume.resumed().unwrap().objects[0].name.clone();
    store.delete(&lost).unwrap();
    let error = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.outputs(Some(&resume)))).unwrap_err();
    let error = error.downcast_ref::<String>().unwrap();
    assert!(error.contains("it is missing") && error.contains(&lost), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn a_snapshot_is_a_prefix_and_a_resumed_run_gives_the_rest(
        run in runs(), crash in prop::option::of(4..30u64), then in 1..5usize, seed: u64,
    ) {
        let run = Run { crash_at: crash, checkpoint_every: 3, codec: Encoding::Columns, ..run };
        let store = Memory::default();
        check_snapshots(&run, &store);
        let expected = run.expected();
        let taken = Manifest::list(&store).unwrap();
        let resume = Checkpoints::resume(Arc::new(store), fingerprint(), config()).unwrap();
        prop_assert_eq!(resume.epoch(), taken.last().copied().unwrap_or(0));
        let again = Run { workers: then, seed, crash_at: None, ..run };
        prop_assert_eq!(again.outputs(Some(&resume)).0, from(&expected, resume.epoch()));
    }
}
