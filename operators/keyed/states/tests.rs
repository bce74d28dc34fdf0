//! Segments against a plain map, with two walks between other steps.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Keys whose routing keys are crowded, and some that have one in common.
fn routing(key: u64) -> u64 {
    if key < 6 { 3 } else { (key % 7) << 60 | key }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u64),
    Remove(u64),
    Walk(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..50u64).prop_map(Step::Put),
        2 => (0..50u64).prop_map(Step::Remove),
        3 => (0..6usize).prop_map(Step::Walk),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn a_walk_visits_what_was_there_from_its_beginning_to_its_end(steps in steps(), cut in 0..50u64) {
        let mut states = States::<u64, u64>::new();
        let mut expected = BTreeMap::new();
        let range = KeyRange::from(routing(cut)..);
        let mut cursors = [Cursor::over(KeyRange::ALL), Cursor::over(range)];
        let mut owed: [BTreeSet<u64>; 2] = Default::default();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Put(key) => {
                    let state = number as u64;
                    let before = states.put(routing(key), Entry::new(routing(key), key, 0, state)).map(|entry| entry.state);
                    prop_assert_eq!(before, expected.insert(key, state));
                }
                Step::Remove(key) => {
                    let removed = states.remove(routing(key), &key).map(|entry| entry.state);
                    prop_assert_eq!(removed, expected.remove(&key));
                    owed.iter_mut().for_each(|owed| _ = owed.remove(&key));
                }
                Step::Walk(buckets) => {
                    let which = number % 2;
                    let (cursor, owed) = (&mut cursors[which], &mut owed[which]);
                    let of = if which == 0 { KeyRange::ALL } else { range };
                    if cursor.is_at_end() {
                        prop_assert!(owed.is_empty(), "not visited: {:?}", owed);
                        *cursor = Cursor::over(of);
                        owed.extend(expected.keys().filter(|key| of.contains(routing(**key))));
                    }
                    states.walk(cursor, Which::All, buckets, |routing, entry| {
                        assert!(of.contains(routing));
                        owed.remove(&entry.key);
                        Visited::Keep
                    });
                }
            }
            prop_assert_eq!(states.len(), expected.len());
            let in_range = expected.keys().filter(|key| range.contains(routing(**key))).count();
            prop_assert_eq!(states.count(range), in_range);
        }
        for (key, state) in &expected {
            prop_assert_eq!(states.get_mut(routing(*key), key).map(|entry| entry.state), Some(*state));
        }
        prop_assert_eq!(states.get_mut(routing(7) + 1, &7).map(|entry| entry.state), None, "another routing key");
    }
}

#[test]
fn where_keys_come_and_go_in_order_segments_go_too() {
    let mut states = States::<u64, u64>::new();
    for key in 0..10_000u64 {
        states.insert(key, Entry::new(key, key, 0, 0));
        if key >= 10 {
            states.remove(key - 10, &(key - 10)).unwrap();
        }
    }
    assert!(states.len() == 10 && states.segments.len() <= 10, "{} segments", states.segments.len());
}

/// Where a table takes out a key that stands among many, the key's place is of use to no other one.
#[test]
fn a_segment_that_gives_up_few_keys_may_have_to_make_room_again() {
    for _ in 0..200 {
        let mut states = States::<u64, u64>::new();
        states.segment_buckets = 64;
        for key in 0..100u64 {
            let routing = if key % 50 == 0 { (key + 1) << 56 } else { key };
            states.insert(routing, Entry::new(routing, key, 0, key));
        }
        for key in 0..100u64 {
            let routing = if key % 50 == 0 { (key + 1) << 56 } else { key };
            assert_eq!(states.get_mut(routing, &key).map(|entry| entry.state), Some(key));
        }
    }
}
