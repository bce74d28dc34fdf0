//! The operators that make a checkpoint, by themselves: what they wait for.

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::Hooked;
use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Fingerprint, Manifest, Memory, Saved, Store, commit, save};
use thalweg::keyed::{Chunk, SnapshotContent, SnapshotPart};
use thalweg::observe::EpochEvent;
use thalweg::{Epochs, KeyRange};
use timely::dataflow::InputHandle;
use timely::dataflow::operators::{Input, Inspect};
use timely::worker::Worker;

fn checkpoints(store: impl Store) -> Checkpoints {
    Checkpoints::begin(Arc::new(store), Fingerprint::default(), CheckpointConfig::default()).unwrap()
}

/// Long enough for whatever does not wait.
fn step(worker: &mut Worker) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(30) {
        worker.step_or_park(Some(Duration::from_millis(1)));
    }
}

/// Steps until what does wait has come about.
fn step_until(worker: &mut Worker, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < common::DEADLINE, "it does not come about");
        worker.step_or_park(Some(Duration::from_millis(1)));
    }
}

fn epoch(epoch: u64, records: u64) -> EpochEvent {
    EpochEvent {
        space: "keys".into(),
        epoch,
        records,
        loads: vec![records],
        keys: 0,
        state_bytes: 0,
        moved_bytes: 0,
        forecast: None,
        boundary: epoch + 1,
        commands: Vec::new(),
        refused: Vec::new(),
        checkpoint: Some("wanted".into()),
        recovery_seconds: None,
    }
}

#[test]
fn a_manifest_waits_for_all_parts_and_for_the_epochs_before_it() {
    timely::execute_directly(|worker| {
        let store = Memory::default();
        let checkpoints = checkpoints(store.clone());
        let (mut saved, mut epochs) = (InputHandle::new(), InputHandle::new());
        let outcomes = Rc::new(RefCell::new(Vec::new()));
        worker.dataflow::<u64, _, _>(|scope| {
            let saved = scope.input_from(&mut saved).container::<Vec<Saved>>();
            let epochs = scope.input_from(&mut epochs).container::<Vec<EpochEvent>>();
            let outcomes = Rc::clone(&outcomes);
            commit(saved, epochs, &checkpoints, Epochs::default())
                .inspect(move |outcome| outcomes.borrow_mut().push(outcome.clone()));
        });
        let taken = || Manifest::list(&store).unwrap();
        saved.advance_to(3);
        saved.send(Saved::Shards { operator: "keyed".into(), worker: 0, ranges: vec![KeyRange::ALL] });
        epochs.send(epoch(0, 10));
        epochs.advance_to(2);
        epochs.send(epoch(2, 7));
        epochs.advance_to(3);
        step(worker);
        assert_eq!(taken(), [0; 0], "another worker's parts may still come");
        epochs.send(epoch(3, 100));
        saved.advance_to(4);
        step_until(worker, || !outcomes.borrow().is_empty());
        assert_eq!(taken(), [3]);
        let manifest = Manifest::read(&store, 3).unwrap();
        assert_eq!((manifest.records, manifest.reason.as_str(), outcomes.borrow().len()), (17, "wanted", 1));

        saved.advance_to(5);
        saved.send(Saved::Shards { operator: "keyed".into(), worker: 0, ranges: vec![KeyRange::ALL] });
        saved.advance_to(6);
        step(worker);
        assert_eq!(taken(), [3], "the records of epochs 3 and 4 are not known yet");
        epochs.advance_to(4);
        epochs.send(epoch(4, 1000));
        epochs.advance_to(5);
        step_until(worker, || outcomes.borrow().len() == 2);
        assert_eq!(Manifest::read(&store, 5).unwrap().records, 1117);
    });
}

#[test]
fn shards_that_overlap_or_leave_gaps_are_no_checkpoint() {
    timely::execute_directly(|worker| {
        let store = Memory::default();
        let checkpoints = checkpoints(store.clone());
        let (mut saved, mut epochs) = (InputHandle::new(), InputHandle::new());
        let outcomes = Rc::new(RefCell::new(Vec::new()));
        worker.dataflow::<u64, _, _>(|scope| {
            let saved = scope.input_from(&mut saved).container::<Vec<Saved>>();
            let epochs = scope.input_from(&mut epochs).container::<Vec<EpochEvent>>();
            let outcomes = Rc::clone(&outcomes);
            commit(saved, epochs, &checkpoints, Epochs::default())
                .inspect(move |outcome| outcomes.borrow_mut().push(outcome.clone()));
        });
        epochs.advance_to(9);
        for (boundary, ranges) in [(1, vec![KeyRange::from(5..)]), (2, vec![KeyRange::ALL, KeyRange::from(5..)])] {
            saved.advance_to(boundary);
            saved.send(Saved::Shards { operator: "keyed".into(), worker: 0, ranges });
            saved.advance_to(boundary + 1);
            step_until(worker, || outcomes.borrow().len() as u64 == boundary);
        }
        let errors: Vec<_> = outcomes.borrow().iter().map(|outcome| outcome.error.clone().unwrap()).collect();
        assert!(errors[0].contains("no shard holds") && errors[1].contains("overlap"), "{errors:?}");
        assert!(Manifest::list(&store).unwrap().is_empty());
    });
}

#[test]
fn what_is_saved_is_told_when_all_parts_are_there_and_durable() {
    timely::execute_directly(|worker| {
        let hold = Arc::new(Mutex::new(()));
        let held = hold.lock().unwrap();
        let waiting = Arc::clone(&hold);
        let before_put = move |_: &Memory, _: &str, _: &[u8]| {
            drop(waiting.lock().unwrap());
            Ok(())
        };
        let checkpoints = checkpoints(Hooked { inner: Memory::default(), before_put });
        let mut parts = InputHandle::new();
        let seen = Rc::new(RefCell::new(Vec::new()));
        worker.dataflow::<u64, _, _>(|scope| {
            let seen = Rc::clone(&seen);
            let parts = scope.input_from(&mut parts).container::<Vec<SnapshotPart>>();
            save(parts, &checkpoints, Epochs::default()).inspect(move |saved| seen.borrow_mut().push(saved.clone()));
        });
        let part = |content| SnapshotPart { operator: "keyed".into(), worker: 0, codec: 3, content };
        let chunk = Chunk { range: KeyRange::ALL, last: true, keys: 1, bytes: vec![1, 2, 3] };
        parts.advance_to(4);
        parts.send(part(SnapshotContent::Shards(vec![KeyRange::ALL])));
        parts.send(part(SnapshotContent::Chunk(chunk)));
        parts.flush();
        step(worker);
        assert!(seen.borrow().is_empty(), "other parts may still come");
        parts.advance_to(5);
        step(worker);
        assert!(seen.borrow().is_empty(), "the object is not durable yet");
        drop(held);
        step_until(worker, || !seen.borrow().is_empty());
        let seen = seen.borrow();
        assert!(matches!(&seen[..], [Saved::Shards { .. }, Saved::Object(_), Saved::Done(_)]), "{seen:?}");
    });
}
