//! What a policy that looks ahead does.

use super::*;

const PERIOD: u64 = 8;

/// A load whose heat goes round over the keys, with noise.
fn cycle(epoch: u64) -> Load {
    let noise = |key: u64| (stable_hash(&(key, epoch)) % 200) as f64 / 1_000.0 - 0.1;
    let heat = |key: u64| {
        let away = (stable_hash(&("home", key)) + PERIOD - epoch % PERIOD) % PERIOD;
        let near = away.min(PERIOD - away) as f64 / PERIOD as f64;
        20.0 + 400.0 * (1.0 - 4.0 * near).max(0.0) / (1.0 + (key % 40) as f64)
    };
    (0..200u64).map(|key| (stable_hash(&key), (heat(key) * (1.0 + noise(key))) as u64)).collect()
}

/// Epochs out of balance, of the last 40 of 100.
fn out_of_balance(policy: impl Policy, lead: u64, load: impl Fn(u64) -> Load) -> usize {
    let mut world = World::with(policy, even(16, 4), lead);
    let is_out = |epoch: &u64| {
        let load = load(*epoch);
        let is_out = world.next_imbalance(&load) > 1.1;
        world.step(&load);
        is_out && *epoch >= 60
    };
    (0..100).filter(is_out).count()
}

fn policies() -> (Reactive, Proactive) {
    let config = PolicyConfig::default;
    (Reactive::new(config()).unwrap(), Proactive::new(config()).unwrap())
}

#[test]
fn a_load_that_goes_round_is_met_where_it_will_be() {
    for lead in [1, 3] {
        let (reactive, proactive) = policies();
        let (late, ahead) = (out_of_balance(reactive, lead, cycle), out_of_balance(proactive, lead, cycle));
        assert!(late >= 20 && ahead * 5 <= late, "lead {lead}: {ahead} instead of {late}");
    }
}

#[test]
fn a_load_that_cannot_be_foreseen_is_met_as_ever() {
    let wandering = |epoch: u64| -> Load {
        let level = |key: u64| (0..=epoch).map(|e| (stable_hash(&(key, e)) % 3) as f64 - 1.0).sum::<f64>();
        (0..60u64).map(|key| (stable_hash(&key), (300.0 * (0.1 * level(key)).exp()) as u64)).collect()
    };
    let (reactive, proactive) = policies();
    let (known, guessed) = (out_of_balance(reactive, 1, wandering), out_of_balance(proactive, 1, wandering));
    assert!(guessed <= known + 2, "{guessed} instead of {known}");
}

#[test]
fn keys_that_will_be_hot_are_folded_before_they_are() {
    let load = |epoch: u64| -> Load {
        let mut load = zipf(100, 50.0);
        load.insert(stable_hash("daily"), if epoch.is_multiple_of(PERIOD) { 900 } else { 1 });
        load
    };
    let mut world = World::with(Proactive::new(PolicyConfig::default()).unwrap(), even(16, 4), 1);
    world.can_fold = true;
    // Long enough for it to be unfolded each time, if it was not going to be hot again.
    let late = (0..160).filter(|epoch| {
        let load = load(*epoch);
        let is_late = epoch % PERIOD == 0 && world.next_imbalance(&load) > 1.3;
        world.step(&load);
        is_late && *epoch > 80
    });
    assert_eq!(late.count(), 0);
}
