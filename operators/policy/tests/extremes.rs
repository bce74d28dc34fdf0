//! Configurations, loads and views at the ends of what is allowed.

use super::*;

fn few() -> PolicyConfig {
    PolicyConfig { capacity: vec![100.0], min_workers: Some(1), ..PolicyConfig::default() }
}

fn world(config: &PolicyConfig, shards: usize, lead: u64, looks_ahead: bool) -> World {
    World { policy: policy(looks_ahead, config.clone()), ..World::new(config.clone(), even(shards, 3), lead) }
}

#[test]
fn neither_configurations_nor_loads_are_too_extreme() {
    let configs = [
        PolicyConfig { max_shards: 1, migration_window: u64::MAX, ..few() },
        PolicyConfig { max_shards: usize::MAX, move_cost: f64::MAX, ..few() },
        PolicyConfig { move_cost: 0.0, utilization: 1.0, prediction_horizon: 1, ..few() },
        PolicyConfig { capacity: vec![f64::from_bits(1)], utilization: f64::MIN_POSITIVE, ..few() },
        PolicyConfig { capacity: vec![f64::MAX], fold_share: f64::MAX, ..few() },
        PolicyConfig { capacity: vec![1e-300, 1e300, 100.0], fold_share: 1e-300, ..few() },
        PolicyConfig { health_threshold: 1e-300, prediction_horizon: 12, ..few() },
    ];
    let swinging = |keys: &[u64], epoch: u64, records: u64| -> Load {
        keys.iter().map(|key| (*key, if epoch % 12 < 6 { records } else { epoch % 2 })).collect()
    };
    let loads: [&dyn Fn(u64) -> Load; 4] = [
        &|epoch| swinging(&[u64::MAX], epoch, 300),
        &|epoch| swinging(&[0, 1, u64::MAX - 1, u64::MAX], epoch, 1_000_000_000_000_000_000),
        &|epoch| if epoch < 8 { Load::new() } else { zipf(50, 1e15) },
        &|epoch| if epoch % 12 < 6 { zipf(100, 100.0) } else { Load::new() },
    ];
    for (config, load) in configs.iter().flat_map(|config| loads.iter().map(move |load| (config, load))) {
        for (shards, lead) in [(1, 10), (16, 1)] {
            let mut world = World { can_fold: true, ..world(config, shards, lead, true) };
            for epoch in 0..24 {
                world.step(&load(epoch));
                world.epoch += [0, 0, 1, 5, 0, 2_000][epoch as usize % 6];
            }
            assert!(world.planned.len() <= config.max_shards.max(shards), "{config:?}");
        }
    }
}

/// However late it is found out that nothing comes any more.
#[test]
fn workers_are_emptied_when_there_is_nothing_left_to_do() {
    for (shards, lead, prediction_horizon) in [(16, 1, 4), (2, 2, 4), (16, 1, 12)] {
        for looks_ahead in [false, true] {
            let mut world = world(&PolicyConfig { prediction_horizon, ..few() }, shards, lead, looks_ahead);
            (0..15).for_each(|_| drop(world.step(&zipf(100, 100.0))));
            (0..30).for_each(|_| drop(world.step(&Load::new())));
            let owners: Vec<usize> = world.planned.iter().map(|shard| shard.1).collect();
            assert!(owners.iter().all(|owner| *owner == 0), "{shards}, {lead}, {prediction_horizon}: {owners:?}");
        }
    }
}

#[test]
fn a_view_may_be_for_any_boundary() {
    let mut policy = policy(true, few());
    for lead in [1, 10, 2, u64::MAX - 50, 1_000_000, 0] {
        let (assignment, epoch) = (&even(4, 3), lead % 3);
        let profiles: Vec<Profile> = assignment.iter().filter_map(|s| profile(s, epoch, &zipf(50, 90.0))).collect();
        let profiles = &profiles[..];
        let view = View { epoch, boundary: epoch + lead, assignment, profiles, can_fold: false, folded: &[] };
        assignment.apply(&policy.decide(&view)).unwrap();
    }
}
