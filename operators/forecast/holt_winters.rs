use super::intervals::Size;
use super::tuned::Tuned;
use super::{Forecaster, wrapped};

/// Holt-Winters with one or two additive seasons, a damped trend, and errors of which a part persists.
///
/// With error `e(t) = y(t) - (l + φ b + s(t) + w(t) + ρ r(t-1))`, each of level, growth and seasons takes its part of
/// the error, and `r(t)` is what the new states leave of it: Winters (Forecasting sales by exponentially weighted
/// moving averages, Management Science 6, 1960), with the second season and the autoregressive error of Taylor
/// (Short-term electricity demand forecasting using double seasonal exponential smoothing, Journal of the Operational
/// Research Society 54, 2003). On logarithms it is the multiplicative form. The states begin as means over the first
/// long period; until then the last value is forecast.
#[derive(Clone, Debug, PartialEq)]
pub struct HoltWinters {
    weights: Weights,
    /// The lengths of the seasons; the second is 0 where there is one only.
    periods: (usize, usize),
    /// The values before the states begin.
    first: Vec<f64>,
    level: f64,
    growth: f64,
    short: Vec<f64>,
    long: Vec<f64>,
    /// Epochs since the states began, modulo each period.
    phase: (usize, usize),
    persisting: f64,
    size: Size,
    robust: bool,
    last: Option<f64>,
}

/// Beyond so many times the mean absolute error, a robust model takes an error for no larger; and how many errors it
/// must have seen for that.
const OUTLIER: f64 = 1.5;
const SETTLED: u64 = 50;

/// How much of an error each state of [`HoltWinters`] takes, in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// The level.
    pub level: f64,
    /// The growth.
    pub growth: f64,
    /// What is left of the growth one epoch later.
    pub damping: f64,
    /// The (short) season.
    pub season: f64,
    /// The long season.
    pub long: f64,
    /// The part of an error that is expected one epoch later.
    pub persistence: f64,
}

const SLOW: [Weights; 5] = [
    Weights::of(0.02, 0.0, 0.1, 0.2, 0.9),
    Weights::of(0.02, 0.0, 0.03, 0.1, 0.9),
    Weights::of(0.02, 0.0, 0.3, 0.2, 0.9),
    Weights::of(0.003, 0.0, 0.03, 0.2, 0.7),
    Weights::of(0.003, 0.0, 0.1, 0.4, 0.7),
];

const QUICK: [Weights; 3] =
    [Weights::of(0.1, 0.0, 0.1, 0.2, 0.7), Weights::of(0.1, 0.01, 0.1, 0.1, 0.5), Weights::of(0.3, 0.0, 0.1, 0.1, 0.3)];

impl Weights {
    const fn of(level: f64, growth: f64, season: f64, long: f64, persistence: f64) -> Self {
        Weights { level, growth, damping: 0.98, season, long, persistence }
    }
}

impl HoltWinters {
    /// A model with a season of so many epochs, and perhaps a longer one.
    pub fn new(period: usize, long: Option<usize>, weights: Weights) -> Self {
        let period = period.max(1);
        HoltWinters {
            weights,
            periods: (period, long.filter(|long| *long > period).unwrap_or(0)),
            first: Vec::new(),
            level: 0.0,
            growth: 0.0,
            short: Vec::new(),
            long: Vec::new(),
            phase: (0, 0),
            persisting: 0.0,
            size: Size::default(),
            robust: false,
            last: None,
        }
    }

    /// The same model, but large errors change it no more than moderate ones, as in Gelper, Fried and Croux (Robust
    /// forecasting with exponential and Holt-Winters smoothing, Journal of Forecasting 29, 2010).
    pub fn robust(self) -> Self {
        HoltWinters { robust: true, ..self }
    }

    /// Weights to choose from, for series that change slowly, and quickly.
    pub fn tuned(period: usize, long: Option<usize>) -> Tuned<Self> {
        Tuned::new(SLOW.iter().chain(&QUICK).map(|weights| HoltWinters::new(period, long, *weights)))
    }

