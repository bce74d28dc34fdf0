use super::Forecaster;
use super::history::{Bounds, History};
use super::intervals::Size;
use super::regression::Regression;

/// Sparse periodic autoregression: the same phase in some of the last periods, and the last deviations from it.
///
/// With period `T`, the value expected is
///
/// ```text
/// y(t) = y(t-T) + Σ a(k) (y(t-kT) - y(t-T)) + Σ b(j) (y(t-j) - y(t-j-T)) + c        k among the periods, j ≤ m
/// ```
///
/// after Chen, He, Li, Liu, Nath, Rigas, Xiao and Zhao, *Energy-aware server provisioning and load dispatching for
/// connection-intensive internet services* (NSDI 2008), section 4; used for provisioning by Taft et al., *P-Store*
/// (SIGMOD 2018). Here the coefficients are ridge-fitted around "as one period ago", with an outlier's weight bounded
/// as by Huber (Robust estimation of a location parameter, Annals of Mathematical Statistics 35, 1964), and one
/// regression serves all horizons: what is expected of one epoch is taken as its value for the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Periodic {
    period: usize,
    /// In epochs, beyond the first period.
    lags: Vec<usize>,
    deviations: usize,
    ridge: f64,
    values: History,
    /// Value less that of one period before; as many as values.
    changes: History,
    seen: usize,
    bounds: Bounds,
    regression: Regression,
    features: Vec<f64>,
    size: Size,
}

/// Absolute errors beyond so many times their mean are outliers.
const OUTLIER: f64 = 1.25;

/// The ridge of the constant: growth is not to be believed in lightly.
const CONSTANT_RIDGE: f64 = 0.1;

/// Longest lags after which an observation has lost most of its weight.
const MEMORY: usize = 4;

impl Periodic {
    /// A model of a period of so many epochs that looks at the phase one, and these numbers of, periods ago, and at so
    /// many deviations.
    pub fn new(period: usize, periods: &[usize], deviations: usize, ridge: f64) -> Self {
        let period = period.max(1);
        let lags: Vec<usize> = periods.iter().filter(|k| **k > 1).map(|k| k * period).collect();
        let longest = lags.iter().copied().max().unwrap_or(period);
        let features = lags.len() + deviations + 1;
        Periodic {
            period,
            deviations,
            ridge,
            values: History::new(longest),
            changes: History::new(deviations),
            seen: 0,
            bounds: Bounds::default(),
            regression: Regression::new(features, 1.0 - 1.0 / (MEMORY * longest.max(features)) as f64),
            features: vec![0.0; features],
            size: Size::default(),
            lags,
        }
    }

    /// The features of the epoch after `values`, with the last `changes`; and the value one period before it.
    fn fill(&self, values: Ahead<'_>, changes: &[f64], features: &mut [f64]) -> Option<f64> {
        let base = values.back(self.period)?;
        let (lags, rest) = features.split_at_mut(self.lags.len());
        for (feature, lag) in lags.iter_mut().zip(&self.lags) {
            *feature = values.back(*lag).map_or(0.0, |value| value - base);
        }
        let (deviations, constant) = rest.split_at_mut(self.deviations);
        deviations.fill(0.0);
        for (feature, change) in deviations.iter_mut().zip(changes.iter().rev()) {
            *feature = *change;
        }
        constant.fill(1.0);
        Some(base)
    }

    fn learn(&mut self, change: f64) {
        let error = change - self.regression.predict(&self.features);
        self.size.add(error);
        let trust = if error == 0.0 { 1.0 } else { (OUTLIER * self.size.mean() / error.abs()).min(1.0) };
        self.regression.add(&self.features, change, trust);
        self.seen += 1;
        if self.seen.is_multiple_of(self.features.len().max(8)) {
            self.regression.solve(self.ridge, CONSTANT_RIDGE);
        }
    }
}

/// A series and how it is expected to go on.
#[derive(Clone, Copy)]
struct Ahead<'a> {
    known: &'a [f64],
    expected: &'a [f64],
}

impl Ahead<'_> {
    /// The value `steps` before the next one.
    fn back(&self, steps: usize) -> Option<f64> {
        match self.expected.len().checked_sub(steps) {
            Some(index) => self.expected.get(index).copied(),
            None => {
                let index = (self.known.len() + self.expected.len()).checked_sub(steps)?;
                self.known.get(index).copied()
            }
        }
    }
}

impl Forecaster for Periodic {
    fn observe(&mut self, value: f64) {
        let mut features = std::mem::take(&mut self.features);
        let known = Ahead { known: self.values.as_slice(), expected: &[] };
        let base = self.fill(known, self.changes.as_slice(), &mut features);
        self.features = features;
        if !value.is_finite() {
            if let Some(last) = self.values.back(1) {
                let change = base.map(|_| self.regression.predict(&self.features));
                let expected = base.zip(change).map_or(last, |(base, change)| self.bounds.clamp(base + change));
                self.changes.push(change.unwrap_or(0.0));
                self.values.push(expected);
            }
            return;
        }
        if let Some(base) = base {
            self.learn(value - base);
            self.changes.push(value - base);
        }
        self.values.push(value);
        self.bounds.add(value);
    }

    fn expect(&self, means: &mut [f64]) {
        let mut features = vec![0.0; self.features.len()];
        let mut changes = self.changes.as_slice().to_vec();
        for step in 0..means.len() {
            let (expected, rest) = means.split_at_mut(step);
            let ahead = Ahead { known: self.values.as_slice(), expected };
            rest[0] = match self.fill(ahead, &changes[changes.len().saturating_sub(self.deviations)..], &mut features) {
                Some(base) => {
                    let value = self.bounds.clamp(base + self.regression.predict(&features));
                    changes.push(value - base);
                    value
                }
                None => self.values.back(1).unwrap_or(0.0),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::Forecast;

    fn model(values: impl IntoIterator<Item = f64>) -> Periodic {
        let mut model = Periodic::new(4, &[1, 2], 2, 0.01);
        values.into_iter().for_each(|v| model.observe(v));
        model
    }

    #[test]
    fn a_cycle_is_learnt_and_goes_on_through_holes() {
        let cycle = |t: usize| [1.0, 5.0, 2.0, 9.0][t % 4];
        let holes = [41, 42, 57];
        let model = model((0..100).map(|t| if holes.contains(&t) { f64::NAN } else { cycle(t) }));
        for ahead in 1..=9 {
            assert!((model.forecast(ahead).mean - cycle(99 + ahead)).abs() < 1e-6, "{ahead}");
        }
    }

    #[test]
    fn a_deviation_is_taken_to_last_as_deviations_do() {
        // A level that swings slowly around a cycle.
        let value = |t: usize| [1.0, 5.0, 2.0, 9.0][t % 4] + 3.0 * (t as f64 / 40.0).sin();
        let model = model((0..400).map(value));
        assert!((model.forecast(1).mean - value(400)).abs() < 0.1);
    }

    #[test]
    fn before_a_period_it_is_the_last_value() {
        assert_eq!(model([]).forecast(1), Forecast::unsure(0.0));
        assert_eq!(model([1.0, 2.0]).forecast(2), Forecast::unsure(2.0));
        assert_eq!(model([1.0, 2.0, 3.0, 4.0, 5.0]).forecast(2).mean, 3.0);
    }
}
