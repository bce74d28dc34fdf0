//! How good forecasts would have been, by the side of simpler ones.

use std::time::Instant;

use thalweg::forecast::{
    Adjusted, Arima, Blend, DampedHolt, Exponential, Forecast, Forecaster, HoltWinters, LastValue, Periodic,
    SeasonalNaive,
};

use crate::measures::{absolute_error, naive2, scale, smape};

/// The steps at which errors are compared with those of the last value.
pub const STEPS: [usize; 4] = [1, 6, 12, 48];

/// A method of forecasting that is tried.
pub struct Method {
    pub name: &'static str,
    make: fn(horizon: usize, period: usize, known: Option<usize>) -> Box<dyn Forecaster>,
}

/// All of them; the first is the one that is used.
pub const METHODS: [Method; 9] = [
    Method { name: "blend", make: |horizon, _, known| Box::new(blend(horizon, known)) },
    Method { name: "last value", make: |horizon, _, _| Box::new(LastValue::default().measured(horizon)) },
    Method {
        name: "seasonal naive",
        make: |horizon, period, _| Box::new(SeasonalNaive::new(period).measured(horizon)),
    },
    Method { name: "exponential smoothing", make: |horizon, _, _| Box::new(Exponential::new(0.3).measured(horizon)) },
    Method { name: "damped Holt", make: |horizon, _, _| Box::new(DampedHolt::new(0.5, 0.1, 0.9).measured(horizon)) },
    Method {
        name: "Holt-Winters",
        make: |horizon, period, _| Box::new(HoltWinters::tuned(period, None).measured(horizon)),
    },
    Method { name: "ARIMA", make: |horizon, _, _| Box::new(Arima::tuned().measured(horizon)) },
    Method {
        name: "adjusted ARIMA",
        make: |horizon, period, _| Box::new(Adjusted::arima(period, None).measured(horizon)),
    },
    Method {
        name: "periodic",
        make: |horizon, period, _| Box::new(Periodic::new(period, &[1, 2, 3, 7], 3, 0.05).measured(horizon)),
    },
];

/// The combination of all models, with the season that is known, if it is.
pub fn blend(horizon: usize, known: Option<usize>) -> Blend {
    known.map_or_else(|| Blend::new(horizon), |period| Blend::with_period(horizon, period))
}

/// What a method's forecasts turned out to be worth, summed over series and origins.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub smape: Sum,
    pub mase: Sum,
    /// Of the values that came, those that were within their interval.
    pub covered: Sum,
    /// At each of the steps, per series: the sum of absolute errors.
    pub steps: Vec<[f64; STEPS.len()]>,
    pub seconds: f64,
    pub values: u64,
}

/// A mean in the making.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    sum: f64,
    count: u64,
}

impl Sum {
    /// Leaves out what is not a number.
    fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.sum += value;
            self.count += 1;
        }
    }

    /// Not a number if there is nothing.
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// The measures of each method, then of the benchmark.
pub struct Backtest {
    pub tallies: Vec<Tally>,
    pub naive2: Tally,
    pub origins: usize,
    every: usize,
    /// Series too short to hold anything out.
    pub short: usize,
    horizon: usize,
    known: Option<usize>,
}

impl Backtest {
    pub fn new(horizon: usize, origins: usize, every: usize, known: Option<usize>) -> Self {
        let tallies = METHODS.iter().map(|_| Tally::default()).collect();
        Backtest { tallies, naive2: Tally::default(), origins, every, short: 0, horizon, known }
    }

    /// How many steps each forecast goes.
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// Tries all methods on a series.
    pub fn add(&mut self, values: &[f64]) {
        let last = values.len().saturating_sub(self.horizon);
        let origin = |back: usize| last.checked_sub(back * self.every).filter(|at| *at >= 2);
        let origins: Vec<usize> = (0..self.origins).rev().filter_map(origin).collect();
        let Some(first) = origins.first() else {
            self.short += 1;
            return;
        };
        let period = self.known.unwrap_or_else(|| found(&values[..*first]));
        for (index, method) in METHODS.iter().enumerate() {
            let mut model = (method.make)(self.horizon, period, self.known);
            let mut steps = [0.0; STEPS.len()];
            let mut known = 0;
            for at in &origins {
                let begin = Instant::now();
                values[known..*at].iter().for_each(|value| model.observe(*value));
                let forecasts = model.forecasts(self.horizon);
                let tally = &mut self.tallies[index];
                tally.seconds += begin.elapsed().as_secs_f64();
                tally.values += (at - known) as u64;
                known = *at;
                let (before, actual) = (&values[..*at], &values[*at..*at + self.horizon]);
                tally.judge(before, actual, &forecasts, period, &mut steps);
            }
            self.tallies[index].steps.push(steps);
        }
        for at in origins {
            let means = naive2(&values[..at], period, self.horizon);
            let forecasts: Vec<Forecast> = means.into_iter().map(Forecast::unsure).collect();
            self.naive2.judge(
                &values[..at],
                &values[at..at + self.horizon],
                &forecasts,
                period,
                &mut Default::default(),
            );
        }
    }
}

impl Tally {
    fn judge(
        &mut self,
        before: &[f64],
        actual: &[f64],
        forecasts: &[Forecast],
        period: usize,
        steps: &mut [f64; STEPS.len()],
    ) {
        let means: Vec<f64> = forecasts.iter().map(|forecast| forecast.mean).collect();
        self.smape.add(smape(actual, &means));
        let scale = scale(before, period);
        if scale > 0.0 {
            self.mase.add(absolute_error(actual, &means) / scale);
        }
        for (value, forecast) in actual.iter().zip(forecasts).filter(|(value, _)| value.is_finite()) {
            let covered = forecast.low <= *value && *value <= forecast.high;
            self.covered.add(if covered { 1.0 } else { 0.0 });
        }
        for (sum, step) in steps.iter_mut().zip(STEPS) {
            if let (Some(value), Some(mean)) = (actual.get(step - 1), means.get(step - 1))
                && value.is_finite()
            {
                *sum += (value - mean).abs();
            }
        }
    }

    /// The mean of sMAPE and MASE, each relative to the benchmark's.
    pub fn owa(&self, benchmark: &Tally) -> f64 {
        let ratios = [(&self.smape, &benchmark.smape), (&self.mase, &benchmark.mase)].map(|(a, b)| a.mean() / b.mean());
        (ratios[0] + ratios[1]) / 2.0
    }

    /// The geometric mean over series of the absolute error relative to another's, at each of the steps.
    pub fn relative(&self, other: &Tally) -> [f64; STEPS.len()] {
        std::array::from_fn(|step| {
            let mut logarithms = Sum::default();
            for (own, other) in self.steps.iter().zip(&other.steps) {
                logarithms.add((own[step] / other[step]).ln());
            }
            logarithms.mean().exp()
        })
    }
}

/// The period that is found in these values; 1 if there is none.
fn found(values: &[f64]) -> usize {
    let mut model = Blend::new(1);
    values.iter().for_each(|value| model.observe(*value));
    model.seasons().map_or(1, |seasons| seasons.period)
}
