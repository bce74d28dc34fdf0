//! The simulation against what can be reckoned by hand.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;
use thalweg::policy::{Policy, PolicyConfig, Proactive, Reactive, Script, View};
use thalweg::{Assignment, Command, Config, stable_hash};

use crate::balance::{Epoch, Figures, Generated, Kind, Setup, Sight, Simulation, Spread, Trace};

fn setup(workers: usize, shards: usize, lead: u64) -> Setup {
    let config = Config { shards, lead, ..Config::default() };
    Setup { workers, config, can_fold: true, bytes_per_key: 10, warm_up: 0 }
}

/// Routing keys of so many keys, ascending.
fn keys(count: u32) -> Vec<u64> {
    let mut keys: Vec<u64> = (0..count).map(|key| stable_hash(&key)).collect();
    keys.sort_unstable();
    keys
}

fn epoch(number: u64, counts: &[(u32, u32)]) -> Epoch {
    Epoch { number, counts: counts.to_vec() }
}

fn cycle(seed: u64) -> Trace {
    let spread = Spread { keys: 300, zipf: 0.8, seed };
    Generated { kind: Kind::Cycle, spread, records: 3_000.0, epochs: 60, period: 12 }.trace()
}

fn all_arms(setup: &Setup, keys: Vec<u64>) -> Simulation {
    let mut simulation = Simulation::new(keys, setup.clone()).unwrap();
    let config = || setup.config.policy.clone();
    simulation.fixed("static").unwrap();
    simulation.policy("reactive", Box::new(Reactive::new(config()).unwrap())).unwrap();
    simulation.policy("proactive", Box::new(Proactive::new(config()).unwrap())).unwrap();
    simulation.packed("lag-1", Sight::Previous).unwrap();
    simulation.packed("oracle", Sight::Clairvoyant).unwrap();
    simulation
}

/// What one arm's workers carried, by epoch.
type Loads = BTreeMap<u64, Vec<u64>>;

fn loads(simulation: &mut Simulation, epochs: impl IntoIterator<Item = Epoch>) -> BTreeMap<String, Loads> {
    let mut loads: BTreeMap<String, Loads> = BTreeMap::new();
    for epoch in epochs {
        simulation.epoch(&epoch, |line| {
            let before = loads.entry(line.arm.to_owned()).or_default().insert(epoch.number, line.loads.by_worker);
            assert_eq!(before, None);
        });
    }
    loads
}

fn scripted(setup: &Setup, keys: Vec<u64>, script: &str) -> Simulation {
    let mut simulation = Simulation::new(keys, setup.clone()).unwrap();
    simulation.policy("scripted", Box::new(script.parse::<Script>().unwrap())).unwrap();
    simulation
}

fn figures(simulation: &Simulation) -> Figures {
    simulation.figures().next().unwrap().clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_record_is_carried_once(
        workers in 1..6usize, shards in 1..20usize, lead in 1..4u64, can_fold: bool,
        epochs in prop::collection::vec((1..3u64, prop::collection::btree_map(0..40u32, 0..2_000u32, 1..20)), 1..25),
    ) {
        let mut number = 0;
        let numbered = |(later, counts): (u64, BTreeMap<u32, u32>)| {
            number += later;
            epoch(number, &counts.into_iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>())
        };
        let epochs: Vec<Epoch> = epochs.into_iter().map(numbered).collect();
        let setup = Setup { can_fold, ..setup(workers, shards, lead) };
        let loads = loads(&mut all_arms(&setup, keys(40)), epochs.clone());
        for (arm, loads) in loads {
            for epoch in epochs.iter().filter(|epoch| !epoch.counts.is_empty()) {
                let records: u64 = epoch.counts.iter().map(|(_, records)| u64::from(*records)).sum();
                prop_assert_eq!(loads[&epoch.number].iter().sum::<u64>(), records, "{} in {:?}", arm, epoch);
            }
        }
    }

    #[test]
    fn the_oracle_is_as_good_as_packing_can_be(
        workers in 2..9usize,
        epochs in prop::collection::vec(prop::collection::btree_map(0..60u32, 1..500u32, 1..60), 1..10),
    ) {
        let numbered = |(number, counts): (u64, BTreeMap<u32, u32>)| epoch(number, &counts.into_iter().collect::<Vec<_>>());
        let setup = Setup { can_fold: false, ..setup(workers, 64, 1) };
        let loads = loads(&mut all_arms(&setup, keys(60)), (0..).zip(epochs).map(numbered));
        let most = |arm: &str, epoch: u64| loads[arm][&epoch].iter().copied().max().unwrap() as f64;
        let bound = 4.0 / 3.0 - 1.0 / (3.0 * workers as f64);
        for &epoch in loads["oracle"].keys() {
            for arm in ["static", "reactive", "proactive", "lag-1"] {
                prop_assert!(most("oracle", epoch) <= bound * most(arm, epoch) + 1e-9, "{} in {}", arm, epoch);
            }
        }
    }
}

