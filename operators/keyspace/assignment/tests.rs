use std::collections::BTreeSet;

use super::*;
use proptest::prelude::*;

fn range(start: u64, end: u128) -> KeyRange {
    KeyRange::new(start, end).unwrap()
}

#[test]
fn what_is_wrong_is_named() {
    let all = 1 << 64;
    let two = Assignment::new([(range(0, 9), 0), (range(9, all), 1)], 2).unwrap();
    assert_eq!(
        Assignment::new([(range(0, 9), 0), (range(8, all), 1)], 2),
        Err(RoutingError::Overlap { left: range(0, 9), right: range(8, all) })
    );
    assert_eq!(
        Assignment::new([(range(0, 9), 0), (range(10, all), 1)], 2),
        Err(RoutingError::Gap { range: range(9, 10) })
    );
    assert_eq!(Assignment::new([(range(0, 9), 0)], 2), Err(RoutingError::Gap { range: range(9, all) }));
    assert_eq!(Assignment::new([(range(3, all), 0)], 2), Err(RoutingError::Gap { range: range(0, 3) }));
    assert_eq!(
        Assignment::new([(range(0, all), 2)], 2),
        Err(RoutingError::WorkerOutOfRange { range: KeyRange::ALL, worker: 2, workers: 2 })
    );
    assert!(matches!(Assignment::even(0, 2), Err(RoutingError::OutOfBounds { .. })));
    let error = |command| two.apply([&command]).unwrap_err();
    assert_eq!(
        error(Command::Split { shard: range(0, 8), at: 3 }),
        RoutingError::UnknownRange { range: range(0, 8), nearest: range(0, 9) }
    );
    assert_eq!(
        error(Command::Split { shard: range(0, 9), at: 0 }),
        RoutingError::SplitOutside { range: range(0, 9), at: 0 }
    );
    assert_eq!(
        error(Command::Move { shard: range(0, 9), to: 2 }),
        RoutingError::WorkerOutOfRange { range: range(0, 9), worker: 2, workers: 2 }
    );
    let merge = Command::Merge { left: range(0, 9), right: range(9, all) };
    assert!(matches!(error(merge.clone()), RoutingError::DifferentOwners { .. }));
    assert_eq!(two.apply([&Command::Move { shard: range(0, 9), to: 1 }, &merge]).unwrap().len(), 1);
}

#[test]
fn a_key_is_folded_once_and_unfolded_once() {
    let two = Assignment::even(2, 2).unwrap();
    let (fold, unfold) = (Command::Fold { key: 7 }, Command::Unfold { key: 7 });
    assert_eq!(two.apply([&unfold]), Err(RoutingError::NotFolded { key: 7 }));
    let folded = two.apply([&Command::Fold { key: 9 }, &fold]).unwrap();
    assert_eq!(folded.folded(), [7, 9]);
    assert!(folded.is_folded(7) && !folded.is_folded(8) && folded != two);
    assert_eq!(folded.apply([&fold]), Err(RoutingError::AlreadyFolded { key: 7 }));
    let Applied { assignment, accepted, refused } = folded.apply_valid(vec![unfold.clone(), unfold.clone()]);
    assert_eq!((assignment.folded(), accepted), (&[9][..], vec![unfold.clone()]));
    assert_eq!(refused, [(unfold, RoutingError::NotFolded { key: 7 })]);
    assert_eq!(RoutingError::AlreadyFolded { key: 7 }.to_string(), "the key 0x7 is folded already");
    assert_eq!(fold.to_string(), "fold key 0x7");
}

#[test]
fn folded_keys_stay_so_on_other_workers() {
    let folded = Assignment::even(4, 2).unwrap().apply([&Command::Fold { key: 7 }]).unwrap();
    assert_eq!(folded.rescaled(2).unwrap(), folded);
    assert_eq!(folded.rescaled(3).unwrap().folded(), [7]);
}

