use super::intervals::Spread;
use super::{Forecast, Forecaster};

/// The last value again: what any other model has to beat.
///
/// The variance `h` epochs ahead is that of a random walk, `h` times the mean of the squared steps: Hyndman and
/// Athanasopoulos, *Forecasting: Principles and Practice* (3rd edition, OTexts 2021), section 5.5.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LastValue {
    last: Option<f64>,
    steps: Spread,
}

impl Forecaster for LastValue {
    fn observe(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        if let Some(last) = self.last.replace(value) {
            self.steps.add(value - last);
        }
    }

    fn forecast(&self, horizon: usize) -> Forecast {
        self.steps.around(self.last.unwrap_or(0.0), horizon.max(1) as f64)
    }

    fn expect(&self, means: &mut [f64]) {
        means.fill(self.last.unwrap_or(0.0));
    }
}
