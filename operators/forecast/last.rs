use super::Forecaster;

/// The last value again: what any other model has to beat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LastValue {
    last: Option<f64>,
}

impl Forecaster for LastValue {
    fn observe(&mut self, value: f64) {
        if value.is_finite() {
            self.last = Some(value);
        }
    }

    fn expect(&self, means: &mut [f64]) {
        means.fill(self.last.unwrap_or(0.0));
    }
}