#[test]
fn what_was_written_before_folds_is_read() {
    let old = r#"{ "workers": 2, "shards": [[[0, 8], 1], [[9, 18446744073709551615], 0]] }"#;
    let read: Assignment = serde_json::from_str(old).unwrap();
    assert_eq!((read.len(), read.folded()), (2, &[][..]));
    let twice = old.replace(r#""workers": 2"#, r#""workers": 2, "folded": [7, 3, 7]"#);
    assert!(serde_json::from_str::<Assignment>(&twice).unwrap_err().to_string().contains("0x7 is folded already"));
}

#[test]
fn what_is_made_in_the_same_way_is_there_once() {
    let two = Assignment::even(2, 2).unwrap();
    let folded = two.apply([&Command::Fold { key: 7 }, &Command::Checkpoint]).unwrap();
    assert!(folded.is_divided_like(&two) && two.rescaled(2).unwrap().is_divided_like(&two));
    let shift = |shard: usize, to| Command::Move { shard: two.range(shard), to };
    let moved = folded.apply([&shift(0, 1)]).unwrap();
    let again = two.apply_valid(vec![shift(0, 1), Command::Unfold { key: 1 }]).assignment;
    assert!(again.is_divided_like(&moved) && (again.folded(), moved.folded()) == (&[][..], &[7][..]));
    let (other, back) = (two.apply([&shift(1, 0)]).unwrap(), moved.apply([&shift(0, 0)]).unwrap());
    assert!([&moved, &other, &back].iter().all(|one| !one.is_divided_like(&two)) && back == folded);
}

/// Ends of shards, some of them crowded into one slot of the directory.
fn ends() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::btree_set(prop_oneof![1..200u64, any::<u64>().prop_map(|e| e.max(1))], 0..40)
        .prop_map(|ends| ends.into_iter().collect())
}

fn assignment(ends: &[u64], workers: usize) -> Assignment {
    let starts = [0].into_iter().chain(ends.iter().copied());
    let ends = ends.iter().map(|e| u128::from(*e)).chain([1 << 64]);
    Assignment::new(starts.zip(ends).enumerate().map(|(i, (s, e))| (range(s, e), i % workers)), workers).unwrap()
}

fn folding(assignment: &Assignment, keys: &BTreeSet<u64>) -> Assignment {
    assignment.apply(&keys.iter().rev().map(|key| Command::Fold { key: *key }).collect::<Vec<_>>()).unwrap()
}

proptest! {
    #[test]
    fn a_lookup_finds_the_shard_that_holds_the_key(ends in ends(), keys: Vec<u64>) {
        let assignment = assignment(&ends, 3);
        for key in keys.iter().chain(&ends).chain(&[0, 1, 199, u64::MAX]) {
            prop_assert!(assignment.range(assignment.find(*key)).contains(*key));
        }
    }

    #[test]
    fn handovers_are_where_owners_differ(old in ends(), new in ends(), keys: Vec<u64>, folded: BTreeSet<u64>) {
        let (old, new) = (assignment(&old, 2), assignment(&new, 3));
        prop_assert_eq!(old.handovers(&folding(&new, &folded)), old.handovers(&new));
        let handovers = old.handovers(&new);
        prop_assert!(handovers.windows(2).all(|w| w[0].range.last() < w[1].range.start()));
        for key in keys.into_iter().chain(0..200) {
            let (from, to) = (old.owner(old.find(key)), new.owner(new.find(key)));
            let handover = handovers.iter().find(|h| h.range.contains(key)).map(|h| (h.from, h.to));
            prop_assert_eq!(handover, (from != to).then_some((from, to)));
        }
    }

    #[test]
    fn a_key_is_folded_if_it_was_folded_last(
        commands in prop::collection::vec((any::<bool>(), 0..20u64), 0..60), ends in ends()
    ) {
        let (mut folded, mut assignment) = (BTreeSet::new(), assignment(&ends, 3));
        for (fold, key) in commands {
            let changes = if fold { folded.insert(key) } else { folded.remove(&key) };
            let command = if fold { Command::Fold { key } } else { Command::Unfold { key } };
            let next = assignment.apply([&command]);
            prop_assert_eq!(next.is_ok(), changes);
            assignment = next.unwrap_or(assignment);
        }
        prop_assert!(assignment.folded().iter().eq(&folded));
        prop_assert!((0..20).all(|key| assignment.is_folded(key) == folded.contains(&key)));
    }

    #[test]
    fn an_assignment_survives_being_written(ends in ends(), folded: BTreeSet<u64>) {
        let assignment = folding(&assignment(&ends, 3), &folded);
        prop_assert_eq!(&serde_json::from_str::<Assignment>(&serde_json::to_string(&assignment).unwrap()).unwrap(), &assignment);
        let written = postcard::to_allocvec(&assignment).unwrap();
        prop_assert_eq!(&postcard::from_bytes::<Assignment>(&written).unwrap(), &assignment);
    }
}
