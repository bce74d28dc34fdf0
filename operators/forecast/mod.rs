//! What comes next: models of a series behind one trait. Pure.
//!
//! A model is fed one value per epoch and asked how the series goes on. Each model is a file of its own.

mod exponential;

pub use exponential::Exponential;

/// A model of a series of one value per epoch.
pub trait Forecaster {
    /// Takes the value of the next epoch. A value that is not finite is ignored.
    fn observe(&mut self, value: f64);

    /// The value expected `horizon` epochs after the last one observed; a horizon of 0 is taken for 1.
    fn forecast(&self, horizon: usize) -> Forecast;
}

/// What a model expects of one epoch, in the unit of the series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// The expected value.
    pub mean: f64,
    /// The lower end of the 95 % prediction interval.
    pub low: f64,
    /// The upper end of the 95 % prediction interval.
    pub high: f64,
}

impl Forecast {
    /// Standard deviations of a normal distribution on either side of its mean that hold 95 % of it.
    const Z95: f64 = 1.959_963_984_540_054;

    /// A forecast of which nothing but the mean is known: its interval holds every value.
    pub fn unsure(mean: f64) -> Self {
        Forecast { mean, low: f64::NEG_INFINITY, high: f64::INFINITY }
    }

    /// The forecast with normally distributed errors of this standard deviation.
    pub fn normal(mean: f64, deviation: f64) -> Self {
        Forecast { mean, low: mean - Self::Z95 * deviation, high: mean + Self::Z95 * deviation }
    }

    /// Whether the model knows how far it may be off; where it doesn't, rules without a forecast are to be used.
    pub fn is_sure(&self) -> bool {
        self.low.is_finite() && self.high.is_finite()
    }
}
