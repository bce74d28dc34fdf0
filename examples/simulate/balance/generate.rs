//! Traces that are made up from a seed.

#[path = "../../common/random.rs"]
mod random;

use std::f64::consts::TAU;

use thalweg::stable_hash;

use super::trace::{Epoch, Trace};
use random::Random;

/// How the load of keys changes over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Nothing changes but by chance.
    Steady,
    /// Each key has its hour in every period, at which it has some 55 times the records of its quietest; the total
    /// cycles too, by 1 to 4.
    Cycle,
    /// Half of the keys are busy in the first half of a period, the others in the second; the total is halved in the
    /// second.
    Alternate,
    /// The logarithms of keys' loads, and of the total, walk at random.
    Walk,
    /// After each period, half of the hottest hundredth of the keys change places with others.
    Shift,
}

/// A trace to be made up.
#[derive(Clone, Copy, Debug)]
pub struct Generated {
    /// How it changes.
    pub kind: Kind,
    /// How many keys.
    pub spread: Spread,
    /// Records in a mean epoch.
    pub records: f64,
    /// Epochs.
    pub epochs: u64,
    /// Epochs in a period.
    pub period: u64,
}

/// How records are spread over keys: the key of rank r has a share in proportion to 1 / r^zipf, and keys are hashed.
/// What each has in an epoch is drawn around that as independent arrivals would be (Poisson).
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// Keys.
    pub keys: u32,
    /// The exponent; 0 makes all alike.
    pub zipf: f64,
    /// The seed of hashes and draws.
    pub seed: u64,
}

/// Steps of a walk per epoch, and how far from its start it is turned back, in logarithms.
const STEP: f64 = 0.1;
const FARTHEST: f64 = 2.0;

/// Standard normal (Box and Muller, 1958).
fn normal(random: &mut Random) -> f64 {
    (-2.0 * random.unit().ln()).sqrt() * (TAU * random.unit()).cos()
}

/// Poisson: by multiplying uniforms (Knuth, 1969) up to 30, by the normal distribution beyond.
fn poisson(mean: f64, random: &mut Random) -> u32 {
    if mean > 30.0 {
        return (mean + mean.sqrt() * normal(random)).round().max(0.0) as u32;
    }
    let (end, mut product, mut count) = ((-mean).exp(), random.unit(), 0);
    while product > end {
        product *= random.unit();
        count += 1;
    }
    count
}

/// Keys, ascending, and what each weighs.
struct Weighted {
    keys: Vec<u64>,
    weights: Vec<f64>,
    random: Random,
}

impl Spread {
    fn weighted(&self) -> Weighted {
        let share = |rank: u32| (stable_hash(&(self.seed, rank)), f64::from(rank + 1).powf(-self.zipf));
        let mut shares: Vec<(u64, f64)> = (0..self.keys).map(share).collect();
        shares.sort_by_key(|share| share.0);
        shares.dedup_by_key(|share| share.0);
        let (keys, weights) = shares.into_iter().unzip();
        Weighted { keys, weights, random: Random(self.seed) }
    }

    /// A trace with so many records in each epoch, of which none may be negative.
    pub fn trace(&self, rates: Vec<f64>) -> Trace {
        let Weighted { keys, weights, mut random } = self.weighted();
        let length = rates.len() as u64;
        let epoch = move |(number, rate)| Epoch { number, counts: draw(&mut random, &weights, rate) };
        Trace { keys, epochs: Box::new((0..).zip(rates).map(epoch)), length }
    }
}

impl Generated {
    /// Makes it up.
    pub fn trace(&self) -> Trace {
        let Weighted { keys, weights, random } = self.spread.weighted();
        let Generated { kind, records, epochs, period, .. } = *self;
        let mut state = State { random, phases: Vec::new(), walked: vec![0.0; weights.len()], total: 0.0, weights };
        state.phases = state.weights.iter().map(|_| state.random.unit()).collect();
        let epoch = move |number| {
            let (weights, total) = state.at(kind, number, period);
            Epoch { number, counts: draw(&mut state.random, &weights, records * total) }
        };
        Trace { keys, epochs: Box::new((0..epochs).map(epoch)), length: epochs }
    }
}

struct State {
    random: Random,
    weights: Vec<f64>,
    /// When in a period each key has its hour.
    phases: Vec<f64>,
    /// The logarithm of how far each weight has walked.
    walked: Vec<f64>,
    total: f64,
}

impl State {
    /// What keys weigh in an epoch, and all together in units of a mean epoch.
    fn at(&mut self, kind: Kind, epoch: u64, period: u64) -> (Vec<f64>, f64) {
        let phase = (epoch % period) as f64 / period as f64;
        let pairs = self.weights.iter().zip(&self.phases);
        match kind {
            Kind::Steady => (self.weights.clone(), 1.0),
            Kind::Cycle => {
                let weight = |(weight, hour): (&f64, &f64)| weight * (2.0 * (TAU * (phase - hour)).cos()).exp();
                (pairs.map(weight).collect(), 1.0 + 0.6 * (TAU * phase).cos())
            }
            Kind::Alternate => {
                let first = phase < 0.5;
                let weight = |(weight, hour): (&f64, &f64)| if (*hour < 0.5) == first { *weight } else { 0.1 * weight };
                (pairs.map(weight).collect(), if first { 4.0 / 3.0 } else { 2.0 / 3.0 })
            }
            Kind::Walk => {
                let random = &mut self.random;
                let mut step = |at: &mut f64, step: f64| {
                    *at = (*at + step * normal(random)).clamp(-FARTHEST, FARTHEST);
                    at.exp()
                };
                let total = step(&mut self.total, STEP / 2.0);
                (self.weights.iter().zip(&mut self.walked).map(|(w, at)| w * step(at, STEP)).collect(), total)
            }
            Kind::Shift => {
                if epoch > 0 && epoch.is_multiple_of(period) {
                    self.shift();
                }
                (self.weights.clone(), 1.0)
            }
        }
    }

    fn shift(&mut self) {
        let mut hottest: Vec<usize> = (0..self.weights.len()).collect();
        hottest.sort_by(|a, b| self.weights[*b].total_cmp(&self.weights[*a]));
        hottest.truncate(self.weights.len().div_ceil(100).max(2));
        for key in hottest.into_iter().step_by(2) {
            let other = (self.random.next() % self.weights.len() as u64) as usize;
            self.weights.swap(key, other);
        }
    }
}

fn draw(random: &mut Random, weights: &[f64], records: f64) -> Vec<(u32, u32)> {
    let each = records / weights.iter().sum::<f64>();
    let counts = (0..).zip(weights).map(|(index, weight)| (index, poisson(weight * each, random)));
    counts.filter(|(_, records)| *records > 0).collect()
}
