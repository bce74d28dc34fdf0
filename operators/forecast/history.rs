/// The newest values of a series, as a slice.
///
/// A quarter more are held at most, so that the old ones are dropped rarely and the slice never wraps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct History {
    values: Vec<f64>,
    capacity: usize,
}

impl History {
    /// Remembers so many values, at least 1.
    pub(super) fn new(capacity: usize) -> Self {
        History { values: Vec::new(), capacity: capacity.max(1) }
    }

    pub(super) fn push(&mut self, value: f64) {
        let most = self.capacity + self.capacity.div_ceil(4);
        if self.values.len() == most {
            self.values.drain(..most - self.capacity);
        }
        let held = self.values.len();
        if held == self.values.capacity() {
            self.values.reserve_exact((2 * held).max(4).min(most) - held);
        }
        self.values.push(value);
    }

    /// What is remembered, oldest first.
    pub(super) fn as_slice(&self) -> &[f64] {
        &self.values[self.values.len().saturating_sub(self.capacity)..]
    }

    /// The value `steps` before the next one, for `steps` from 1.
    pub(super) fn back(&self, steps: usize) -> Option<f64> {
        let values = self.as_slice();
        values.len().checked_sub(steps).and_then(|index| values.get(index)).copied()
    }
}

/// What a series has been within, so that what is extrapolated doesn't run away.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bounds {
    low: f64,
    high: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { low: f64::INFINITY, high: f64::NEG_INFINITY }
    }
}

impl Bounds {
    pub(super) fn add(&mut self, value: f64) {
        self.low = self.low.min(value);
        self.high = self.high.max(value);
    }

    /// The value, or the nearest that is no further beyond what was seen than that is wide; 0 for what is no number.
    pub(super) fn clamp(&self, value: f64) -> f64 {
        let width = self.high - self.low;
        match value {
            _ if width.is_finite() && !value.is_nan() => value.max(self.low - width).min(self.high + width),
            _ if value.is_finite() => value,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let mut history = History::new(3);
        assert_eq!(history.back(1), None);
        for value in 0..20 {
            history.push(f64::from(value));
            let expected: Vec<f64> = ((value - 2).max(0)..=value).map(f64::from).collect();
            assert_eq!(history.as_slice(), expected);
            assert_eq!((history.back(1), history.back(4)), (Some(f64::from(value)), None));
            assert_eq!(history.back(0), None);
        }
    }

    #[test]
    fn nothing_runs_away() {
        let mut bounds = Bounds::default();
        [2.0, 5.0].iter().for_each(|v| bounds.add(*v));
        assert_eq!([-9.0, 3.0, 99.0].map(|v| bounds.clamp(v)), [-1.0, 3.0, 8.0]);
        assert!(bounds.clamp(f64::NAN).is_finite());
        bounds.add(f64::MAX);
        bounds.add(f64::MIN);
        assert!(bounds.clamp(f64::INFINITY).is_finite());
    }
}
