use std::collections::VecDeque;

/// Corrects forecasts by what came of earlier ones: what has followed a forecast, on average, is a straight line of it.
///
/// A forecast of a rate that rises and falls with its logarithm is near its median, which is less than its mean; and
/// one that knows nothing rises and falls for nothing. Both show in the line, by least squares: the first makes it
/// steeper, the second flat. There is one for the horizons 1, 2 to 3, 4 to 7, and so on.
#[derive(Clone, Debug, Default)]
pub(super) struct Calibration {
    spans: Vec<Line>,
}

/// What is left of a forecast's weight one epoch later: a thousand epochs are remembered.
const KEEP: f64 = 0.999;

/// The variance of forecasts that are right, in squares of the mean, that is counted in beforehand: those that have
/// hardly varied say nothing yet of one that does. Over 25 traces, 0.01 to 0.1 are equally good.
const TRUST: f64 = 0.03;

/// No line is steeper: forecasts further apart than they should be are not pulled further yet.
const STEEPEST: f64 = 1.5;

/// The least that is expected, in parts of the mean: below it, the line says more than it knows.
const LEAST: f64 = 0.05;

/// Forecasts so many epochs ahead, those whose time has not come, and sums of products of the others with what came.
#[derive(Clone, Debug, Default)]
struct Line {
    open: VecDeque<f64>,
    weight: f64,
    forecast: f64,
    actual: f64,
    squares: f64,
    products: f64,
}

impl Calibration {
    /// Takes what came of an epoch.
    pub fn observe(&mut self, actual: f64) {
        for (span, line) in self.spans.iter_mut().enumerate() {
            line.observe(1 << span, actual);
        }
    }

    /// Takes the forecasts of the next epochs, and corrects them.
    pub fn correct(&mut self, path: &mut [f64]) {
        let spans = path.len().checked_ilog2().map_or(0, |last| last as usize + 1);
        self.spans.resize_with(spans.max(self.spans.len()), Line::default);
        for (span, line) in self.spans.iter_mut().enumerate() {
            let first = (1 << span) - 1;
            // Where nothing is forecast now, its epoch passes all the same.
            line.open.push_back(path.get(first).copied().unwrap_or(f64::NAN));
            let last = path.len().min(2 * first + 1);
            let first = first.min(last);
            path[first..last].iter_mut().for_each(|rate| *rate = line.give(*rate));
        }
    }
}

impl Line {
    fn observe(&mut self, horizon: usize, actual: f64) {
        if self.open.len() < horizon {
            return;
        }
        let Some(forecast) = self.open.pop_front().filter(|forecast| forecast.is_finite()) else { return };
        let terms = [1.0, forecast, actual, forecast * forecast, forecast * actual];
        let sums = [&mut self.weight, &mut self.forecast, &mut self.actual, &mut self.squares, &mut self.products];
        sums.into_iter().zip(terms).for_each(|(sum, term)| *sum = *sum * KEEP + term);
    }

    fn give(&self, forecast: f64) -> f64 {
        if self.weight <= 0.0 {
            return forecast;
        }
        let (mean, actual) = (self.forecast / self.weight, self.actual / self.weight);
        let variance = (self.squares / self.weight - mean * mean).max(0.0);
        let covariance = self.products / self.weight - mean * actual;
        let known = TRUST * actual * actual;
        let slope = (covariance + known) / (variance + known);
        let slope = if slope.is_finite() { slope.clamp(0.0, STEEPEST) } else { 1.0 };
        (actual + slope * (forecast - mean)).max(LEAST * actual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a path of 8 equal forecasts is corrected to after so many epochs.
    fn corrected(value: impl Fn(usize) -> (f64, f64), last: f64) -> Vec<f64> {
        let mut calibration = Calibration::default();
        for epoch in 0..500 {
            let (forecast, actual) = value(epoch);
            calibration.observe(actual);
            calibration.correct(&mut [forecast; 8]);
        }
        let mut path = vec![last; 8];
        calibration.correct(&mut path);
        path
    }

    #[test]
    fn the_first_forecasts_are_left_as_they_are() {
        let mut path = [3.0, 1.0, 4.0, 1.0, 5.0];
        Calibration::default().correct(&mut path);
        assert_eq!(path, [3.0, 1.0, 4.0, 1.0, 5.0]);
        Calibration::default().correct(&mut []);
    }

    #[test]
    fn what_was_learnt_outlasts_an_epoch_without_a_forecast() {
        let mut calibration = Calibration::default();
        let mut corrected = 0.0;
        for epoch in 0..400 {
            calibration.observe(130.0);
            let mut path = vec![100.0; if epoch % 50 == 7 { 0 } else { 8 }];
            calibration.correct(&mut path);
            corrected = path.last().copied().unwrap_or(corrected);
            assert!(calibration.spans.iter().enumerate().all(|(span, line)| line.open.len() <= 1 << span));
        }
        assert!((corrected - 130.0).abs() < 1e-6, "{corrected}");
    }

    #[test]
    fn right_forecasts_are_kept_and_low_ones_raised() {
        let slow = |epoch: usize| 100.0 + (epoch / 100) as f64;
        assert!(corrected(|epoch| (slow(epoch), slow(epoch)), 102.0).iter().all(|rate| (rate - 102.0).abs() < 1.0));
        let low = corrected(|_| (100.0, 130.0), 100.0);
        assert!(low.iter().all(|rate| (rate - 130.0).abs() < 1e-6), "{low:?}");
    }

    #[test]
    fn forecasts_that_know_nothing_give_the_mean() {
        let noise = |epoch: usize| (crate::stable_hash(&(epoch as u64)) % 1000) as f64;
        let path = corrected(|epoch| (noise(epoch), noise(epoch + 1_000_000)), 0.0);
        assert!(path.iter().all(|rate| (400.0..600.0).contains(rate)), "{path:?}");
    }
}