#[test]
fn static_is_the_even_assignment() {
    let Trace { keys, epochs, .. } = cycle(3);
    let assignment = Assignment::even(16, 4).unwrap();
    let epochs: Vec<Epoch> = epochs.collect();
    let loads = loads(&mut all_arms(&setup(4, 16, 2), keys.clone()), epochs.clone());
    for epoch in &epochs {
        let mut by_hand = vec![0; 4];
        epoch.counts.iter().for_each(|(k, n)| by_hand[assignment.owner_of(keys[*k as usize])] += u64::from(*n));
        assert_eq!(loads["static"][&epoch.number], by_hand);
    }
}

#[test]
fn the_same_twice() {
    let run = |seed| {
        let Trace { keys, epochs, .. } = cycle(seed);
        let mut simulation = all_arms(&setup(4, 16, 2), keys);
        epochs.for_each(|epoch| simulation.epoch(&epoch, |_| {}));
        simulation.figures().cloned().collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// Notes what it is shown, as epoch, records of shards, and records of folded keys; and decides as it is told.
struct Watching<F> {
    seen: Rc<RefCell<Vec<(u64, u64, u64)>>>,
    decide: F,
}

impl<F: FnMut(&View<'_>) -> Vec<Command> + 'static> Policy for Watching<F> {
    fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        let shards = view.profiles.iter().map(|profile| profile.last.records).sum();
        let folded = view.folded.iter().map(|folded| folded.records).sum();
        self.seen.borrow_mut().push((view.epoch, shards, folded));
        (self.decide)(view)
    }
}

/// Moves everything to worker 0.
fn gather(view: &View<'_>) -> Vec<Command> {
    let elsewhere = view.assignment.iter().filter(|(_, owner)| *owner > 0);
    elsewhere.map(|(shard, _)| Command::Move { shard, to: 0 }).collect()
}

#[test]
fn commands_take_effect_after_the_lead() {
    for lead in 1..5 {
        let seen = Rc::default();
        let decide = |view: &View<'_>| if view.epoch == 3 { gather(view) } else { Vec::new() };
        let mut simulation = Simulation::new(keys(50), setup(2, 8, lead)).unwrap();
        simulation.policy("gather", Box::new(Watching { seen: Rc::clone(&seen), decide })).unwrap();
        let counts: Vec<(u32, u32)> = (0..50).map(|key| (key, 1)).collect();
        // No epoch 5: it is told of as one without records, and what was to come before it comes before the next.
        let numbers = [0, 1, 2, 3, 4, 6, 7, 8, 9];
        let loads = loads(&mut simulation, numbers.map(|number| epoch(number, &counts)));
        for (number, loads) in &loads["gather"] {
            assert_eq!(loads[0] == 50, *number >= 3 + lead, "lead {lead}, epoch {number}: {loads:?}");
        }
        let told: Vec<_> = (0..10).map(|number| (number, if number == 5 { 0 } else { 50 }, 0)).collect();
        assert_eq!(*seen.borrow(), told);
    }
}

#[test]
fn folded_keys_are_dealt_evenly_and_told_of_once() {
    let (keys, seen) = (keys(2), Rc::default());
    let key = keys[1];
    let decide = move |view: &View<'_>| if view.epoch == 0 { vec![Command::Fold { key }] } else { Vec::new() };
    let mut simulation = Simulation::new(keys, setup(4, 1, 1)).unwrap();
    simulation.policy("fold", Box::new(Watching { seen: Rc::clone(&seen), decide })).unwrap();
    let loads = loads(&mut simulation, (0..4).map(|number| epoch(number, &[(0, 100), (1, 1_002)])));
    let by_epoch: Vec<&Vec<u64>> = loads["fold"].values().collect();
    assert_eq!(by_epoch[..3], [&[1_102, 0, 0, 0], &[351, 251, 250, 250], &[350, 250, 251, 251]]);
    assert_eq!(by_epoch[3], by_epoch[1], "the next one's turn goes on where the last one's ended");
    assert_eq!(*seen.borrow(), [(0, 1_102, 0), (1, 100, 1_002), (2, 100, 1_002), (3, 100, 1_002)]);
}

#[test]
fn what_moves_is_the_state_of_the_keys_that_were_there() {
    let keys = keys(100);
    let there = (0..100u32).filter(|key| keys[*key as usize] < 1 << 63).count() as u64;
    let mut simulation = scripted(&setup(2, 2, 1), keys, "2 move 0 1\n3 move 0 0");
    let half: Vec<(u32, u32)> = (0..100).step_by(2).map(|key| (key, 1)).collect();
    let all: Vec<(u32, u32)> = (0..100).map(|key| (key, 1)).collect();
    let halved = half.iter().filter(|(key, _)| u64::from(*key) < there).count() as u64;
    let mut moved = Vec::new();
    for epoch in [epoch(0, &half), epoch(1, &half), epoch(2, &all), epoch(3, &all)] {
        simulation.epoch(&epoch, |line| moved.push(line.moved_bytes));
    }
    assert_eq!(moved, [0, 0, 10 * halved, 10 * there]);
    let Figures { moved_bytes, plans, moves, flaps, .. } = figures(&simulation);
    assert_eq!((moved_bytes, plans, moves, flaps), (10 * (halved + there), 2, 2, 1));
}

#[test]
fn what_goes_back_within_ten_epochs_has_flapped() {
    for (script, flaps) in [
        ("2 move 0 1\n12 move 0 0", 1),
        ("2 move 0 1\n13 move 0 0", 0),
        ("2 move 0 1\n11 split 0x100\n12 move 0x100 0", 1),
        ("2 move 0 1\n12 move 0x8000000000000000 0", 0),
        ("2 move 0 1\n3 move 0 0\n4 move 0 1", 2),
    ] {
        let mut simulation = scripted(&setup(2, 2, 1), keys(9), script);
        (0..20).for_each(|number| simulation.epoch(&epoch(number, &[(0, 1), (8, 1)]), |_| {}));
        assert_eq!(figures(&simulation).flaps, flaps, "{script}");
    }
}

#[test]
fn who_rests_does_not_count() {
    let policy = PolicyConfig {
        capacity: vec![100.0, 300.0, 100.0],
        min_workers: Some(1),
        utilization: 0.5,
        ..PolicyConfig::default()
    };
    let base = setup(3, 3, 1);
    let setup = Setup { config: Config { policy, ..base.config.clone() }, ..base };
    let third = u64::MAX / 3;
    let keys = vec![0, third + 7, 2 * third + 7];
    let mut simulation = scripted(&setup, keys, &format!("1 move {} 1\n2 move 0 1", 2 * third + 7));
    let counts = [(0, 40), (1, 110), (2, 50)];
    let mut ratios = Vec::new();
    for number in 0..3 {
        simulation.epoch(&epoch(number, &counts), |line| {
            ratios.push((line.max_mean, line.loads.in_use.iter().filter(|used| **used).count()));
        });
    }
    // The busiest for what it can do, by 200 records on 500, 400 and 300 that can be done.
    assert_eq!(ratios, [(0.5 / 0.4, 3), (160.0 / 300.0 / 0.5, 2), (1.0, 1)]);
    let Figures { workers_in_use, capacity_in_use, capacity_needed, over_capacity, .. } = figures(&simulation);
    assert_eq!((workers_in_use, capacity_in_use, over_capacity), (6, 1_200.0, 0));
    assert_eq!(capacity_needed, 3.0 * 400.0, "the first two have room for 200 records at half of their capacity");
}

/// Their records stay where a source puts them, which is on all workers.
#[test]
fn who_rests_has_its_part_of_folded_keys() {
    let policy = PolicyConfig { capacity: vec![1_000.0], min_workers: Some(1), ..PolicyConfig::default() };
    let base = setup(4, 4, 1);
    let setup = Setup { config: Config { policy, ..base.config.clone() }, ..base };
    let keys = vec![7, u64::MAX];
    let gathered = (1..4u64).map(|i| format!("1 move {} 0", i * (u64::MAX / 4 + 1))).collect::<Vec<_>>().join("\n");
    let mut simulation = scripted(&setup, keys, &format!("{gathered}\n1 fold {}", u64::MAX));
    let mut lines = Vec::new();
    for number in 0..2 {
        simulation.epoch(&epoch(number, &[(0, 100), (1, 400)]), |line| {
            lines.push((line.loads.by_worker, line.loads.in_use, line.max_mean));
        });
    }
    assert_eq!(lines[1], (vec![200, 100, 100, 100], vec![true, false, false, false], 1.0));
    assert_eq!(figures(&simulation).workers_in_use, 4 + 1);
}

#[test]
fn what_comes_before_the_end_of_the_warm_up_is_left_out() {
    let setup = Setup { warm_up: 5, ..setup(2, 2, 1) };
    let mut simulation = scripted(&setup, keys(9), "2 move 0 1\n6 move 0 0");
    (0..8).for_each(|number| simulation.epoch(&epoch(number, &[(0, 1), (8, 3)]), |_| {}));
    let Figures { ratios, moves, .. } = figures(&simulation);
    assert_eq!((ratios, moves), (vec![2.0, 1.5, 1.5], 1));
}

#[test]
fn traces_are_what_they_are_called() {
    let spread = Spread { keys: 100, zipf: 0.9, seed: 1 };
    for kind in [Kind::Steady, Kind::Cycle, Kind::Alternate, Kind::Walk, Kind::Shift] {
        let generated = Generated { kind, spread, records: 10_000.0, epochs: 80, period: 20 };
        let Trace { keys, epochs, length } = generated.trace();
        assert!(keys.is_sorted_by(|a, b| a < b) && keys.len() == 100);
        let epochs: Vec<Epoch> = epochs.collect();
        assert_eq!((epochs.len() as u64, epochs.last().unwrap().number), (length, 79));
        assert!(epochs.iter().all(|epoch| epoch.counts.is_sorted_by(|a, b| a.0 < b.0)));
        let apart = |a: usize, b: usize| -> f64 {
            let counts = |epoch: usize| epochs[epoch].counts.iter().copied().collect::<BTreeMap<u32, u32>>();
            let (a, b) = (counts(a), counts(b));
            let share = |counts: &BTreeMap<u32, u32>, key: u32| {
                f64::from(counts.get(&key).copied().unwrap_or(0)) / f64::from(counts.values().sum::<u32>())
            };
            (0..100).map(|key| (share(&a, key) - share(&b, key)).abs()).sum()
        };
        let (near, half, whole) = (apart(21, 22), apart(21, 31), apart(21, 41));
        let is_as_called = match kind {
            Kind::Steady => near.max(half).max(whole) < 0.2,
            Kind::Cycle | Kind::Alternate => half > 0.8 && whole < 0.2,
            Kind::Walk => near < 0.4 && whole > 0.2,
            Kind::Shift => half < 0.2 && whole > 0.15,
        };
        assert!(is_as_called, "{kind:?}: {near} {half} {whole}");
    }
}
