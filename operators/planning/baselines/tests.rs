use proptest::prelude::*;

use super::*;
use crate::keyspace::{Assignment, KeyRange};

fn shards(given: &[(u16, usize)]) -> Vec<ShardLoad> {
    let range = |i: usize| {
        let end = if i + 1 < given.len() { 100 * (i as u128 + 1) } else { 1 << 64 };
        KeyRange::new(100 * i as u64, end).unwrap()
    };
    let shard =
        |(i, (load, owner)): (usize, &(u16, usize))| ShardLoad::certain(range(i), *owner, f64::from(*load), 1_000.0);
    given.iter().enumerate().map(shard).collect()
}

/// The least imbalance of all assignments.
fn best(shards: &mut [ShardLoad], capacities: &[f64], evenly: f64, from: usize) -> f64 {
    if from == shards.len() {
        return imbalance(shards, capacities, evenly);
    }
    let with = |owner: usize| {
        shards[from].owner = owner;
        best(shards, capacities, evenly, from + 1)
    };
    (0..capacities.len()).map(with).fold(f64::INFINITY, f64::min)
}

/// Both halves of a shard whose load is spread evenly, or is that of its first key.
fn halves(shard: &ShardLoad, first: bool) -> Option<(ShardLoad, ShardLoad)> {
    let at = shard.range.start() + (shard.range.last() - shard.range.start()).div_ceil(2);
    let (left, right) = shard.range.split(at)?;
    let part = |range, share: f64| ShardLoad::certain(range, shard.owner, shard.load * share, shard.bytes / 2.0);
    let share = if first { 1.0 } else { 0.5 };
    Some((part(left, share), part(right, 1.0 - share)))
}

#[test]
fn imbalance_is_of_load_for_capacity() {
    let two = shards(&[(30, 0), (10, 1)]);
    assert_eq!(imbalance(&two, &[1.0, 1.0], 0.0), 1.5);
    assert_eq!(imbalance(&two, &[3.0, 1.0], 0.0), 1.0);
    assert_eq!(imbalance(&two, &[1.0, 1.0], 10.0), 40.0 / 30.0);
    assert_eq!(imbalance(&two, &[1.0, 0.0], 0.0), f64::INFINITY);
    assert_eq!(imbalance(&[], &[1.0], 0.0), 1.0);
}

#[test]
fn three_equal_loads_of_two_workers_are_together() {
    assert_eq!(lower_bound(&[2.0, 2.0, 2.0], &[1.0; 2], 0.0), 4.0 / 3.0);
    assert_eq!(lower_bound(&[9.0, 1.0], &[1.0; 2], 0.0), 1.8);
    assert_eq!(lower_bound(&[9.0, 1.0], &[9.0, 1.0], 0.0), 1.0);
    assert_eq!(lower_bound(&[], &[1.0; 2], 0.0), 1.0);
}

#[test]
fn weighted_move_isolates_what_is_hot() {
    let given: Vec<(u16, usize)> = (0..40).map(|i| (if i == 0 { 300 } else { 10 }, i % 2)).collect();
    let mut slicer = WeightedMove::new(shards(&given), vec![1.0; 2], 0.0);
    let before = slicer.imbalance();
    (0..20).for_each(|_| drop(slicer.round(1.0, |shard| halves(shard, false))));
    assert!(before > 1.4 && slicer.imbalance() < 1.02, "{before} became {}", slicer.imbalance());
    assert!(slicer.bytes() > 0.0);
}

proptest! {
    #[test]
    fn longest_first_is_between_the_bound_and_four_thirds_of_the_best(
        given in prop::collection::vec((any::<u16>(), 0..3usize), 1..8),
        workers in 1..4usize,
        evenly in prop_oneof![Just(0.0), 0.0..90_000.0f64],
    ) {
        let given = shards(&given);
        let capacities = vec![1.0; workers];
        let plan = longest_first(&given, &capacities, evenly);
        let best = best(&mut given.clone(), &capacities, evenly, 0);
        let loads: Vec<f64> = given.iter().map(|s| s.load).collect();
        let bound = lower_bound(&loads, &capacities, evenly);
        prop_assert!(bound <= best * (1.0 + 1e-9), "{} is not under {}", bound, best);
        prop_assert!(plan.after <= best * (4.0 / 3.0 + 1e-9), "{} is over 4/3 of {}", plan.after, best);
    }

    #[test]
    fn the_bound_holds_whatever_the_capacities(
        given in prop::collection::vec((any::<u16>(), 0..3usize), 1..7),
        capacities in prop::collection::vec(prop_oneof![Just(0.0), Just(1.0), 0.1..9.0f64], 3),
    ) {
        prop_assume!(capacities.iter().any(|c| *c > 0.0));
        let given = shards(&given);
        let best = best(&mut given.clone(), &capacities, 0.0, 0);
        let loads: Vec<f64> = given.iter().map(|s| s.load).collect();
        prop_assert!(lower_bound(&loads, &capacities, 0.0) <= best * (1.0 + 1e-9));
        let plan = longest_first(&given, &capacities, 0.0);
        prop_assert!(loads.iter().sum::<f64>() == 0.0 || plan.after.is_finite());
    }

    #[test]
    fn weighted_move_can_be_carried_out_and_never_gets_worse(
        given in prop::collection::vec((any::<u16>(), 0..3usize), 1..200),
        target in 1.0..1.5f64,
        first: bool,
    ) {
        let given = shards(&given);
        let mut now = Assignment::new(given.iter().map(|s| (s.range, s.owner)), 3).unwrap();
        let mut slicer = WeightedMove::new(given, vec![1.0; 3], 0.0);
        for _ in 0..6 {
            let before = slicer.imbalance();
            let commands = slicer.round(target, |shard| halves(shard, first));
            now = now.apply(&commands).unwrap();
            prop_assert!(slicer.imbalance() <= before * (1.0 + 1e-9));
            prop_assert!(now.iter().eq(slicer.shards().iter().map(|s| (s.range, s.owner))));
        }
    }
}
