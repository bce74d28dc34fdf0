//! What a policy that looks ahead does.

use super::*;

/// A load that goes round: the heat is on keys that lie by the phase, with noise.
fn cycle(period: u64, epoch: u64) -> Load {
    let phase = epoch % period;
    let noise = |key: u64| (stable_hash(&(key, epoch)) % 200) as f64 / 1_000.0 - 0.1;
    (0..400u64)
        .map(|key| {
            let center = (stable_hash(&("center", key)) % period + period - phase) % period;
            let near = center.min(period - center) as f64 / period as f64;
            let heat = 20.0 + 400.0 * (1.0 - 4.0 * near).max(0.0) / (1.0 + (key % 40) as f64);
            (stable_hash(&key), (heat * (1.0 + noise(key))) as u64)
        })
        .collect()
}

#[test]
fn probe() {
    for period in [6, 12, 24] {
        for lead in [1, 2] {
            let mut row = Vec::new();
            for proactive in [false, true] {
                let config = PolicyConfig::default();
                let mut world = match proactive {
                    true => World::with(Proactive::new(config).unwrap(), even(64, 8), lead),
                    false => World::new(config, even(64, 8), lead),
                };
                let mut all = Vec::new();
                let mut moves = 0;
                for epoch in 0..400 {
                    let load = cycle(period, epoch);
                    all.push(world.next_imbalance(&load));
                    let c = world.step(&load);
                    moves += c.iter().filter(|c| matches!(c, Command::Move { .. })).count();
                }
                let mut last = all.split_off(200);
                last.sort_by(f64::total_cmp);
                let over = last.iter().filter(|m| **m > 1.1).count();
                row.push((last[100], last[180], last[199], over, moves));
            }
            println!("period {period} lead {lead}: {row:.2?}");
        }
    }
}
