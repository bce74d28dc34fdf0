//! What a policy does over many epochs, in a world without a dataflow.

mod extremes;
mod fold;
mod foresight;
mod scale;

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::keyspace::KeyRange;
use crate::profile::{HeavyKey, Summary};
use crate::stable_hash;

/// Runs a policy, the way the loop does.
struct World {
    policy: Box<dyn Policy>,
    lead: u64,
    can_fold: bool,
    epoch: u64,
    in_force: Assignment,
    planned: Assignment,
    pending: VecDeque<(u64, Vec<Command>)>,
}

/// Records by routing key.
type Load = BTreeMap<u64, u64>;

impl World {
    fn new(config: PolicyConfig, start: Assignment, lead: u64) -> Self {
        Self::with(Reactive::new(config).unwrap(), start, lead)
    }

    fn with(policy: impl Policy, start: Assignment, lead: u64) -> Self {
        let policy = Box::new(policy);
        let (in_force, planned) = (start.clone(), start);
        World { policy, lead, can_fold: false, epoch: 0, in_force, planned, pending: VecDeque::new() }
    }

    /// One whose operators can merge.
    fn folding(start: Assignment, lead: u64) -> Self {
        World { can_fold: true, ..World::new(PolicyConfig::default(), start, lead) }
    }

    /// Runs an epoch and gives the commands decided from it, which must be possible.
    fn step(&mut self, load: &Load) -> Vec<Command> {
        while let Some((_, commands)) = self.pending.pop_front_if(|p| p.0 <= self.epoch) {
            self.in_force = self.in_force.apply(&commands).unwrap();
        }
        let (profiles, folded) = self.seen(load);
        let boundary = self.epoch + self.lead;
        let view = View {
            epoch: self.epoch,
            boundary,
            assignment: &self.planned,
            profiles: &profiles,
            can_fold: self.can_fold,
            folded: &folded,
        };
        let commands = self.policy.decide(&view);
        self.planned = self.planned.apply(&commands).expect("a policy's commands are possible");
        self.pending.push_back((boundary, commands.clone()));
        self.epoch += 1;
        commands
    }

    /// What the shards see of a load, and what the gates see of the folded keys.
    fn seen(&self, load: &Load) -> (Vec<Profile>, Vec<FoldedKey>) {
        let records = |key: &u64| load.get(key).copied().unwrap_or(0);
        let folded =
            self.in_force.folded().iter().map(|key| FoldedKey { key: Some(*key), records: records(key) }).collect();
        let mut routed = load.clone();
        routed.retain(|key, _| !self.in_force.is_folded(*key));
        (self.in_force.iter().filter_map(|shard| profile(shard, self.epoch, &routed)).collect(), folded)
    }

    /// The busiest worker's records, in fair shares, under the planned assignment.
    fn imbalance(&self, load: &Load) -> f64 {
        imbalance(&self.planned, load)
    }

    /// The same in the epoch to come, with the commands that are in force then.
    fn next_imbalance(&self, load: &Load) -> f64 {
        let due = self.pending.iter().filter(|p| p.0 <= self.epoch).flat_map(|p| &p.1);
        imbalance(&self.in_force.apply(due).unwrap(), load)
    }

    fn owner(&self, key: u64) -> usize {
        self.planned.owner(self.planned.find(key))
    }
}

fn imbalance(assignment: &Assignment, load: &Load) -> f64 {
    let mut carried = vec![0; assignment.workers()];
    let routed = load.iter().filter(|(key, _)| !assignment.is_folded(**key));
    routed.for_each(|(key, records)| carried[assignment.owner(assignment.find(*key))] += records);
    let total: u64 = load.values().sum();
    let evenly = total - carried.iter().sum::<u64>();
    (*carried.iter().max().unwrap() * carried.len() as u64 + evenly) as f64 / total as f64
}

