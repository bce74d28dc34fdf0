use super::*;

/// Commands that make a key folded, and that make it so no longer.
fn folds(commands: &[Command], key: u64) -> (usize, usize) {
    let count = |command| commands.iter().filter(|c| **c == command).count();
    (count(Command::Fold { key }), count(Command::Unfold { key }))
}

/// A load in which one key has so many times what all others have together.
fn with_hot(mut load: Load, key: u64, times: f64) -> Load {
    let total: u64 = load.values().sum();
    load.insert(key, (total as f64 * times) as u64);
    load
}

#[test]
fn a_key_that_turns_hot_is_folded_from_the_next_boundary() {
    let (calm, hot) = (zipf(500, 1_000.0), stable_hash("hot"));
    let mut world = World::folding(even(16, 4), 1);
    (0..20).for_each(|_| drop(world.step(&calm)));
    let load = with_hot(calm, hot, 4.0);
    let owner = world.owner(hot);
    assert!(world.imbalance(&load) > 3.0);
    assert_eq!(world.step(&load), [Command::Fold { key: hot }]);
    for epoch in 0..60 {
        assert!(world.imbalance(&load) < 1.05, "{} after {epoch} epochs", world.imbalance(&load));
        let commands = world.step(&load);
        assert_eq!(folds(&commands, hot), (0, 0), "in epoch {epoch}");
        assert!(!commands.iter().any(|c| matches!(c, Command::Split { .. } | Command::Move { .. })), "{commands:?}");
    }
    assert_eq!(world.owner(hot), owner);
}

#[test]
fn what_a_key_was_before_it_was_folded_moves_nothing() {
    let calm: Load = (0..128).map(|i| (i << 57, 100)).collect();
    let hot = 7 << 58;
    for lead in 1..6 {
        let mut world = World::folding(even(64, 8), lead);
        (0..10).for_each(|_| assert_eq!(world.step(&calm), []));
        let load = with_hot(calm.clone(), hot, 2.0);
        assert_eq!(world.step(&load), [Command::Fold { key: hot }]);
        (0..20).for_each(|_| assert_eq!(world.step(&load), [], "with a lead of {lead}"));
    }
}

#[test]
fn a_key_that_has_long_been_light_is_unfolded() {
    let (calm, hot) = (zipf(500, 1_000.0), stable_hash("hot"));
    let mut world = World::folding(even(16, 4), 2);
    (0..20).for_each(|_| drop(world.step(&calm)));
    (0..5).for_each(|_| drop(world.step(&with_hot(calm.clone(), hot, 1.0))));
    assert!(world.planned.is_folded(hot));
    (0..10).for_each(|_| drop(world.step(&calm)));
    assert!(world.planned.is_folded(hot), "it may turn hot again");
    let later: Vec<Command> = (0..100).flat_map(|_| world.step(&calm)).collect();
    assert_eq!(folds(&later, hot), (0, 1));
}

#[test]
fn all_is_unfolded_where_nothing_comes_any_more() {
    let mut world = World::folding(even(16, 4), 1);
    (0..5).for_each(|_| drop(world.step(&zipf(500, 1_000.0))));
    assert!(!world.planned.folded().is_empty());
    (0..40).for_each(|_| drop(world.step(&Load::new())));
    assert!(world.planned.folded().is_empty());
}

#[test]
fn a_share_about_the_threshold_does_not_flap() {
    let (calm, key) = (zipf(500, 1_000.0), stable_hash("noisy"));
    for seed in 0..20u64 {
        let mut world = World::folding(even(16, 4), 1);
        // From a third of the share at which keys are folded to 5/3 of it.
        let share =
            |epoch| PolicyConfig::FOLD_SHARE / 4.0 * (1.0 + (stable_hash(&(seed, epoch)) % 400) as f64 / 100.0) / 3.0;
        let run = |epochs: std::ops::Range<u64>, world: &mut World| -> Vec<Command> {
            epochs.flat_map(|epoch| world.step(&with_hot(calm.clone(), key, share(epoch)))).collect()
        };
        run(0..20, &mut world);
        assert_eq!(run(20..300, &mut world), [], "with seed {seed}");
    }
}

#[test]
fn hot_keys_that_come_and_go_are_followed() {
    let (workers, calm) = (8, zipf(500, 500.0));
    let mut world = World::folding(even(64, workers), 1);
    (0..20).for_each(|_| drop(world.step(&calm)));
    let mut commands = 0;
    for epoch in 0..300u64 {
        // Each lasts for ten epochs, in which its share goes up and down.
        let times = 0.2 + (stable_hash(&epoch) % 300) as f64 / 100.0;
        let load = with_hot(calm.clone(), stable_hash(&("hot", epoch / 10)), times);
        let imbalance = world.imbalance(&load);
        assert!(epoch % 10 == 0 || imbalance < 1.3, "{imbalance} in epoch {epoch}");
        commands += world.step(&load).len();
        assert!(world.planned.folded().len() < 50);
    }
    assert!(commands <= 2 * 30 + 30, "{commands} commands for 30 keys");
}

#[test]
fn nothing_is_folded_that_cannot_be() {
    let load = with_hot(zipf(100, 50.0), stable_hash("hot"), 4.0);
    let mut world = World::new(PolicyConfig::default(), even(8, 4), 1);
    (0..60).for_each(|_| drop(world.step(&load)));
    assert!(world.planned.folded().is_empty());
}

#[test]
fn what_was_folded_and_cannot_be_any_more_is_unfolded() {
    let folded = even(8, 4).apply(&[Command::Fold { key: 7 }]).unwrap();
    let mut world = World::new(PolicyConfig::default(), folded, 1);
    assert_eq!(world.step(&Load::new()), [Command::Unfold { key: 7 }]);
}

#[test]
fn what_gates_find_and_fold_themselves_is_no_load_of_a_shard() {
    let assignment = even(16, 4);
    let calm: Load = (0..64).map(|i| (i << 58, 100)).collect();
    let profiles: Vec<_> = assignment.iter().filter_map(|shard| profile(shard, 0, &calm)).collect();
    // Of keys of one worker, and together twice its fair share; each is too light to be folded by a command.
    let named = (1..30).map(|key| FoldedKey { key: Some(key), records: 50 });
    let others = FoldedKey { key: None, records: 2_000 };
    let folded: Vec<FoldedKey> = named.chain([others]).collect();
    let mut policy = Reactive::new(PolicyConfig::default()).unwrap();
    for epoch in 0..10 {
        let view = View {
            epoch,
            boundary: epoch + 1,
            assignment: &assignment,
            profiles: &profiles,
            can_fold: true,
            folded: &folded,
        };
        assert_eq!(policy.decide(&view), [], "in epoch {epoch}");
    }
}
