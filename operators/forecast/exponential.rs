use super::{Forecast, Forecaster};

/// Simple exponential smoothing: the forecast is a mean of the past whose weights fall by `1 - alpha` per epoch.
///
/// Level and error are `l(t) = l(t-1) + alpha e(t)`, `e(t) = y(t) - l(t-1)`, beginning with the first value. The
/// variance of a forecast `h` epochs ahead is `s² (1 + (h - 1) alpha²)`, `s²` being the mean of `e²`: Hyndman, Koehler,
/// Ord and Snyder, *Forecasting with Exponential Smoothing* (Springer 2008), table 6.1, model ETS(A,N,N).
///
/// ```
/// use thalweg::forecast::{Exponential, Forecaster};
///
/// let mut model = Exponential::new(0.5);
/// assert!(!model.forecast(1).is_sure());
/// for records in [100.0, 104.0, 96.0] {
///     model.observe(records);
/// }
/// let next = model.forecast(1);
/// assert_eq!(next.mean, 99.0);
/// assert!(next.low < 96.0 && next.high > 104.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Exponential {
    alpha: f64,
    level: Option<f64>,
    errors: u64,
    /// The mean of the squared errors.
    variance: f64,
}

impl Exponential {
    /// A model that gives the newest value the weight `alpha`, in (0, 1]; what lies outside is taken for the nearer
    /// end, and what is not a number for 1.
    pub fn new(alpha: f64) -> Self {
        let alpha = if alpha.is_nan() { 1.0 } else { alpha.clamp(f64::EPSILON, 1.0) };
        Exponential { alpha, level: None, errors: 0, variance: 0.0 }
    }
}

impl Forecaster for Exponential {
    fn observe(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        let Some(level) = self.level else {
            self.level = Some(value);
            return;
        };
        // As a weighted mean rather than `level + alpha * error`: it can't overflow.
        self.level = Some((1.0 - self.alpha) * level + self.alpha * value);
        self.errors += 1;
        let error = value - level;
        self.variance += (error * error - self.variance) / self.errors as f64;
    }

    fn forecast(&self, horizon: usize) -> Forecast {
        let mean = self.level.unwrap_or(0.0);
        let deviation = (self.variance * (1.0 + (horizon.max(1) - 1) as f64 * self.alpha * self.alpha)).sqrt();
        if self.errors == 0 || !deviation.is_finite() {
            return Forecast::unsure(mean);
        }
        Forecast::normal(mean, deviation)
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
    fn nothing_is_known_before_two_values() {
        assert_eq!(model(0.3, &[]).forecast(3), Forecast::unsure(0.0));
        assert_eq!(model(0.3, &[7.0]).forecast(3), Forecast::unsure(7.0));
        assert!(model(0.3, &[7.0, 8.0]).forecast(3).is_sure());
    }

    #[test]
    fn what_is_no_number_is_ignored() {
        let holes = [f64::NAN, 4.0, f64::INFINITY, 6.0, f64::NEG_INFINITY, 5.0];
        assert_eq!(model(0.5, &holes), model(0.5, &[4.0, 6.0, 5.0]));
        assert_eq!(model(f64::NAN, &[1.0, 2.0]).forecast(1).mean, 2.0);
    }

    #[test]
    fn the_interval_is_the_published_one() {
        // Errors 2, -1 and 0.5: s² = 1.75; three epochs ahead its factor is 1 + 2 * 0.25.
        let forecast = model(0.5, &[10.0, 12.0, 10.0, 11.0]).forecast(3);
        let half = 1.959_963_984_540_054 * (1.75f64 * 1.5).sqrt();
        assert_eq!(forecast.mean, 10.75);
        assert!((forecast.high - 10.75 - half).abs() < 1e-12 && (10.75 - forecast.low - half).abs() < 1e-12);
    }

    /// Nineteen of twenty next values of a noisy level lie in the interval.
    #[test]
    fn the_interval_covers() {
        let noise =
            |i: u64| (0..12).map(|j| (crate::stable_hash(&(i, j)) >> 40) as f64 / (1 << 24) as f64).sum::<f64>();
        let (mut model, mut inside) = (Exponential::new(0.1), 0);
        for i in 0..2_000 {
            let next = model.forecast(1);
            inside += u64::from((next.low..=next.high).contains(&noise(i)));
            model.observe(noise(i));
        }
        assert!((1_860..=1_940).contains(&inside), "{inside} of 2000");
    }

    proptest! {
        #[test]
        fn any_series_gives_an_ordered_forecast(alpha: f64, values: Vec<f64>, horizon: usize) {
            let f = model(alpha, &values).forecast(horizon);
            prop_assert!(f.low <= f.mean && f.mean <= f.high, "{:?}", f);
        }
    }
}