/// A profile with 64 records of the shard, at equal distances, for a sample; and 64 bytes of state per key.
fn profile((range, worker): (KeyRange, usize), epoch: u64, load: &Load) -> Option<Profile> {
    let inside: Vec<(u64, u64)> = load.range(range.start()..=range.last()).map(|(k, n)| (*k, *n)).collect();
    let records: u64 = inside.iter().map(|(_, n)| n).sum();
    let (mut sample, mut before) = (Vec::new(), 0);
    for (key, n) in &inside {
        let ranks = |upto: u64| (u128::from(upto) * 64 / u128::from(records.max(1))) as usize;
        sample.extend(std::iter::repeat_n(*key, ranks(before + n) - ranks(before)));
        before += n;
    }
    let heavy = inside.iter().filter(|(_, n)| n * 16 > records);
    let heavy = heavy.map(|(key, n)| HeavyKey { key: *key, share: *n as f64 / records as f64 }).collect();
    let last = Summary { epochs: 1, records, heavy, sample, ..Summary::default() };
    let keys = inside.len() as u64;
    let rolling = last.clone();
    (records > 0).then(|| Profile { epoch, range, worker, keys, state_bytes: 64 * keys, last, rolling, health: 0.5 })
}

/// Keys with the records of a Zipf distribution.
fn zipf(keys: u64, records: f64) -> Load {
    (1..=keys).map(|rank| (stable_hash(&rank), (records / rank as f64) as u64 + 1)).collect()
}

fn even(shards: usize, workers: usize) -> Assignment {
    Assignment::even(shards, workers).unwrap()
}

#[test]
fn a_steady_load_is_balanced_and_then_left_alone() {
    let load = zipf(500, 1_000.0);
    let mut world = World::new(PolicyConfig::default(), even(16, 4), 1);
    let before = world.imbalance(&load);
    (0..20).for_each(|_| drop(world.step(&load)));
    assert!(before > 1.2 && world.imbalance(&load) < 1.05, "{before} became {}", world.imbalance(&load));
    for epoch in 20..100 {
        assert_eq!(world.step(&load), [], "in epoch {epoch}");
    }
}

#[test]
fn a_key_that_no_worker_can_carry_is_isolated_and_stays() {
    let mut load = zipf(100, 50.0);
    let (hot, total) = (stable_hash("hot"), load.values().sum::<u64>());
    load.insert(hot, 4 * total);
    let mut world = World::new(PolicyConfig::default(), even(8, 4), 1);
    let owner = world.owner(hot);
    for epoch in 0..60 {
        let commands = world.step(&load);
        assert!(epoch < 20 || commands.is_empty(), "epoch {epoch}: {commands:?}");
    }
    assert_eq!(world.planned.range(world.planned.find(hot)), KeyRange::single(hot));
    assert_eq!(world.owner(hot), owner);
    let beside: u64 = load.iter().filter(|(k, _)| **k != hot && world.owner(**k) == owner).map(|(_, n)| n).sum();
    assert!(beside * 10 < total, "{beside} of {total} records of other keys stayed with it");
}

#[test]
fn keys_that_no_worker_can_carry_are_not_chased_however_they_vary() {
    fn noise(seed: u64, epoch: u64) -> f64 {
        (stable_hash(&(seed, epoch)) % 1_000) as f64 / 1_000.0
    }
    let noisy = |epoch| [6.0 * noise(0, epoch), 0.0];
    let coming_and_going = |epoch| [if epoch % 10 < 5 { 4.0 } else { 0.0 }, 0.0];
    let in_turn = |epoch| if epoch % 10 < 5 { [4.0, 0.0] } else { [0.0, 4.0] };
    let both_noisy = |epoch| [4.0 * noise(1, epoch), 4.0 * noise(2, epoch)];
    let (calm, hot) = (zipf(100, 50.0), [stable_hash("hot"), stable_hash("hotter")]);
    let total = calm.values().sum::<u64>() as f64;
    for (case, times) in [noisy as fn(u64) -> [f64; 2], coming_and_going, in_turn, both_noisy].into_iter().enumerate() {
        for lead in [1, 2, 4] {
            let mut world = World::new(PolicyConfig::default(), even(64, 8), lead);
            for epoch in 0..150 {
                let mut load = calm.clone();
                load.extend(hot.into_iter().zip(times(epoch).map(|times| (times * total) as u64)));
                let owners = hot.map(|key| world.owner(key));
                world.step(&load);
                assert!(epoch < 20 || owners == hot.map(|key| world.owner(key)), "case {case}, lead {lead}: {epoch}");
            }
        }
    }
}

