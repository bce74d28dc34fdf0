use super::Forecaster;
use super::history::Bounds;
use super::regression::Regression;
use super::tuned::Tuned;

/// An autoregressive integrated moving average of low order, fitted while the series goes on.
///
/// The `d`-th differences are regressed on the last `p` of them and on the last `q` errors, which are those of the
/// regression itself: recursive extended least squares (Ljung and Söderström, *Theory and Practice of Recursive
/// Identification*, MIT Press 1983, section 3.7). An observation costs less than a microsecond, where a fit by
/// likelihood costs milliseconds. The variance is `s² Σ ψ(j)²` over `j < h`, ψ being the response to an impulse (Box
/// and Jenkins, *Time Series Analysis*, 1970, section 5.1). Without differences there is a constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Arima {
    p: usize,
    integrated: bool,
    q: usize,
    last: Option<f64>,
    /// The last differences and the last errors, newest first, then 1: the features of the next one.
    features: [f64; FEATURES],
    seen: usize,
    regression: Regression,
    bounds: Bounds,
}

/// What is left of an observation's weight one later.
const KEEP: f64 = 0.998;

/// The most features of an order: differences, errors, and the constant.
const FEATURES: usize = 4;

/// After so many observations, the equations are solved after every sixteenth only.
const SETTLED: usize = 64;
const RARELY: usize = 16;

/// Enough to solve the equations of few observations.
const RIDGE: f64 = 1e-6;

impl Arima {
    /// A model of order `(p, d, q)`, `d` being 1 if `integrated` and 0 otherwise.
    ///
    /// # Panics
    ///
    /// Panics if `p + q` is more than 3.
    pub fn new(p: usize, integrated: bool, q: usize) -> Self {
        assert!(p + q < FEATURES, "of p = {p} and q = {q} the sum may be {} at most", FEATURES - 1);
        let mut features = [0.0; FEATURES];
        features[p + q] = if integrated { 0.0 } else { 1.0 };
        Arima {
            p,
            integrated,
            q,
            last: None,
            regression: Regression::new(p + q + 1, KEEP),
            features,
            seen: 0,
            bounds: Bounds::default(),
        }
    }

    /// Orders to choose from: (0, 1, 1), (1, 1, 1), (2, 1, 1), (1, 0, 1) and (2, 0, 1). Those without an average, and
    /// (3, 0, 0), changed no error by more than half a percent on any series at hand.
    pub fn tuned() -> Tuned<Self> {
        let integrated = (0..=2).map(|p| Arima::new(p, true, 1));
        Tuned::new(integrated.chain((1..=2).map(|p| Arima::new(p, false, 1))))
    }

    /// The order: autoregressive, whether integrated, and of the moving average.
    pub fn order(&self) -> (usize, bool, usize) {
        (self.p, self.integrated, self.q)
    }

    /// Moves on by one epoch, with this difference and this error.
    fn advance(features: &mut [f64], p: usize, q: usize, difference: f64, error: f64) {
        let (differences, rest) = features.split_at_mut(p);
        for (lags, newest) in [(differences, difference), (&mut rest[..q], error)] {
            lags.rotate_right(1.min(lags.len()));
            lags.first_mut().into_iter().for_each(|first| *first = newest);
        }
    }
}

/// Makes these coefficients of an autoregression those of one whose forecasts don't run away, by moving its poles
/// towards 0 until all lie within the unit circle. Least squares doesn't see to that, and a few bursts are enough.
fn fade(coefficients: &mut [f64]) {
    for _ in 0..MOST_STEPS {
        if fades(coefficients) {
            return;
        }
        let mut power = 1.0;
        for coefficient in coefficients.iter_mut() {
            power *= STEP;
            *coefficient *= power;
        }
    }
    coefficients.fill(0.0);
}

const STEP: f64 = 0.95;
const MOST_STEPS: usize = 50;

/// A reflection coefficient as large as this is taken for one on the circle.
const ON_CIRCLE: f64 = 0.999;

