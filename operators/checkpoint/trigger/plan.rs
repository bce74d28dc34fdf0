use crate::checkpoint::cost::{Costs, Prices};
use crate::checkpoint::hindsight::mean_rate;

/// What checkpoints would cost over the epochs that are forecast: an epoch is long gone, or its turn comes with the
/// horizon, and what is done then is what costs least in all.
///
/// The dynamic program of [`Hindsight`](crate::checkpoint::Hindsight) on forecasts, with an end: behind the horizon
/// records arrive at their mean rate, and checkpoints are taken at the interval that is best at that.
#[derive(Clone, Debug)]
pub(super) struct Plan<'a> {
    costs: &'a Costs,
    seconds: f64,
    /// Records expected in each epoch, and what is paid in it.
    records: Vec<f64>,
    prices: Vec<Prices>,
    /// What a checkpoint at the start of each epoch costs.
    checkpoints: Vec<f64>,
    /// What follows one, until the horizon and then.
    follows: Vec<f64>,
    steady: Steady<'a>,
}

/// What a plan says of a checkpoint at its first boundary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Advice {
    /// What it costs.
    pub cost: f64,
    /// How much more the best other plan costs, at least; less than 0 where it is better to wait.
    pub waiting: f64,
}

impl<'a> Plan<'a> {
    /// Over epochs of so many seconds, with records expected at these rates in the next ones, and at a mean rate
    /// behind them. The first `late` epochs are over before a checkpoint can be taken.
    pub fn new(costs: &'a Costs, seconds: f64, rates: &[f64], mean: f64, late: usize) -> Self {
        let records: Vec<f64> = rates.iter().map(|rate| rate * seconds).collect();
        let during = |from: usize| mean_rate(&records[from..], seconds, costs.checkpoint_seconds);
        let checkpoint = |from: usize| costs.at(during(from).max(super::LULL * mean)).checkpoint;
        let mut plan = Plan {
            checkpoints: (0..rates.len()).map(checkpoint).collect(),
            prices: rates.iter().map(|rate| costs.at(*rate)).collect(),
            follows: vec![0.0; rates.len()],
            steady: Steady::new(costs, mean),
            costs,
            seconds,
            records,
        };
        for at in (late..rates.len()).rev() {
            plan.follows[at] = plan.best(at, 0.0, f64::INFINITY);
        }
        plan
    }

    /// What to do at the first boundary that is not too late, when so many records have arrived since the last
    /// checkpoint. Nothing is known when all epochs are over before.
    pub fn advise(&self, records: f64, late: usize) -> Option<Advice> {
        let cost = *self.checkpoints.get(late)?;
        let now = cost + self.follows[late];
        let records = records + self.records[..late].iter().sum::<f64>();
        Some(Advice { cost, waiting: self.best(late, records, now) - now })
    }

    /// The least that is to be paid from the start of an epoch on, with so many records since the last checkpoint, if
    /// the next is not taken at once. Once it is over `enough`, it doesn't matter by how much.
    fn best(&self, from: usize, mut records: f64, enough: f64) -> f64 {
        let (mut lost, mut best) = (0.0, f64::INFINITY);
        for at in from..self.records.len() {
            let [constant, ..] = self.prices[at].failure;
            // On average over the epoch, half of its records have arrived. What no checkpoint spares is left out.
            let failure = self.prices[at].failure(records + self.records[at] / 2.0) - constant;
            lost += self.costs.failure_rate * self.seconds * failure;
            records += self.records[at];
            if lost >= best.min(enough) {
                return best.min(lost);
            }
            best = best.min(
                lost + match self.checkpoints.get(at + 1) {
                    Some(checkpoint) => checkpoint + self.follows[at + 1],
                    None => self.steady.ahead_with(records),
                },
            );
        }
        best
    }
}

/// Arrivals at a constant rate, for ever.
#[derive(Clone, Copy, Debug)]
struct Steady<'a> {
    costs: &'a Costs,
    rate: f64,
    /// The best interval between checkpoints, in seconds.
    interval: f64,
}

impl<'a> Steady<'a> {
    fn new(costs: &'a Costs, rate: f64) -> Self {
        Steady { costs, rate, interval: costs.interval(rate) }
    }

    /// How much more there is to pay with so many records since the last checkpoint than with none: failures until the
    /// next, and that, less the mean of what is paid in such a time.
    fn ahead_with(&self, records: f64) -> f64 {
        let Steady { costs, rate, interval } = *self;
        if !interval.is_finite() || rate <= 0.0 {
            return 0.0;
        }
        let Prices { checkpoint, failure: [_, linear, square] } = costs.at(rate);
        let since = (records / rate).min(interval);
        let (linear, square) = (costs.failure_rate * linear * rate, costs.failure_rate * square * rate * rate);
        let lost = |t: f64| t * t * (linear / 2.0 + t * square / 3.0);
        // At the end of the best interval, failures cost as much as the mean.
        let mean = interval * (linear + interval * square);
        lost(interval) - lost(since) + checkpoint - mean * (interval - since)
    }
}
