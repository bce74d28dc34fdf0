//! How far forecasts are off: from their mean square, or from the errors themselves.

use std::collections::VecDeque;

use super::Forecast;

/// The mean of the squares of errors.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spread {
    errors: u64,
    mean: f64,
}

impl Spread {
    pub(super) fn add(&mut self, error: f64) {
        self.errors += 1;
        self.mean += (error * error - self.mean) / self.errors as f64;
    }

    /// The forecast whose variance is so many times the mean square; of which nothing is known before the first error.
    pub(super) fn around(&self, mean: f64, factor: f64) -> Forecast {
        let deviation = (self.mean * factor).sqrt();
        if !mean.is_finite() {
            return Forecast::unsure(0.0);
        }
        if self.errors == 0 || !deviation.is_finite() {
            return Forecast::unsure(mean);
        }
        Forecast::normal(mean, deviation)
    }
}

/// A mean of absolute errors on which outliers have little influence.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Size {
    errors: u64,
    mean: f64,
}

impl Size {
    /// The weight of an error, once there are many.
    const WEIGHT: f64 = 0.005;
    /// No error counts for more than so many times the mean.
    const MOST: f64 = 3.0;

    pub(super) fn add(&mut self, error: f64) {
        self.errors += 1;
        let bounded = if self.mean > 0.0 { error.abs().min(Self::MOST * self.mean) } else { error.abs() };
        self.mean += Self::WEIGHT.max(1.0 / self.errors as f64) * (bounded - self.mean);
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors
    }

    pub(super) fn mean(&self) -> f64 {
        self.mean
    }
}

/// The newest errors, from whose order the interval is taken.
///
/// The ends are those of split conformal prediction with weights that fall with age: Barber, Candès, Ramdas and
/// Tibshirani, Conformal prediction beyond exchangeability (Annals of Statistics 51, 2023). While there are too few
/// errors for that, it is Student's interval.
#[derive(Clone, Debug, Default)]
pub(super) struct Residuals {
    /// Oldest first.
    values: VecDeque<f64>,
}

impl Residuals {
    /// So many are kept.
    const MOST: usize = 256;
    /// So many say something.
    const FEWEST: usize = 8;
    /// From so many on, the order does.
    const ENOUGH: usize = 60;
    /// What is left of an error's weight when there is another one.
    const KEEP: f64 = 0.97;
    /// The part of the errors that are to lie outside on either side.
    const OUTSIDE: f64 = 0.025;

    pub(super) fn add(&mut self, error: f64) {
        if self.values.len() == Self::MOST {
            self.values.pop_front();
        }
        self.values.push_back(error);
    }

    /// By how much a value is below, and above, its forecast at most, in 95 of 100 cases.
    pub(super) fn ends(&self) -> Option<(f64, f64)> {
        let weights = std::iter::successors(Some(1.0), |weight| Some(weight * Self::KEEP));
        let mut weighted: Vec<(f64, f64)> = self.values.iter().rev().copied().zip(weights).collect();
        let total: f64 = weighted.iter().map(|e| e.1).sum();
        if weighted.len() < Self::FEWEST {
            return None;
        }
        if weighted.len() < Self::ENOUGH {
            let mean_square = weighted.iter().map(|(error, weight)| weight * error * error).sum::<f64>() / total;
            // Student's quantile, to within 1 % from 8 degrees of freedom on.
            let half = mean_square.sqrt() * (Forecast::Z95 + 2.5 / (total - 1.0));
            return Some((-half, half));
        }
        weighted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        // The error to come counts as one more, that lies outside.
        let outside = (Self::OUTSIDE * (total + 1.0) - 0.5).max(0.0);
        Some((quantile(weighted.iter(), outside), quantile(weighted.iter().rev(), outside)))
    }
}

/// The first of these errors at which their weights add up to more than this.
fn quantile<'a>(errors: impl Iterator<Item = &'a (f64, f64)>, weight: f64) -> f64 {
    let (mut sum, mut last) = (0.0, 0.0);
    for (error, more) in errors {
        last = *error;
        sum += more;
        if sum > weight {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twentieth_lies_outside() {
        let mut residuals = Residuals::default();
        (0..7).for_each(|_| residuals.add(1.0));
        assert_eq!(residuals.ends(), None);
        (0..1_000).for_each(|i| residuals.add(f64::from(i * 37 % 200)));
        let (low, high) = residuals.ends().unwrap();
        let inside = residuals.values.iter().filter(|e| (low..=high).contains(*e)).count();
        assert!((240..=250).contains(&inside), "{inside} of 256 in {low} to {high}");
    }
}
