/// On which scale a series is modelled: on logarithms where no value is negative, else as it is.
///
/// On logarithms seasons multiply, and an error counts in proportion. What is added before the logarithm makes room for
/// zeros: nothing where there are none, else 1 or the mean of the other values, if that is less.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    Plain,
    Logarithmic { offset: f64 },
}

/// That of counts.
impl Default for Scale {
    fn default() -> Self {
        Scale::Logarithmic { offset: 1.0 }
    }
}

/// An offset is as good as another within this factor.
const NEAR: f64 = 4.0;

/// Larger ones are taken for these: their squares can still be added up.
const LARGEST: f64 = 1e100;

impl Scale {
    pub(super) fn of(values: &[f64]) -> Self {
        let (mut lowest, mut positive, mut sum) = (f64::INFINITY, 0u64, 0.0);
        for value in values.iter().filter(|value| value.is_finite()) {
            lowest = lowest.min(*value);
            if *value > 0.0 {
                positive += 1;
                sum += value.min(LARGEST);
            }
        }
        match lowest {
            _ if lowest < 0.0 => Scale::Plain,
            _ if positive == 0 => Scale::default(),
            _ if lowest > 0.0 => Scale::Logarithmic { offset: 0.0 },
            _ => Scale::Logarithmic { offset: (sum / positive as f64).min(1.0) },
        }
    }

    /// Whether this scale does for values whose own is another. Zeros and negative values that were, will be again.
    pub(super) fn does_for(self, other: Scale) -> bool {
        match (self, other) {
            (Scale::Plain, _) => true,
            (_, Scale::Plain) => false,
            (Scale::Logarithmic { offset }, Scale::Logarithmic { offset: other }) => {
                other == 0.0 || (offset <= NEAR * other && other <= NEAR * offset)
            }
        }
    }

    /// Whether this value has a place on the scale.
    pub(super) fn holds(self, value: f64) -> bool {
        match self {
            Scale::Plain => true,
            Scale::Logarithmic { offset } => value >= 0.0 && value + offset > 0.0,
        }
    }

    /// The value on this scale; not a number if it is none, or not held.
    pub(super) fn take(self, value: f64) -> f64 {
        if !value.is_finite() || !self.holds(value) {
            return f64::NAN;
        }
        let value = value.clamp(-LARGEST, LARGEST);
        match self {
            Scale::Plain => value,
            Scale::Logarithmic { offset } => (value + offset).ln(),
        }
    }

    /// What is this on the scale.
    pub(super) fn give(self, scaled: f64) -> f64 {
        match self {
            Scale::Plain => scaled,
            Scale::Logarithmic { offset } => (scaled.exp() - offset).clamp(0.0, f64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_for_counts() {
        assert_eq!(Scale::of(&[]), Scale::default());
        assert_eq!(Scale::of(&[0.0, 0.0]), Scale::Logarithmic { offset: 1.0 });
        assert_eq!(Scale::of(&[3.0, f64::NAN, -1.0]), Scale::Plain);
        assert_eq!(Scale::of(&[3.0, f64::NAN, 1.0]), Scale::Logarithmic { offset: 0.0 });
        assert_eq!(Scale::of(&[3.0, 0.0, 1.0]), Scale::Logarithmic { offset: 1.0 });
        assert_eq!(Scale::of(&[0.3, 0.0, 0.1]), Scale::Logarithmic { offset: 0.2 });
    }

    #[test]
    fn a_scale_stays_while_it_does() {
        let logarithmic = |offset| Scale::Logarithmic { offset };
        assert!(Scale::Plain.does_for(logarithmic(1.0)) && !logarithmic(1.0).does_for(Scale::Plain));
        assert!(logarithmic(1.0).does_for(logarithmic(0.0)) && !logarithmic(0.0).does_for(logarithmic(1.0)));
        assert!(logarithmic(0.3).does_for(logarithmic(1.0)) && !logarithmic(0.001).does_for(logarithmic(1.0)));
    }

    #[test]
    fn what_is_taken_is_given_back() {
        for scale in [Scale::Plain, Scale::Logarithmic { offset: 0.0 }, Scale::Logarithmic { offset: 1.0 }] {
            for value in [0.5, 1.0, 1234.5] {
                assert!((scale.give(scale.take(value)) - value).abs() < 1e-9);
            }
        }
        assert!(Scale::Logarithmic { offset: 0.0 }.take(0.0).is_nan() && Scale::Plain.take(f64::INFINITY).is_nan());
        assert_eq!(Scale::Logarithmic { offset: 1.0 }.give(-3.0), 0.0);
    }
}
