//! How far forecasts are off.

use std::collections::VecDeque;

use super::Forecast;

/// A mean of absolute errors on which outliers have little influence.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Size {
    errors: u64,
    mean: f64,
}

impl Size {
    /// The weight of an error, once there are many.
    const WEIGHT: f64 = 0.005;
    /// No error counts for more than so many times the mean: a lone one moves it by 15 %, and after thousands of zeros
    /// it takes some 150 others to forget them; at 3 it took 2,000.
    const MOST: f64 = 30.0;

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
    /// With the epoch of each, oldest first.
    values: VecDeque<(usize, f64)>,
}

impl Residuals {
    /// So many are kept.
    pub(super) const MOST: usize = 128;
    /// So many say something.
    const FEWEST: usize = 8;
    /// From so many on, the order does.
    const ENOUGH: usize = 60;
    /// The part of the errors that are to lie outside on either side, and by how much of one error less may: at 0.5, as
    /// for the median of what may be, 96 to 98 % lay inside on M4; at 0.4, 95 to 97 %.
    const LENIENCE: f64 = 0.4;
    const OUTSIDE: f64 = 0.025;

    pub(super) fn add(&mut self, epoch: usize, error: f64) {
        if self.values.len() == Self::MOST {
            self.values.pop_front();
        }
        self.values.push_back((epoch, error));
    }

    /// By how much a value is below, and above, its forecast at most, in 95 of 100 cases. The weight of an error falls
    /// to 1/e after `memory` epochs.
    pub(super) fn ends(&self, epoch: usize, memory: f64) -> Option<(f64, f64)> {
        let weight = |at: usize| (-((epoch - at) as f64) / memory).exp();
        let mut weighted: Vec<(f64, f64)> = self.values.iter().map(|(at, error)| (*error, weight(*at))).collect();
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
        let outside = (Self::OUTSIDE * (total + 1.0) - Self::LENIENCE).max(0.0);
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
    fn one_outlier_says_little_and_silence_is_forgotten() {
        let mut size = Size::default();
        (0..1_000).for_each(|_| size.add(1.0));
        size.add(-1e9);
        assert!(size.mean() > 1.0 && size.mean() < 1.2, "{size:?}");
        (0..5_000).for_each(|_| size.add(0.0));
        (0..400).for_each(|_| size.add(1.0));
        assert!(size.mean() > 0.5, "{size:?}");
    }

    #[test]
    fn a_twentieth_lies_outside() {
        let mut residuals = Residuals::default();
        (0..7).for_each(|_| residuals.add(0, 1.0));
        assert_eq!(residuals.ends(7, 40.0), None);
        (0..1_000).for_each(|i| residuals.add(i, (i * 37 % 200) as f64));
        let (low, high) = residuals.ends(1_000, 1e9).unwrap();
        let inside = residuals.values.iter().filter(|e| (low..=high).contains(&e.1)).count();
        assert!((119..=124).contains(&inside), "{inside} of 128 in {low} to {high}");
    }
}
