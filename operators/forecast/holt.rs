use super::Forecaster;

/// Holt's linear trend, damped: a level, and a growth that fades by `damping` per epoch.
///
/// With error `e(t) = y(t) - l(t-1) - φ b(t-1)`, level `l(t) = l(t-1) + φ b(t-1) + α e(t)` and growth
/// `b(t) = φ b(t-1) + β e(t)`, the forecast is `l + (φ + φ² + … + φ^h) b`, and its variance
/// `s² (1 + Σ c(j)²)` over `j < h`, with `c(j) = α + β (φ + … + φ^j)`: model ETS(A,Ad,N) of Hyndman, Koehler, Ord and
/// Snyder, *Forecasting with Exponential Smoothing* (Springer 2008), table 6.1. The model is Gardner's and McKenzie's
/// (Forecasting trends in time series, Management Science 31, 1985).
#[derive(Clone, Debug, PartialEq)]
pub struct DampedHolt {
    alpha: f64,
    beta: f64,
    damping: f64,
    state: Option<(f64, f64)>,
}

impl DampedHolt {
    /// A model with the weight `alpha` of an error in the level, `beta` in the growth, and this damping, each in [0,
    /// 1]; what lies outside is taken for the nearer end, and what is not a number for 0.
    pub fn new(alpha: f64, beta: f64, damping: f64) -> Self {
        let [alpha, beta, damping] = [alpha, beta, damping].map(|p| if p.is_nan() { 0.0 } else { p.clamp(0.0, 1.0) });
        DampedHolt { alpha, beta, damping, state: None }
    }
}

impl Forecaster for DampedHolt {
    fn observe(&mut self, value: f64) {
        let Some((level, growth)) = self.state else {
            self.state = value.is_finite().then_some((value, 0.0));
            return;
        };
        let growth = self.damping * growth;
        let expected = level + growth;
        let error = value - expected;
        if !error.is_finite() {
            self.state = Some(if expected.is_finite() { (expected, growth) } else { (level, 0.0) });
            return;
        }
        self.state = Some((expected + self.alpha * error, growth + self.beta * error));
    }

    fn expect(&self, means: &mut [f64]) {
        let (mut level, mut growth) = self.state.unwrap_or_default();
        for mean in means {
            growth *= self.damping;
            level += growth;
            *mean = level;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forecast_is_the_published_one() {
        let mut model = DampedHolt::new(0.5, 0.2, 0.9);
        [10.0, 12.0, 13.0].iter().for_each(|v| model.observe(*v));
        // e = 2: l = 11, b = 0.4. Expected 11.36, e = 1.64: l = 12.18, b = 0.36 + 0.328 = 0.688.
        let two = model.forecast(2);
        assert!((two.mean - (12.18 + (0.9 + 0.81) * 0.688)).abs() < 1e-12);
    }

    #[test]
    fn growth_goes_on_through_a_hole() {
        let mut model = DampedHolt::new(0.8, 0.8, 1.0);
        (0..50).for_each(|v| model.observe(f64::from(v)));
        model.observe(f64::NAN);
        assert!((model.forecast(1).mean - 51.0).abs() < 1e-3);
    }
}