    /// Weights to choose from, for series that change slowly but have outliers.
    pub fn tuned_robust(period: usize, long: Option<usize>) -> Tuned<Self> {
        Tuned::new(SLOW.iter().map(|weights| HoltWinters::new(period, long, *weights).robust()))
    }

    fn begin(&mut self) {
        let values = std::mem::take(&mut self.first);
        let (period, long) = self.periods;
        self.level = values.iter().sum::<f64>() / values.len() as f64;
        self.short = vec![0.0; period];
        let mut counts = vec![0.0; period];
        for (index, value) in values.iter().enumerate() {
            self.short[index % period] += value - self.level;
            counts[index % period] += 1.0;
        }
        self.short.iter_mut().zip(&counts).for_each(|(sum, count)| *sum /= count);
        let left = |(index, value): (usize, &f64)| (value - self.level - self.short[index % period]) / 2.0;
        self.long = values.iter().enumerate().map(left).take(long).collect();
        self.phase = (values.len() % period, 0);
    }

    fn learn(&mut self, value: f64) {
        let Weights { level, growth, damping, season, long, persistence } = self.weights;
        let (short_at, long_at) = self.phase;
        let slow = self.long.get(long_at).copied().unwrap_or(0.0);
        let trend = damping * self.growth;
        let smooth = self.level + trend + self.short[short_at] + slow;
        let error = if value.is_finite() { value - smooth - persistence * self.persisting } else { 0.0 };
        if value.is_finite() {
            self.size.add(error);
        }
        let error = self.bounded(error);
        self.level += trend + level * error;
        self.growth = trend + growth * error;
        self.short[short_at] += season * error;
        if let Some(slow) = self.long.get_mut(long_at) {
            *slow += long * error;
        }
        let taken = level + season + if self.long.is_empty() { 0.0 } else { long };
        self.persisting = persistence * self.persisting + (1.0 - taken) * error;
        self.phase = (wrapped(short_at + 1, self.short.len()), wrapped(long_at + 1, self.long.len()));
    }

    fn bounded(&self, error: f64) -> f64 {
        if self.robust && self.size.errors() > SETTLED {
            let most = OUTLIER * self.size.mean();
            error.max(-most).min(most)
        } else {
            error
        }
    }

    fn mean(&self, horizon: usize, sum: f64, left: f64) -> f64 {
        if self.short.is_empty() {
            return self.last.unwrap_or(0.0);
        }
        let ahead = horizon - 1;
        let short = self.short[wrapped(self.phase.0 + ahead, self.short.len())];
        let long = self.long.get(wrapped(self.phase.1 + ahead, self.long.len())).copied().unwrap_or(0.0);
        self.level + sum * self.growth + short + long + left * self.persisting
    }
}

impl Forecaster for HoltWinters {
    fn observe(&mut self, value: f64) {
        if value.is_finite() {
            self.last = Some(value);
        }
        if !self.short.is_empty() {
            self.learn(value);
            return;
        }
        self.first.extend(self.last);
        if self.first.len() >= self.periods.0.max(self.periods.1) {
            self.begin();
        }
    }

    fn expect(&self, means: &mut [f64]) {
        let (mut sum, mut power, mut left) = (0.0, 1.0, 1.0);
        for (ahead, mean) in means.iter_mut().enumerate() {
            power *= self.weights.damping;
            sum += power;
            left *= self.weights.persistence;
            *mean = self.mean(ahead + 1, sum, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHTS: Weights =
        Weights { level: 0.2, growth: 0.0, damping: 1.0, season: 0.3, long: 0.2, persistence: 0.5 };

    #[test]
    fn two_seasons_are_told_apart() {
        let value = |t: usize| 50.0 + [0.0, 5.0, 2.0][t % 3] + if t % 12 >= 9 { -8.0 } else { 0.0 };
        let mut model = HoltWinters::new(3, Some(12), WEIGHTS);
        (0..600).for_each(|t| model.observe(value(t)));
        for ahead in 1..=24 {
            let forecast = model.forecast(ahead);
            assert!((forecast.mean - value(599 + ahead)).abs() < 0.01, "{ahead}: {forecast:?}");
        }
    }
}
