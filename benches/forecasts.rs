//! How good forecasts are and what they cost, by the side of simpler ones: series made here, and those of `--input`.
//!
//! All models go through each series in turn, in one run. At every third epoch after the first fifth each forecasts
//! 48 ahead; errors are relative to the last value's. What an observation costs is CPU time, relative to one of
//! exponential smoothing.

mod common;
#[path = "../examples/forecast/measures.rs"]
mod measures;

use std::f64::consts::TAU;
use std::hint::black_box;
use std::path::PathBuf;

use clap::Parser;
use common::{cpu_seconds, finish, interleave};
use measures::{absolute_error, mean, naive2, scale, smape};
use serde_json::json;
use thalweg::forecast::{
    Adjusted, Arima, Blend, DampedHolt, Exponential, Forecaster, HoltWinters, LastValue, Periodic, SeasonalNaive,
};
use thalweg::stable_hash;

const STEPS: [usize; 4] = [1, 6, 12, 48];
const FURTHEST: usize = STEPS[STEPS.len() - 1];

/// Observed anew so often per run: less than some 50 ms of CPU time can't be told.
const LEAST_OBSERVED: usize = 200_000;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    common: common::Arguments,
    /// Files with a value per line, or with a header and the value in the last of the columns; each a series.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    input: Vec<PathBuf>,
}

struct Method {
    name: &'static str,
    make: fn(period: usize) -> Box<dyn Forecaster>,
}

const METHODS: [Method; 9] = [
    Method { name: "last value", make: |_| Box::new(LastValue::default().measured(FURTHEST)) },
    Method { name: "exponential smoothing", make: |_| Box::new(Exponential::new(0.3).measured(FURTHEST)) },
    Method { name: "seasonal naive", make: |period| Box::new(SeasonalNaive::new(period).measured(FURTHEST)) },
    Method { name: "damped Holt", make: |_| Box::new(DampedHolt::new(0.5, 0.1, 0.9).measured(FURTHEST)) },
    Method { name: "Holt-Winters", make: |period| Box::new(HoltWinters::tuned(period, None).measured(FURTHEST)) },
    Method { name: "ARIMA", make: |_| Box::new(Arima::tuned().measured(FURTHEST)) },
    Method { name: "adjusted ARIMA", make: |period| Box::new(Adjusted::arima(period, None).measured(FURTHEST)) },
    Method { name: "periodic", make: |period| Box::new(Periodic::new(period, &[1, 2, 7], 3, 0.05).measured(FURTHEST)) },
    Method { name: "blend", make: |_| Box::new(Blend::new(FURTHEST)) },
];

/// Of one model on one series: sums of absolute errors, and of values within the interval, at each step.
#[derive(Clone, Copy, Default)]
struct Tally {
    errors: [f64; STEPS.len()],
    covered: [f64; STEPS.len()],
    origins: f64,
}

fn tally(mut model: Box<dyn Forecaster>, values: &[f64], stride: usize) -> Tally {
    let mut tally = Tally::default();
    for (at, value) in values.iter().enumerate() {
        if at >= values.len() / 5 && at % stride == 0 && at + FURTHEST <= values.len() {
            let forecasts = model.forecasts(FURTHEST);
            tally.origins += 1.0;
            for (index, step) in STEPS.iter().enumerate() {
                let (forecast, actual) = (forecasts[step - 1], values[at + step - 1]);
                // A missing one counts as met.
                tally.errors[index] += if actual.is_finite() { (forecast.mean - actual).abs() } else { 0.0 };
                tally.covered[index] +=
                    f64::from(u8::from(!(actual < forecast.low - 1e-9 || actual > forecast.high + 1e-9)));
            }
        }
        model.observe(*value);
    }
    tally
}

/// So many of the last origins are compared with Naive2, which goes through all values for each.
const OWA_ORIGINS: usize = 10;

/// The errors of 48 values relative to the M4 competition's benchmark; none where there is no season.
fn owa(mut model: Box<dyn Forecaster>, values: &[f64], period: usize) -> Option<f64> {
    let first = values.len().checked_sub(OWA_ORIGINS * (FURTHEST + 1)).filter(|first| *first > 0 && period > 1)?;
    let mut errors = [const { Vec::new() }; 4];
    for (at, value) in values.iter().enumerate() {
        if at >= first && (at - first) % (FURTHEST + 1) == 0 && at + FURTHEST <= values.len() {
            let (before, actual) = (&values[..at], &values[at..at + FURTHEST]);
            let mut means = vec![0.0; FURTHEST];
            model.expect(&mut means);
            let benchmark = naive2(before, period, FURTHEST);
            let unit = scale(before, period);
            let found = [&means, &benchmark].map(|means| [smape(actual, means), absolute_error(actual, means) / unit]);
            errors.iter_mut().zip(found.as_flattened()).for_each(|(errors, error)| errors.push(*error));
        }
        model.observe(*value);
    }
    let [own, own_scaled, other, other_scaled] = errors.map(mean);
    Some((own / other + own_scaled / other_scaled) / 2.0).filter(|owa| owa.is_finite())
}

/// CPU time of observing a series, per value.
fn seconds(make: &dyn Fn() -> Box<dyn Forecaster>, values: &[f64]) -> f64 {
    let times = LEAST_OBSERVED.div_ceil(values.len());
    let started = cpu_seconds();
    for _ in 0..times {
        let mut model = make();
        values.iter().for_each(|value| model.observe(*value));
        black_box(&model);
    }
    (cpu_seconds() - started) / (times * values.len()) as f64
}

