//! What plans are like, against their definition.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::planner::RISK;
use super::*;
use crate::keyspace::{Assignment, KeyRange};

const LIKELIHOOD: [f64; 3] = [0.2, 0.3, 0.5];

fn shards(shards: &[(usize, usize, [u32; 3], u32)]) -> Vec<ShardLoad> {
    let shard = |(i, (owner, home, recent, bytes)): (usize, &(usize, usize, [u32; 3], u32))| {
        let recent: Vec<f64> = recent.iter().map(|r| f64::from(*r)).collect();
        let load = product(&recent, &LIKELIHOOD);
        let range = KeyRange::single(i as u64);
        ShardLoad { range, owner: *owner, home: *home, load, recent, bytes: f64::from(*bytes) }
    };
    shards.iter().enumerate().map(shard).collect()
}

fn fair(shards: &[ShardLoad]) -> f64 {
    shards.iter().map(|s| s.load).sum::<f64>() / 4.0
}

fn planner(error: f64, move_cost: f64, evenly: f64) -> Planner {
    let min_relief = Planner::MIN_RELIEF;
    Planner { evenly, min_relief, horizon: 4, move_cost, error, ..Planner::new(4) }
}

fn plan(error: f64, move_cost: f64, shards: &[ShardLoad]) -> Vec<Step> {
    planner(error, move_cost, 0.0).plan(shards, &LIKELIHOOD, |_| Vec::new()).steps
}