#[test]
fn moves_are_spread_over_the_window() {
    let load: Load = (0..64).map(|i| (i << 58, if i % 4 == 0 { 1_000 } else { 1 })).collect();
    let moves = |window| {
        let config = PolicyConfig { migration_window: window, ..PolicyConfig::default() };
        let mut world = World::new(config, even(64, 4), 1);
        let count = |commands: Vec<Command>| commands.iter().filter(|c| matches!(c, Command::Move { .. })).count();
        (0..12).map(|_| count(world.step(&load))).collect::<Vec<_>>()
    };
    let (at_once, spread) = (moves(1), moves(4));
    assert!(at_once[0] >= 10 && at_once[2..].iter().all(|n| *n == 0), "{at_once:?}");
    assert!(spread[..4].iter().all(|n| (2..=4).contains(n)) && spread[8..].iter().all(|n| *n == 0), "{spread:?}");
}

#[test]
fn what_has_gone_cold_is_merged_again() {
    let mut world = World::new(PolicyConfig::default(), even(8, 4), 1);
    (0..10).for_each(|_| drop(world.step(&zipf(500, 1_000.0))));
    assert!(world.planned.len() > 20, "{} shards", world.planned.len());
    let elsewhere: Load = (0..8).map(|i| (i << 61, 1_000)).collect();
    (0..40).for_each(|_| drop(world.step(&elsewhere)));
    assert!(world.planned.len() <= 24, "{} shards", world.planned.len());
}

#[test]
fn too_many_shards_are_merged_over_the_window() {
    let config = PolicyConfig { max_shards: 20, migration_window: 4, ..PolicyConfig::default() };
    let mut world = World::new(config, even(64, 4), 1);
    world.step(&zipf(500, 1_000.0));
    assert!(world.planned.len() > 40, "{} shards after one epoch", world.planned.len());
    (0..20).for_each(|_| drop(world.step(&zipf(500, 1_000.0))));
    assert!(world.planned.len() <= 20 && world.imbalance(&zipf(500, 1_000.0)) < 1.5);
}

#[test]
fn room_is_made_for_what_is_hot_but_only_at_need() {
    let config = PolicyConfig { max_shards: 64, ..PolicyConfig::default() };
    let run = |load: &Load| {
        let mut world = World::new(config.clone(), even(64, 4), 1);
        let mut commands: Vec<Command> = (0..30).flat_map(|_| world.step(load)).collect();
        commands.retain(|c| matches!(c, Command::Split { .. }));
        (world.planned.len() <= 64, commands.len(), world.imbalance(load))
    };
    let hot: Load = (0..40).map(|key| (key, 100)).collect();
    let (fits, splits, imbalance) = run(&hot);
    assert!(fits && splits > 3 && imbalance < 1.1, "{splits} splits, then {imbalance}");
    let balanced: Load = (0..4).flat_map(|w| (0..5).map(move |key| ((w << 58) + key, 100))).collect();
    assert_eq!(run(&balanced), (true, 0, 1.0));
}

#[test]
fn a_move_must_pay_for_its_state() {
    let load = zipf(500, 1_000.0);
    let commands = |move_cost| {
        let config = PolicyConfig { move_cost, ..PolicyConfig::default() };
        let mut world = World::new(config, even(16, 4), 1);
        (0..10).flat_map(|_| world.step(&load)).filter(|c| matches!(c, Command::Move { .. })).count()
    };
    assert!(commands(0.005) > 0);
    assert_eq!(commands(1_000.0), 0);
}

#[test]
fn hot_keys_that_change_with_every_epoch_are_not_chased() {
    let mut world = World::new(PolicyConfig::default(), even(64, 8), 1);
    let load = |epoch: u64| -> Load { (0..40u64).map(|i| (stable_hash(&(epoch, i)), 1_000 / (i + 1))).collect() };
    let moves = |commands: Vec<Command>| commands.iter().filter(|c| matches!(c, Command::Move { .. })).count();
    (0..10).for_each(|epoch| drop(world.step(&load(epoch))));
    let later: usize = (10..60).map(|epoch| moves(world.step(&load(epoch)))).sum();
    assert!(later < 50, "{later} moves in 50 epochs");
}

