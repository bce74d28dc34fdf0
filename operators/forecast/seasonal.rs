use super::history::History;
use super::intervals::Spread;
use super::{Forecast, Forecaster};

/// The value of the same phase in the last period.
///
/// The variance `k` periods ahead is `k` times the mean of the squared differences between periods: Hyndman and
/// Athanasopoulos, *Forecasting: Principles and Practice* (3rd edition, OTexts 2021), section 5.5. In its first period
/// it is the last value.
#[derive(Clone, Debug, PartialEq)]
pub struct SeasonalNaive {
    period: usize,
    values: History,
    steps: Spread,
}

impl SeasonalNaive {
    /// A model of a period of so many epochs, at least 1.
    pub fn new(period: usize) -> Self {
        let period = period.max(1);
        SeasonalNaive { period, values: History::new(period), steps: Spread::default() }
    }
}

impl Forecaster for SeasonalNaive {
    fn observe(&mut self, value: f64) {
        let before = self.values.back(self.period);
        if !value.is_finite() {
            if let Some(expected) = before.or(self.values.back(1)) {
                self.values.push(expected);
            }
            return;
        }
        if let Some(before) = before {
            self.steps.add(value - before);
        }
        self.values.push(value);
    }

    fn forecast(&self, horizon: usize) -> Forecast {
        let ahead = horizon.max(1) - 1;
        let mean = self.values.back(self.period - ahead % self.period).or(self.values.back(1));
        self.steps.around(mean.unwrap_or(0.0), (ahead / self.period + 1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_comes_again_and_a_hole_keeps_the_phase() {
        let mut model = SeasonalNaive::new(3);
        [1.0, 2.0, 3.0, 1.5, f64::NAN].iter().for_each(|v| model.observe(*v));
        let means: Vec<f64> = (1..=5).map(|h| model.forecast(h).mean).collect();
        assert_eq!(means, [3.0, 1.5, 2.0, 3.0, 1.5]);
    }
}
