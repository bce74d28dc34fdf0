use super::history::History;
use super::{Forecaster, wrapped};

/// The value of the same phase in the last period. In its first period it is the last value.
#[derive(Clone, Debug, PartialEq)]
pub struct SeasonalNaive {
    period: usize,
    values: History,
}

impl SeasonalNaive {
    /// A model of a period of so many epochs, at least 1.
    pub fn new(period: usize) -> Self {
        let period = period.max(1);
        SeasonalNaive { period, values: History::new(period) }
    }
}

impl Forecaster for SeasonalNaive {
    fn observe(&mut self, value: f64) {
        if value.is_finite() {
            self.values.push(value);
        } else if let Some(expected) = self.values.back(self.period).or(self.values.back(1)) {
            self.values.push(expected);
        }
    }

    fn expect(&self, means: &mut [f64]) {
        for (ahead, mean) in means.iter_mut().enumerate() {
            let same = self.values.back(self.period - wrapped(ahead, self.period));
            *mean = same.or(self.values.back(1)).unwrap_or(0.0);
        }
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