fn whole(shard: &ShardLoad, to: usize) -> Step {
    Step { shard: shard.range, part: shard.range, to }
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn owner(shard: &ShardLoad, steps: &[Step]) -> usize {
    steps.iter().find(|s| s.shard == shard.range).map_or(shard.owner, |s| s.to)
}

fn carried(shards: &[ShardLoad], steps: &[Step], load: impl Fn(&ShardLoad) -> f64) -> [f64; 4] {
    let mut carried = [0.0; 4];
    shards.iter().for_each(|shard| carried[owner(shard, steps)] += load(shard));
    carried
}

fn busiest(shards: &[ShardLoad], steps: &[Step]) -> f64 {
    carried(shards, steps, |s| s.load).into_iter().fold(0.0, f64::max)
}

fn squares(shards: &[ShardLoad], steps: &[Step]) -> f64 {
    let squares = |e: usize| carried(shards, steps, |s| s.recent[e]).into_iter().map(|l| l * l).sum::<f64>();
    LIKELIHOOD.iter().enumerate().map(|(e, likelihood)| likelihood * squares(e)).sum()
}

#[test]
fn load_goes_where_there_is_room() {
    let two = shards(&[(0, 0, [9; 3], 0), (0, 0, [9; 3], 0), (1, 1, [9; 3], 0), (2, 2, [9; 3], 0)]);
    assert_eq!(plan(0.0, 0.0, &two), [whole(&two[0], 3)]);
    assert_eq!(plan(2.0, 0.0, &two), [whole(&two[0], 3)]);
}

#[test]
fn what_hides_behind_a_giant_is_mended_too() {
    let giant = shards(&[(0, 0, [900; 3], 0), (1, 1, [90; 3], 0), (1, 1, [90; 3], 0)]);
    let steps = plan(0.0, 0.0, &giant);
    assert!(steps.len() == 1 && steps[0].shard != giant[0].range, "{steps:?}");
}

#[test]
fn without_a_forecast_to_trust_what_is_cold_goes_home() {
    let away = shards(&[(1, 0, [0; 3], 0), (1, 1, [9; 3], 0), (2, 2, [9; 3], 0), (3, 3, [9; 3], 0)]);
    assert_eq!(plan(0.0, 0.0, &away), []);
    assert_eq!(plan(1.0, 0.0, &away), [whole(&away[0], 0)]);
}

#[test]
fn what_little_is_left_beside_folded_keys_is_not_worth_a_move() {
    let two = shards(&[(0, 0, [9; 3], 0), (0, 0, [9; 3], 0)]);
    let steps = |evenly: f64| planner(1.0, 0.0, evenly).plan(&two, &LIKELIHOOD, |_| Vec::new()).steps.len();
    assert_eq!((steps(0.0), steps(4.5), steps(900.0)), (1, 1, 0));
}

#[test]
fn nothing_to_carry_is_nothing_to_move() {
    assert_eq!(plan(1.0, 0.0, &shards(&[(1, 0, [0; 3], 0)])), []);
    assert_eq!(plan(1.0, 0.0, &[]), []);
}

type Keys = BTreeMap<KeyRange, Vec<ShardLoad>>;

/// A shard's owner, records beside its keys in each scenario, and its keys with theirs.
type Given = (usize, [u16; 3], BTreeMap<u64, [u8; 3]>);

/// Shards of 100 routing keys, and some of these, each of 10 bytes.
fn with_keys(given: &[Given]) -> (Vec<ShardLoad>, Keys) {
    let one = |(i, (owner, others, keys)): (usize, &Given)| {
        let (start, end) = (100 * i as u64, if i + 1 < given.len() { 100 * (i as u128 + 1) } else { 1 << 64 });
        let load = |range, recent: Vec<f64>, bytes| {
            let load = product(&recent, &LIKELIHOOD);
            ShardLoad { range, owner: *owner, home: 0, load, recent, bytes }
        };
        let key = |(key, recent): (&u64, &[u8; 3])| {
            load(KeyRange::single(start + key), recent.map(|r| 100.0 * f64::from(r)).to_vec(), 10.0)
        };
        let keys: Vec<ShardLoad> = keys.iter().map(key).collect();
        let of = |e: usize| f64::from(others[e]) + keys.iter().map(|k| k.recent[e]).sum::<f64>();
        let shard = load(KeyRange::new(start, end).unwrap(), (0..3).map(of).collect(), 1_000.0);
        (shard.clone(), (shard.range, keys))
    };
    given.iter().enumerate().map(one).unzip()
}

/// What each part of the key space has, after some keys were split off: the keys, and the rests of the shards.
fn divided(shards: &[ShardLoad], keys: &Keys, after: &Assignment) -> Vec<ShardLoad> {
    let mut parts = Vec::new();
    for shard in shards {
        let mut rest = shard.clone();
        let is_apart = |range: &KeyRange| keys[&shard.range].iter().any(|key| key.range == *range);
        for key in keys[&shard.range].iter().filter(|key| after.position(key.range).is_some()) {
            rest.load -= key.load;
            parts.push(ShardLoad { owner: after.owner_of(key.range.start()), ..key.clone() });
        }
        rest.owner = after.iter().find(|(range, _)| shard.range.covers(range) && !is_apart(range)).unwrap().1;
        parts.push(rest);
    }
    parts
}

/// The bytes that some steps move: 10 with a key, and with a shard what keys have left of it.
fn bytes(shards: &[ShardLoad], steps: &[Step]) -> f64 {
    let keys_of = |step: &Step, before: &[Step]| before.iter().filter(|s| s.shard == step.shard).count() as f64;
    let whole = |step: &Step| shards.iter().find(|shard| shard.range == step.part).map(|shard| shard.bytes);
    let moved = |(i, step)| whole(step).map_or(10.0, |bytes| bytes - 10.0 * keys_of(step, &steps[..i]));
    steps.iter().enumerate().map(moved).sum()
}

fn records() -> impl Strategy<Value = [u32; 3]> {
    any::<[u16; 3]>().prop_map(|records| records.map(u32::from))
}

fn inside() -> impl Strategy<Value = BTreeMap<u64, [u8; 3]>> {
    prop::collection::btree_map(0..100u64, any::<[u8; 3]>(), 0..4)
}

proptest! {
    #[test]
    fn no_beginning_of_a_plan_is_expected_to_be_worse_than_none(
        given in prop::collection::vec((0..4usize, 0..4usize, records(), 0..90_000u32), 0..40),
        error in 0.0..2.0f64,
        move_cost in 0.0..0.1f64,
        evenly in prop_oneof![Just(0.0), 0.0..90_000.0f64],
    ) {
        let given = shards(&given);
        let fair = fair(&given) + evenly;
        let steps = planner(error, move_cost, evenly).plan(&given, &LIKELIHOOD, |_| Vec::new()).steps;
        for kept in 0..=steps.len() {
            prop_assert!(busiest(&given, &steps[..kept]) <= busiest(&given, &[]) * (1.0 + 1e-9));
        }
        let error = error * (fair - evenly) / fair;
        let worth = |steps: &[Step]| {
            let moved = |s: &&ShardLoad| owner(s, steps) != s.owner;
            let away = given.iter().filter(|s| owner(s, steps) != s.home).count() as f64;
            let bytes: f64 = given.iter().filter(moved).map(|s| s.bytes).sum();
            squares(&given, steps) / (fair * fair) + away * RISK * error * error + bytes * move_cost / (fair * 4.0)
        };
        prop_assert!(fair == 0.0 || worth(&steps) <= worth(&[]) * (1.0 + 1e-9));
        let mut moved: Vec<_> = steps.iter().map(|s| s.shard).collect();
        moved.sort_unstable();
        moved.dedup();
        prop_assert_eq!(moved.len(), steps.len());
    }

    /// Shards with keys, on workers of any capacity.
    #[test]
    fn plans_do_what_they_say(
        given in prop::collection::vec((0..5usize, any::<[u16; 3]>(), inside()), 1..30),
        capacities in prop::collection::vec(prop_oneof![Just(0.0), Just(1.0), 0.1..9.0f64], 5),
        target in prop_oneof![Just(1.0), 1.0..1.5f64],
        max_shards in prop_oneof![Just(usize::MAX), 1..50usize],
        error in prop_oneof![Just(0.0), 0.0..2.0f64],
        evenly in prop_oneof![Just(0.0), 0.0..90_000.0f64],
    ) {
        let (shards, keys) = with_keys(&given);
        let in_use = |worker: usize| capacities[worker] > 0.0;
        let planner = Planner { capacities: capacities.clone(), target, max_shards, error, evenly, ..Planner::new(0) };
        let plan = planner.plan(&shards, &LIKELIHOOD, |shard| keys[&shard.range].clone());
        let total: f64 = shards.iter().map(|s| s.load).sum();
        if total + evenly == 0.0 || !(0..5).any(in_use) {
            prop_assert_eq!(plan, Plan::default());
            return Ok(());
        }
        let before = Assignment::new(shards.iter().map(|s| (s.range, s.owner)), 5).unwrap();
        let is = |kept: usize| -> (Assignment, f64) {
            let after = before.apply(&commands_for(&plan.steps[..kept])).unwrap();
            let parts = divided(&shards, &keys, &after);
            (after, baselines::imbalance(&parts, &capacities, evenly))
        };
        let emptied = plan.steps.iter().take_while(|step| !in_use(before.owner_of(step.shard.start()))).count();
        let (_, mut worst) = is(emptied);
        worst = worst.max(1.0);
        for kept in emptied..=plan.steps.len() {
            let (after, imbalance) = is(kept);
            prop_assert!(imbalance <= worst * (1.0 + 1e-9), "{} after {}", imbalance, worst);
            prop_assert!(after.iter().all(|(_, owner)| in_use(owner)));
            prop_assert!(after.len() <= max_shards.max(shards.len()));
        }
        let (_, imbalance) = is(plan.steps.len());
        prop_assert!((imbalance - plan.after).abs() <= 1e-6 * imbalance, "{} is said to be {}", imbalance, plan.after);
        prop_assert!((bytes(&shards, &plan.steps) - plan.bytes).abs() < 1e-6);
        prop_assert_eq!(plan, planner.plan(&shards, &LIKELIHOOD, |shard| keys[&shard.range].clone()));
    }
}
