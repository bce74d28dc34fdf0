//! Arrivals as they may come, made up and always the same: records per epoch.

use std::f64::consts::TAU;

use thalweg::stable_hash;

/// A kind of arrivals: its name, and a trace of so many epochs by a seed.
pub type Kind = (&'static str, fn(usize, u64) -> Vec<f64>);

/// All kinds.
pub const KINDS: [Kind; 11] = [
    ("constant", |epochs, _| vec![1_000.0; epochs]),
    ("chance", |epochs, seed| counted(epochs, seed, |_| 20.0)),
    ("day", |epochs, seed| counted(epochs, seed, |t| 1_000.0 * (1.0 + 0.9 * sine(t, 288)))),
    ("day and week", |epochs, seed| {
        let quiet = |t: usize| if t / 144 % 7 >= 5 { 0.4 } else { 1.0 };
        counted(epochs, seed, |t| 1_000.0 * quiet(t) * (1.0 + 0.7 * sine(t, 144)))
    }),
    ("nights off", |epochs, seed| counted(epochs, seed, |t| 800.0 * (0.3 + sine(t, 96)).max(0.0))),
    ("on and off", |epochs, seed| counted(epochs, seed, |t| if t / 60 % 2 == 0 { 100.0 } else { 2_000.0 })),
    ("sawtooth", |epochs, seed| counted(epochs, seed, |t| 100.0 + 20.0 * (t % 100) as f64)),
    ("hourly batch", |epochs, seed| counted(epochs, seed, |t| if t % 24 < 3 { 4_000.0 } else { 200.0 })),
    ("random walk", |epochs, seed| {
        let levels: Vec<f64> = (0..epochs)
            .scan(0.0, |level, t| {
                *level = 0.999 * *level + 0.05 * normal(seed ^ 1, t);
                Some(1_000.0 * f64::exp(*level))
            })
            .collect();
        counted(epochs, seed, |t| levels[t])
    }),
    ("bursts", |epochs, seed| {
        let mut ends = 0;
        let levels: Vec<f64> = (0..epochs)
            .map(|t| {
                if t >= ends && uniform(seed ^ 2, t) < 0.01 {
                    ends = t + 5 + (15.0 * uniform(seed ^ 3, t)) as usize;
                }
                if t < ends { 3_000.0 } else { 200.0 }
            })
            .collect();
        counted(epochs, seed, |t| levels[t])
    }),
    ("flash crowd", |epochs, seed| {
        let since = |t: usize| t.checked_sub(epochs / 2).map(|since| since as f64);
        counted(epochs, seed, |t| 500.0 + since(t).map_or(0.0, |since| 20_000.0 * (-since / 100.0).exp()))
    }),
];

/// About as many as expected in each epoch, as chance has it.
fn counted(epochs: usize, seed: u64, expected: impl Fn(usize) -> f64) -> Vec<f64> {
    (0..epochs).map(expected).enumerate().map(|(t, n)| (n + n.sqrt() * normal(seed, t)).round().max(0.0)).collect()
}

fn sine(t: usize, period: usize) -> f64 {
    (TAU * t as f64 / period as f64).sin()
}

/// In [0, 1).
fn uniform(seed: u64, t: usize) -> f64 {
    (stable_hash(&(seed, t as u64)) >> 11) as f64 / (1u64 << 53) as f64
}

/// With mean 0 and variance 1 (Box and Muller).
fn normal(seed: u64, t: usize) -> f64 {
    (-2.0 * (1.0 - uniform(seed, 2 * t)).ln()).sqrt() * (TAU * uniform(seed, 2 * t + 1)).cos()
}
