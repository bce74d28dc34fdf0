use super::Forecaster;

/// The best of several models, by the squares of the errors each made one epoch ahead.
///
/// So parameters and orders are chosen while the series goes on, without a fit: the accumulated prediction error as a
/// criterion is Rissanen's *predictive least squares* (Order estimation by accumulated prediction errors, Journal of
/// Applied Probability 23A, 1986). An error counts for less the older it is, so that the choice may change.
///
/// ```
/// use thalweg::forecast::{Exponential, Forecaster, Tuned};
///
/// let mut model = Tuned::new([0.1, 0.5, 0.9].map(Exponential::new));
/// for step in 0..100 {
///     model.observe(f64::from(step * step));
/// }
/// assert_eq!(model.best().forecast(1).mean, model.forecast(1).mean);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned<M> {
    models: Vec<M>,
    errors: Vec<f64>,
    best: usize,
}

/// What is left of an error's weight one epoch later: half after 700.
const KEEP: f64 = 0.999;

impl<M: Forecaster> Tuned<M> {
    /// Chooses among these models, of which the first is used until errors differ.
    ///
    /// # Panics
    ///
    /// Panics if there are none.
    pub fn new(models: impl IntoIterator<Item = M>) -> Self {
        let models: Vec<M> = models.into_iter().collect();
        assert!(!models.is_empty(), "there must be a model to choose");
        Tuned { errors: vec![0.0; models.len()], models, best: 0 }
    }

    /// The model that has been best so far.
    pub fn best(&self) -> &M {
        &self.models[self.best]
    }
}

impl<M: Forecaster> Forecaster for Tuned<M> {
    fn observe(&mut self, value: f64) {
        for (model, sum) in self.models.iter_mut().zip(&mut self.errors) {
            let mut next = [0.0];
            model.expect(&mut next);
            let error = value - next[0];
            if error.is_finite() {
                *sum = KEEP * *sum + error * error;
            }
            model.observe(value);
        }
        for (index, error) in self.errors.iter().enumerate() {
            if error.total_cmp(&self.errors[self.best]).is_lt() {
                self.best = index;
            }
        }
    }

    fn expect(&self, means: &mut [f64]) {
        self.best().expect(means);
    }
}
