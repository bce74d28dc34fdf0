use super::Forecaster;

/// Simple exponential smoothing: the forecast is a mean of the past whose weights fall by `1 - alpha` per epoch.
///
/// Level and error are `l(t) = l(t-1) + alpha e(t)`, `e(t) = y(t) - l(t-1)`, beginning with the first value: Hyndman,
/// Koehler, Ord and Snyder, *Forecasting with Exponential Smoothing* (Springer 2008), table 6.1, model ETS(A,N,N).
///
/// ```
/// use thalweg::forecast::{Exponential, Forecaster};
///
/// let mut model = Exponential::new(0.5);
/// for records in [100.0, 104.0, 96.0] {
///     model.observe(records);
/// }
/// assert_eq!(model.forecast(1).mean, 99.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Exponential {
    alpha: f64,
    level: Option<f64>,
}

impl Exponential {
    /// A model that gives the newest value the weight `alpha`, in (0, 1]; what lies outside is taken for the nearer
    /// end, and what is not a number for 1.
    pub fn new(alpha: f64) -> Self {
        let alpha = if alpha.is_nan() { 1.0 } else { alpha.clamp(f64::EPSILON, 1.0) };
        Exponential { alpha, level: None }
    }
}

impl Forecaster for Exponential {
    fn observe(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        // As a weighted mean rather than `level + alpha * error`: it can't overflow.
        self.level = Some(self.level.map_or(value, |level| (1.0 - self.alpha) * level + self.alpha * value));
    }

    fn expect(&self, means: &mut [f64]) {
        means.fill(self.level.unwrap_or(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn model(alpha: f64, values: &[f64]) -> Exponential {
        let mut model = Exponential::new(alpha);
        values.iter().for_each(|v| model.observe(*v));
        model
    }

    #[test]
    fn what_is_no_number_is_ignored() {
        let holes = [f64::NAN, 4.0, f64::INFINITY, 6.0, f64::NEG_INFINITY, 5.0];
        assert_eq!(model(0.5, &holes), model(0.5, &[4.0, 6.0, 5.0]));
        assert_eq!(model(f64::NAN, &[1.0, 2.0]).forecast(1).mean, 2.0);
    }

    proptest! {
        #[test]
        fn any_series_gives_an_ordered_forecast(alpha: f64, values: Vec<f64>, horizon: usize) {
            let f = model(alpha, &values).forecast(horizon);
            prop_assert!(f.low <= f.mean && f.mean <= f.high, "{:?}", f);
        }
    }
}
