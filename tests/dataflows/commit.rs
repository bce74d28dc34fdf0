//! The operators that make a checkpoint, by themselves: what they wait for.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use crate::common::hooked::before_writing;
use crate::common::{step, step_until};
use thalweg::checkpoint::{
    CheckpointConfig, Checkpoints, Covered, Fingerprint, Manifest, Memory, Operators, Saved, Store, commit, save,
};
use thalweg::keyed::{Chunk, SnapshotContent, SnapshotPart};
use thalweg::observe::{CheckpointEvent, EpochEvent};
use thalweg::{Epochs, KeyRange};
use timely::dataflow::operators::vec::input::Handle as InputHandle;
use timely::dataflow::operators::{Input, Inspect};
use timely::worker::Worker;

fn checkpoints(store: impl Store) -> Checkpoints {
    Checkpoints::begin(Arc::new(store), Fingerprint::default(), CheckpointConfig::default()).unwrap()
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

/// What one worker, which owns all there is, says of an operator's shards.
fn shards(operator: &str, ranges: &[KeyRange]) -> Saved {
    let (operator, ranges) = (operator.to_owned(), ranges.to_vec());
    Saved::Shards { operator, worker: 0, ranges, folded: Vec::new(), keys: 5, whole: true }
}

/// The inputs of [`commit`], and what it has told.
struct Committing {
    saved: InputHandle<u64, Saved>,
    epochs: InputHandle<u64, EpochEvent>,
    covered: InputHandle<u64, Covered>,
    outcomes: Rc<RefCell<Vec<CheckpointEvent>>>,
}

fn committing(worker: &mut Worker, checkpoints: &Checkpoints, expected: &[(&str, &str)]) -> Committing {
    let mut operators = Operators::default();
    expected.iter().for_each(|(operator, space)| operators.add(operator, space, 1).unwrap());
    let (mut saved, mut epochs, mut covered) = (InputHandle::new(), InputHandle::new(), InputHandle::new());
    let outcomes = Rc::new(RefCell::new(Vec::new()));
    worker.dataflow::<u64, _, _>(|scope| {
        let saved = scope.input_from(&mut saved);
        let epochs = scope.input_from(&mut epochs);
        let covered = scope.input_from(&mut covered);
        let outcomes = Rc::clone(&outcomes);
        commit(saved, epochs, covered, checkpoints, &operators, Epochs::default())
            .inspect(move |outcome| outcomes.borrow_mut().push(outcome.clone()));
    });
    Committing { saved, epochs, covered, outcomes }
}

/// What becomes of one checkpoint, at boundary 3, of what one worker has saved: the manifest, or the error it is
/// abandoned with.
fn committed(expected: &'static [(&str, &str)], parts: Vec<Saved>) -> Result<Manifest, String> {
    timely::execute_directly(move |worker| {
        let store = Memory::default();
        let Committing { mut saved, mut epochs, outcomes, .. } =
            committing(worker, &checkpoints(store.clone()), expected);
        epochs.advance_to(3);
        saved.advance_to(3);
        saved.send_batch(&mut { parts });
        saved.advance_to(4);
        step_until(worker, || !outcomes.borrow().is_empty());
        let taken = Manifest::list(&store).unwrap();
        match outcomes.borrow()[0].error.clone() {
            None => Ok(Manifest::read(&store, 3).unwrap()),
            Some(error) => {
                assert!(taken.is_empty(), "an abandoned checkpoint must not exist");
                Err(error)
            }
        }
    })
}

/// Two operators of one key space and one of another, as they are expected and as they take part.
const OPERATORS: &[(&str, &str)] = &[("arrivals", "stations"), ("departures", "stations"), ("riders", "users")];

fn all_parts() -> Vec<Saved> {
    let halves = KeyRange::ALL.split(1 << 63).unwrap();
    let stations = |operator| shards(operator, &[halves.0, halves.1]);
    vec![shards("riders", &[KeyRange::ALL]), stations("departures"), stations("arrivals")]
}

#[test]
fn operators_of_several_key_spaces_are_one_checkpoint() {
    let manifest = committed(OPERATORS, all_parts()).unwrap();
    let told = |name: &str| (manifest.spaces[name].assignment.len(), &manifest.spaces[name].operators[..]);
    assert_eq!(manifest.spaces.len(), 2);
    assert_eq!(told("stations"), (2, &["arrivals".to_owned(), "departures".to_owned()][..]));
    assert_eq!(told("users"), (1, &["riders".to_owned()][..]));
}

#[test]
fn a_checkpoint_without_one_of_the_operators_is_abandoned() {
    for missing in 0..OPERATORS.len() {
        let mut parts = all_parts();
        let Saved::Shards { operator, .. } = parts.remove(missing) else { unreachable!("they are all shards") };
        let error = committed(OPERATORS, parts).unwrap_err();
        let expected = format!("the operator {operator:?} of the key space");
        assert!(error.contains(&expected) && error.contains("has not taken part on worker 0"), "{error}");
    }
}

#[test]
fn a_checkpoint_with_an_operator_that_is_not_expected_is_abandoned() {
    let error = committed(&OPERATORS[..2], all_parts()).unwrap_err();
    assert!(error.contains(r#""riders" has taken part without being expected"#), "{error}");
    let twice = all_parts().into_iter().chain([shards("riders", &[])]);
    let error = committed(OPERATORS, twice.collect()).unwrap_err();
    assert!(error.contains(r#"two operators named "riders""#), "{error}");
}

#[test]
fn operators_that_disagree_about_their_key_space_are_no_checkpoint() {
    let mut parts = all_parts();
    parts[2] = shards("arrivals", &[KeyRange::ALL]);
    let error = committed(OPERATORS, parts.clone()).unwrap_err();
    assert!(error.contains(r#""arrivals" and "departures" of one key space have different assignments"#), "{error}");
    // In a key space of its own it may.
    let apart = &[("arrivals", "flights"), ("departures", "stations"), ("riders", "users")];
    assert_eq!(committed(apart, parts).unwrap().spaces.len(), 3);
}

/// An abandoned checkpoint is told, and does not stand in the way of the next one.
#[test]
fn the_next_checkpoint_after_an_abandoned_one_is_taken() {
    timely::execute_directly(|worker| {
        let store = Memory::default();
        let Committing { mut saved, mut epochs, outcomes, .. } =
            committing(worker, &checkpoints(store.clone()), OPERATORS);
        epochs.advance_to(9);
        for (boundary, missing) in [(2, 0), (4, 1), (6, 0)] {
            saved.advance_to(boundary);
            saved.send_batch(&mut all_parts().split_off(missing));
        }
        saved.advance_to(7);
        step_until(worker, || outcomes.borrow().len() == 3);
        let abandoned: Vec<_> = outcomes.borrow().iter().map(|outcome| outcome.error.is_some()).collect();
        assert_eq!((abandoned, Manifest::list(&store).unwrap()), (vec![false, true, false], vec![2, 6]));
        assert_eq!(Manifest::read(&store, 6).unwrap().previous, Some(2));
    });
}

#[test]
fn a_manifest_waits_for_all_parts_and_for_the_epochs_before_it() {
    timely::execute_directly(|worker| {
        let store = Memory::default();
        let checkpoints = checkpoints(store.clone());
        let Committing { mut saved, mut epochs, outcomes, .. } = committing(worker, &checkpoints, &[("keyed", "keys")]);
        let taken = || Manifest::list(&store).unwrap();
        saved.advance_to(3);
        saved.send(shards("keyed", &[KeyRange::ALL]));
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
        assert_eq!((manifest.records.unwrap(), manifest.reason.as_str(), outcomes.borrow().len()), (17, "wanted", 1));

        saved.advance_to(5);
        saved.send(shards("keyed", &[KeyRange::ALL]));
        saved.advance_to(6);
        step(worker);
        assert_eq!(taken(), [3], "the records of epochs 3 and 4 are not known yet");
        epochs.advance_to(4);
        epochs.send(epoch(4, 1000));
        epochs.advance_to(5);
        step_until(worker, || outcomes.borrow().len() == 2);
        assert_eq!(Manifest::read(&store, 5).unwrap().records, Some(1117));
    });
}

#[test]
fn a_manifest_waits_for_what_sources_and_sinks_cover_before_it() {
    timely::execute_directly(|worker| {
        let store = Memory::default();
        let Committing { mut saved, mut epochs, mut covered, outcomes } =
            committing(worker, &checkpoints(store.clone()), &[("keyed", "keys")]);
        let position = |position: u64| Covered {
            source: "trips".into(),
            partition: "a.csv".into(),
            position: position.to_string(),
        };
        epochs.advance_to(9);
        covered.send(position(10));
        covered.advance_to(2);
        saved.advance_to(3);
        saved.send(shards("keyed", &[KeyRange::ALL]));
        saved.advance_to(4);
        step(worker);
        assert!(outcomes.borrow().is_empty(), "the output of epoch 2 is not durable yet");
        covered.send(position(12));
        covered.advance_to(3);
        step_until(worker, || !outcomes.borrow().is_empty());
        assert_eq!(Manifest::read(&store, 3).unwrap().sources["trips"]["a.csv"], 12);
    });
}

#[test]
fn shards_that_overlap_or_leave_gaps_are_no_checkpoint() {
    timely::execute_directly(|worker| {
        let store = Memory::default();
        let checkpoints = checkpoints(store.clone());
        let Committing { mut saved, mut epochs, outcomes, .. } = committing(worker, &checkpoints, &[("keyed", "keys")]);
        epochs.advance_to(9);
        for (boundary, ranges) in [(1, vec![KeyRange::from(5..)]), (2, vec![KeyRange::ALL, KeyRange::from(5..)])] {
            saved.advance_to(boundary);
            saved.send(shards("keyed", &ranges));
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
        let checkpoints = checkpoints(before_writing(Memory::default(), before_put));
        let mut parts = InputHandle::new();
        let seen = Rc::new(RefCell::new(Vec::new()));
        worker.dataflow::<u64, _, _>(|scope| {
            let seen = Rc::clone(&seen);
            let parts = scope.input_from(&mut parts).container::<Vec<SnapshotPart>>();
            save(parts, &checkpoints, Epochs::default()).inspect(move |saved| seen.borrow_mut().push(saved.clone()));
        });
        let part = |content| SnapshotPart { operator: "keyed".into(), worker: 0, codec: 3, content };
        let chunk = Chunk { range: KeyRange::ALL, last: true, keys: 1, bytes: vec![1, 2, 3] };
        let shards = SnapshotContent::Shards { ranges: vec![KeyRange::ALL], folded: vec![7], keys: 1, whole: false };
        parts.advance_to(4);
        parts.send(part(shards));
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
        let [
            Saved::Shards { operator, worker, ranges, folded, keys: 1, whole: false },
            Saved::Objects(objects),
            Saved::Done(_),
        ] = &seen[..]
        else {
            panic!("{seen:?}")
        };
        assert_eq!(objects.len(), 1);
        assert_eq!((operator.as_str(), *worker), ("keyed", 0));
        assert_eq!((&ranges[..], &folded[..]), (&[KeyRange::ALL][..], &[7][..]));
    });
}
