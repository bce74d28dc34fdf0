//! How many workers are in use.

use super::*;

/// Four workers of 1,000 records each, of which 800 are to be used.
fn config() -> PolicyConfig {
    PolicyConfig { capacity: vec![1_000.0], min_workers: Some(1), ..PolicyConfig::default() }
}

/// So many records, evenly over 100 keys.
fn load(records: u64) -> Load {
    (0..100u64).map(|key| (stable_hash(&key), records / 100)).collect()
}

/// The workers that own shards.
fn owners(assignment: &Assignment) -> Vec<usize> {
    let mut owners: Vec<usize> = assignment.iter().map(|(_, owner)| owner).collect();
    owners.sort_unstable();
    owners.dedup();
    owners
}

#[test]
fn workers_that_are_not_needed_own_nothing() {
    for looks_ahead in [false, true] {
        let mut world = World { policy: policy(looks_ahead, config()), ..World::new(config(), even(16, 4), 2) };
        (0..10).for_each(|_| drop(world.step(&load(1_500))));
        assert_eq!(owners(&world.planned), [0, 1]);
        assert!(world.imbalance(&load(1_500)) < 2.2, "{}", world.imbalance(&load(1_500)));
        (0..10).for_each(|_| drop(world.step(&load(3_100))));
        assert_eq!(owners(&world.planned), [0, 1, 2, 3]);
        assert!(world.imbalance(&load(3_100)) < 1.1, "{}", world.imbalance(&load(3_100)));
    }
}

#[test]
fn loads_are_in_proportion_to_capacities() {
    let config = PolicyConfig { capacity: vec![3_000.0, 1_000.0, 1_000.0, 1_000.0], ..PolicyConfig::default() };
    let mut world = World::new(config, even(16, 4), 1);
    (0..10).for_each(|_| drop(world.step(&load(3_000))));
    let of =
        |worker: usize| load(3_000).iter().filter(|(key, _)| world.owner(**key) == worker).map(|l| l.1).sum::<u64>();
    assert!((1_400..=1_600).contains(&of(0)), "{:?}", [0, 1, 2, 3].map(of));
}

#[test]
fn workers_are_put_to_use_before_they_are_needed() {
    let daily = |epoch: u64| load(if epoch % 12 < 6 { 3_000 } else { 700 });
    let late = |looks_ahead: bool| {
        let mut world = World { policy: policy(looks_ahead, config()), ..World::new(config(), even(16, 4), 1) };
        let is_late = |epoch: &u64| {
            let in_use = owners(&world.in_force).len();
            world.step(&daily(*epoch));
            *epoch >= 72 && in_use * 1_000 < 3_000 && epoch % 12 < 6
        };
        (0..132).filter(is_late).count()
    };
    assert!(late(false) >= 5 && late(true) == 0, "{} and {}", late(false), late(true));
}

#[test]
fn what_does_not_fit_the_workers_is_refused() {
    let refused = |config: PolicyConfig| {
        let mut policy = Proactive::new(config).unwrap();
        policy.known(&even(16, 4), 0).unwrap_err().to_string()
    };
    let default = PolicyConfig::default;
    assert!(refused(PolicyConfig { capacity: vec![1.0; 3], ..default() }).starts_with("capacity has 3 numbers"));
    assert!(refused(PolicyConfig { max_shards: 3, ..default() }).starts_with("max_shards is 3"));
    assert!(refused(PolicyConfig { min_workers: Some(5), ..config() }).starts_with("min_workers is 5"));
    assert!(
        Proactive::new(PolicyConfig { capacity: vec![1.0; 4], ..default() }).unwrap().known(&even(16, 4), 0).is_ok()
    );
}
