//! What the benches share: CPU time, arms interleaved in one process, and ratios with their intervals.
#![allow(dead_code, reason = "each bench uses a part")]

use std::fmt;

use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};

/// What each bench can be told.
#[derive(Parser)]
pub struct Arguments {
    /// Measure less, in under two minutes.
    #[arg(long)]
    quick: bool,
    /// Given by `cargo bench`; means nothing.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    /// A size for a quick run, and one for a full run.
    pub fn sized(&self, quick: u64, full: u64) -> u64 {
        if self.quick { quick } else { full }
    }

    pub fn is_quick(&self) -> bool {
        self.quick
    }

    /// How often each arm is run.
    pub fn pairs(&self) -> usize {
        if self.quick { 5 } else { 15 }
    }
}

/// CPU time of this thread so far, in seconds: a busy machine does not disturb it as it does the clock.
pub fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// What one arm gave, run by run.
pub struct Sample(Vec<f64>);

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(runs: I) -> Self {
        Sample(runs.into_iter().collect())
    }
}

impl Sample {
    /// Of these values.
    pub fn of(values: Vec<f64>) -> Self {
        Sample(values)
    }

    pub fn median(&self) -> f64 {
        median(self.0.clone())
    }

    /// This less another, pair by pair.
    pub fn less(&self, other: &Sample) -> Sample {
        Sample(self.0.iter().zip(&other.0).map(|(a, b)| a - b).collect())
    }

    /// This over another, pair by pair: the median, and its 95 % interval by the bootstrap.
    pub fn ratio(&self, other: &Sample) -> Ratio {
        let ratios: Vec<f64> = self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect();
        let mut state = 1u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ratios[(state >> 33) as usize % ratios.len()]
        };
        let mut medians: Vec<f64> = (0..2000).map(|_| median(ratios.iter().map(|_| draw()).collect())).collect();
        medians.sort_by(f64::total_cmp);
        Ratio { median: median(ratios), low: medians[50], high: medians[1949] }
    }
}

/// A ratio with its interval.
pub struct Ratio {
    pub median: f64,
    low: f64,
    high: f64,
}

impl Ratio {
    pub fn json(&self) -> Value {
        json!({ "ratio": self.median, "low": self.low, "high": self.high })
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        write!(f, "{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.low, self.high)
    }
}

/// Runs the arms in turn, forth and back, so often each. A first run of each is left out: it is a cold start.
pub fn interleave<const N: usize>(pairs: usize, arms: [&dyn Fn() -> f64; N]) -> [Sample; N] {
    let mut samples = interleave_all(pairs, &arms).into_iter();
    std::array::from_fn(|_| samples.next().expect("there is a sample for each arm"))
}

/// The same, for any number of arms.
pub fn interleave_all(pairs: usize, arms: &[&dyn Fn() -> f64]) -> Vec<Sample> {
    let mut samples: Vec<Sample> = arms.iter().map(|_| Sample(Vec::new())).collect();
    arms.iter().for_each(|arm| _ = arm());
    for pair in 0..pairs {
        for i in 0..arms.len() {
            let arm = if pair % 2 == 0 { i } else { arms.len() - 1 - i };
            samples[arm].0.push(arms[arm]());
        }
    }
    samples
}

/// A target, and what was found.
pub struct Verdict {
    what: String,
    found: f64,
    /// `<=` or `>=`.
    relation: &'static str,
    limit: f64,
}

impl Verdict {
    /// The target is to find no more than this.
    pub fn at_most(what: impl Into<String>, found: f64, limit: f64) -> Self {
        Verdict { what: what.into(), found, relation: "<=", limit }
    }

    /// The target is to find no less than this.
    pub fn at_least(what: impl Into<String>, found: f64, limit: f64) -> Self {
        Verdict { relation: ">=", ..Verdict::at_most(what, found, limit) }
    }

    fn is_reached(&self) -> bool {
        if self.relation == "<=" { self.found <= self.limit } else { self.found >= self.limit }
    }

    /// Prints whether the target is reached, and gives that for the last line.
    pub fn tell(self) -> (String, Value) {
        println!("{self}");
        let json = json!({ "found": self.found, "limit": self.limit, "reached": self.is_reached() });
        (format!("target: {}", self.what), json)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { what, found, relation, limit } = self;
        let reached = if self.is_reached() { "reached" } else { "NOT reached" };
        if found.abs() < 0.01 && *found != 0.0 {
            write!(f, "{reached}: {what}: {found:.1e}, target {relation} {limit}")
        } else {
            write!(f, "{reached}: {what}: {found:.3}, target {relation} {limit}")
        }
    }
}

/// Prints what a bench has found as its last line.
pub fn finish(found: impl IntoIterator<Item = (String, Value)>) {
    println!("{}", Value::Object(found.into_iter().collect::<Map<_, _>>()));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