/// Whether all poles lie within the unit circle: by the reflection coefficients of Levinson's recursion, backwards
/// (Jury's criterion).
fn fades(coefficients: &[f64]) -> bool {
    let mut left = [0.0; FEATURES];
    left[..coefficients.len()].copy_from_slice(coefficients);
    for order in (1..=coefficients.len()).rev() {
        let reflection = left[order - 1];
        if reflection.is_nan() || reflection.abs() >= ON_CIRCLE {
            return false;
        }
        let before = left;
        for index in 0..order - 1 {
            left[index] = (before[index] + reflection * before[order - 2 - index]) / (1.0 - reflection * reflection);
        }
    }
    true
}

impl Forecaster for Arima {
    fn observe(&mut self, value: f64) {
        let Some(last) = self.last else {
            self.last = value.is_finite().then_some(value);
            return;
        };
        let base = if self.integrated { last } else { 0.0 };
        let expected = self.regression.predict(&self.features);
        if !value.is_finite() {
            Arima::advance(&mut self.features, self.p, self.q, expected, 0.0);
            self.last = Some(self.bounds.clamp(base + expected));
            return;
        }
        let difference = value - base;
        let error = difference - expected;
        self.seen += 1;
        self.regression.add(&self.features[..=self.p + self.q], difference, 1.0);
        if self.seen < SETTLED || self.seen.is_multiple_of(RARELY) {
            self.regression.solve(RIDGE, RIDGE);
            fade(&mut self.regression.coefficients[..self.p]);
        }
        Arima::advance(&mut self.features, self.p, self.q, difference, error);
        self.last = Some(value);
        self.bounds.add(value);
    }

    fn expect(&self, means: &mut [f64]) {
        let mut features = self.features;
        let mut last = self.last.unwrap_or(0.0);
        for mean in means {
            let next = self.regression.predict(&features);
            Arima::advance(&mut features, self.p, self.q, next, 0.0);
            last = self.bounds.clamp(if self.integrated { last + next } else { next });
            *mean = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uniform in [-1, 1).
    fn noise(i: u64) -> f64 {
        (crate::stable_hash(&i) >> 40) as f64 / (1 << 23) as f64 - 1.0
    }

    #[test]
    fn the_coefficients_of_an_autoregression_are_found() {
        let mut model = Arima::new(2, false, 0);
        let (mut before, mut last) = (0.0, 0.0);
        for i in 0..4_000 {
            (before, last) = (last, 5.0 + 1.2 * last - 0.4 * before + noise(i));
            model.observe(last);
        }
        let found = &model.regression.coefficients;
        assert!((found[0] - 1.2).abs() < 0.1 && (found[1] + 0.4).abs() < 0.1, "{found:?}");
        // Far ahead: the mean, 5 / (1 - 1.2 + 0.4).
        let far = model.forecast(200);
        assert!((far.mean - 25.0).abs() < 1.0, "{far:?}");
    }

    #[test]
    fn the_order_is_chosen_by_what_was_predicted() {
        let mut model = Arima::tuned();
        let (mut level, mut before) = (100.0, 0.0);
        for i in 0..3_000 {
            level += noise(i) - 0.7 * before;
            before = noise(i);
            model.observe(level);
        }
        let (_, integrated, q) = model.best().order();
        assert!(integrated && q == 1, "{:?}", model.best().order());
    }
    #[test]
    fn an_autoregression_is_made_to_fade() {
        for (coefficients, stays) in [
            (vec![0.5, 0.3], true),
            (vec![1.2, -0.4], true),
            (vec![1.02], false),
            (vec![1.5, -0.4], false),
            (vec![0.2, 0.1, 0.9], false),
            (vec![f64::NAN, 0.0], false),
        ] {
            let mut faded = coefficients.clone();
            fade(&mut faded);
            assert_eq!(faded == coefficients, stays, "{coefficients:?}");
            let mut response = vec![0.0, 0.0, 1.0];
            for t in 3..2_000 {
                let next = faded.iter().enumerate().map(|(lag, c)| c * response[t - 1 - lag]).sum();
                response.push(next);
            }
            assert!(response[1_999].abs() < 0.2, "{coefficients:?} became {faded:?}");
        }
    }
}