/// Uniform in [-1, 1).
fn noise(series: u64, at: usize) -> f64 {
    (stable_hash(&(series, at as u64)) >> 40) as f64 / (1 << 23) as f64 - 1.0
}

/// Series of kinds that rates are of, by what they are made of.
fn made(length: usize) -> Vec<(String, Vec<f64>)> {
    let day = |at: usize, period: usize| (TAU * at as f64 / period as f64).sin();
    let cycle = (0..length).map(|t| 500.0 * (1.0 + 0.6 * day(t, 48) + 0.2 * noise(1, t))).collect();
    let week = |t: usize| if t / 24 % 7 >= 5 { 0.5 } else { 1.0 };
    let weekly = (0..length).map(|t| 500.0 * week(t) * (1.0 + 0.7 * day(t, 24) + 0.1 * noise(2, t))).collect();
    let counts = |t: usize| (4.0 * (1.0 + 0.8 * day(t, 288)) * (1.0 + noise(3, t))).round();
    let walk = (0..length).scan(1_000.0, |level: &mut f64, t| {
        *level = (*level + 10.0 * noise(4, t)).max(0.0);
        Some(*level)
    });
    let bursts = (0..length).scan(0.0, |burst: &mut f64, t| {
        *burst *= 0.8;
        *burst += if noise(5, t) > 0.99 { 3_000.0 * noise(6, t).abs() } else { 0.0 };
        Some((40.0 * (1.0 + 0.5 * day(t, 288)) * (1.0 + 0.4 * noise(7, t)) + *burst).round())
    });
    let shifts = (0..length).map(|t| [200.0, 900.0, 50.0][t / 700 % 3] * (1.0 + 0.2 * noise(8, t))).collect();
    let kinds = [
        ("a daily cycle", cycle),
        ("days and weeks", weekly),
        ("small counts", (0..length).map(counts).collect()),
        ("random walk", walk.collect()),
        ("bursts", bursts.collect()),
        ("level shifts", shifts),
    ];
    kinds.map(|(name, values)| (name.to_owned(), values)).into()
}

fn read(path: &PathBuf) -> (String, Vec<f64>) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let is_packed = path.extension().is_some_and(|extension| extension == "zst");
    let bytes = if is_packed { zstd::decode_all(&bytes[..]).expect("the file is Zstandard") } else { bytes };
    let text = String::from_utf8(bytes).expect("the file is text");
    let last = |line: &str| line.rsplit(',').next().and_then(|field| field.trim().parse().ok());
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    (name, text.lines().filter_map(last).collect())
}

fn main() {
    let arguments = Arguments::parse();
    let stride = arguments.common.sized(11, 3) as usize;
    let mut series = made(arguments.common.sized(4_000, 12_000) as usize);
    series.extend(arguments.input.iter().map(read));
    let most = arguments.common.sized(8_000, 40_000) as usize;
    let mut found = Vec::new();
    let mut logarithms = [[0.0; STEPS.len()]; METHODS.len()];
    for (name, values) in &series {
        let values = &values[..values.len().min(most)];
        let mut blend = Blend::new(FURTHEST);
        values.iter().for_each(|value| blend.observe(*value));
        let period = blend.seasons().map_or(1, |seasons| seasons.period);
        let costs: Vec<Box<dyn Fn() -> f64>> = METHODS
            .iter()
            .map(|method| Box::new(move || seconds(&|| (method.make)(period), values)) as Box<dyn Fn() -> f64>)
            .collect();
        let costs: [&dyn Fn() -> f64; METHODS.len()] = std::array::from_fn(|index| &*costs[index]);
        let costs = interleave(arguments.common.sized(3, 7) as usize, costs);
        println!("{name}: {} values, period {period}", values.len());
        println!("{:<24}{:>32}{:>8}{:>28}{:>10}{:>9}", "", "error at 1, 6, 12, 48", "OWA", "% inside", "ns", "ratio");
        let tallies = METHODS.map(|method| tally((method.make)(period), values, stride));
        for (index, (method, tally)) in METHODS.iter().zip(&tallies).enumerate() {
            let errors: [f64; STEPS.len()] = std::array::from_fn(|step| tally.errors[step] / tallies[0].errors[step]);
            let covered = tally.covered.map(|covered| 100.0 * covered / tally.origins);
            let ratio = costs[index].ratio(&costs[1]);
            print!("{:<24}", method.name);
            errors.iter().for_each(|error| print!("{error:>8.3}"));
            let owa = owa((method.make)(period), values, period);
            print!("{:>8}", owa.map_or("-".to_owned(), |owa| format!("{owa:.3}")));
            covered.iter().for_each(|covered| print!("{covered:>7.1}"));
            println!("{:>10.0}{:>9.1}", costs[index].median() * 1e9, ratio.median);
            logarithms[index].iter_mut().zip(errors).for_each(|(sum, error)| *sum += error.ln());
            let key = format!("{name}/{}", method.name);
            found.push((key, json!({ "error": errors, "owa": owa, "covered": covered, "cost": ratio.json() })));
        }
        println!();
    }
    println!("geometric means over {} series", series.len());
    for (method, sums) in METHODS.iter().zip(logarithms) {
        let means = sums.map(|sum| (sum / series.len() as f64).exp());
        print!("{:<24}", method.name);
        means.iter().for_each(|mean| print!("{mean:>8.3}"));
        println!();
        found.push((format!("all/{}", method.name), json!({ "error": means })));
    }
    finish(found);
}