fn config() -> impl Strategy<Value = PolicyConfig> {
    let move_cost = prop_oneof![Just(0.0), 0.0..2.0f64];
    let balance = (0.3..0.5f64, 1..5u64, 1..80usize, 1..9usize, move_cost, 0.01..2.0f64);
    let capacity = prop_oneof![Just(vec![]), (1.0..9_000.0f64).prop_map(|each| vec![each])];
    (balance, capacity, prop::option::of(1..4usize), 0.1..1.0f64).prop_map(
        |(
            (health_threshold, migration_window, max_shards, prediction_horizon, move_cost, fold_share),
            capacity,
            min_workers,
            utilization,
        )| {
            let min_workers = min_workers.filter(|_| !capacity.is_empty());
            PolicyConfig {
                health_threshold,
                migration_window,
                migration_bytes: 1 + 400 * migration_window,
                max_shards,
                prediction_horizon,
                move_cost,
                fold_share,
                capacity,
                min_workers,
                utilization,
            }
        },
    )
}

/// The policy that looks ahead, or the one that doesn't.
fn policy(looks_ahead: bool, config: PolicyConfig) -> Box<dyn Policy> {
    match looks_ahead {
        true => Box::new(Proactive::new(config).unwrap()),
        false => Box::new(Reactive::new(config).unwrap()),
    }
}

/// Loads of some epochs over few keys, at the ends of the key space and next to each other too.
fn loads() -> impl Strategy<Value = Vec<Load>> {
    let key = prop_oneof![0..8u64, Just(u64::MAX), Just(u64::MAX - 1), (0..40u64).prop_map(|k| stable_hash(&k))];
    prop::collection::vec(prop::collection::btree_map(key, prop_oneof![1..50u64, 1..5_000u64], 0..40), 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// That each command is possible is checked by `World::step`.
    #[test]
    fn commands_are_possible_and_the_same_for_the_same_views(
        config in config(),
        loads in loads(),
        shards in 1..40usize,
        workers in 1..7usize,
        lead in 1..6u64,
        can_fold: bool,
        looks_ahead: bool,
    ) {
        let run = || {
            let policy = policy(looks_ahead, config.clone());
            let mut world = World { can_fold, policy, ..World::new(config.clone(), even(shards, workers), lead) };
            let commands: Vec<_> = loads.iter().map(|load| world.step(load)).collect();
            (commands, world.planned)
        };
        let (commands, planned) = run();
        prop_assert!(planned.len() <= config.max_shards.max(shards));
        prop_assert!(can_fold || planned.folded().is_empty());
        prop_assert_eq!(run().0, commands);
    }

    /// Profiles may be of ranges that no assignment ever had, and say anything.
    #[test]
    fn no_profile_is_too_strange(
        config in config(),
        strange in prop::collection::vec((any::<(u64, u64, u64)>(), any::<Vec<(u64, f64)>>(), any::<Vec<u64>>()), 0..20),
        strange_folded in prop::collection::vec((0..9u64, any::<u64>()), 0..20),
        looks_ahead: bool,
    ) {
        let mut policy = policy(looks_ahead, config);
        let mut assignment = even(5, 3);
        let strange_folded: Vec<_> = strange_folded.into_iter().map(|(key, records)| FoldedKey { key: Some(key), records }).collect();
        for epoch in 0..4 {
            let profiles: Vec<Profile> = strange.iter().map(|((a, b, records), heavy, sample)| {
                let heavy = heavy.iter().map(|(key, share)| HeavyKey { key: *key, share: *share }).collect();
                let last = Summary { records: *records, heavy, sample: sample.clone(), ..Summary::default() };
                let range = KeyRange::new(*a.min(b), u128::from(*a.max(b)) + 1).unwrap();
                Profile { epoch, range, worker: 9, keys: 1, state_bytes: *records, rolling: last.clone(), last, health: 0.0 }
            }).collect();
            let view = View { epoch, boundary: epoch, assignment: &assignment, profiles: &profiles, can_fold: true, folded: &strange_folded };
            assignment = assignment.apply(&policy.decide(&view)).unwrap();
        }
    }
}
