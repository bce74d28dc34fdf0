//! What comes next: models of a series behind one trait. Pure.
//!
//! A model is fed one value per epoch and asked how the series goes on. Each model is a file of its own:
//!
//! | model | what it expects | an observation |
//! |---|---|---|
//! | [`LastValue`] | the last value again | 5 ns |
//! | [`SeasonalNaive`] | the same phase of the last period again | 10 ns |
//! | [`Exponential`] | a mean of the past, fading | 5 ns |
//! | [`DampedHolt`] | the same, with growth that fades | 5 ns |
//! | [`HoltWinters`] | the same, with one or two seasons | 80 ns, eight of them |
//! | [`Arima`] | what autoregression and errors of low order give | 200 ns, five orders |
//! | [`Adjusted`] | that of what is left without the seasons, and these | 300 ns |
//! | [`Periodic`] | the same phase in some past periods, and the last deviations | 30 to 250 ns |
//! | [`Blend`] | all of these, each as far as it has been right | 1 to 2.5 µs |
//!
//! [`Measured`] gives any of them intervals from the errors it makes. [`Tuned`] chooses parameters and orders by what
//! was predicted. [`Seasons`] are found in the autocorrelation. [`Blend`] is what to use where a series isn't known
//! beforehand; its [`skill`](Blend::skill) tells whether it is to be believed, and its [`gain`](Blend::gain) what that
//! is worth to those who would act on what is.
//!
//! They are written here, after the sources that each names, as they are to learn from every epoch in about a
//! microsecond. Of the crates there are, `anofox-forecast` has exponential smoothing that learns so, but its ARIMA is
//! fitted in milliseconds, and `augurs` has neither ARIMA nor seasonal smoothing.

mod adjusted;
mod arima;
mod blend;
mod exponential;
mod history;
mod holt;
mod holt_winters;
mod intervals;
mod last;
mod measured;
mod periodic;
mod pool;
mod profile;
mod regression;
mod scale;
mod scores;
mod season;
mod seasonal;
mod spectrum;
mod tuned;

pub use adjusted::Adjusted;
pub use arima::Arima;
pub use blend::Blend;
pub use exponential::Exponential;
pub use holt::DampedHolt;
pub use holt_winters::{HoltWinters, Weights};
pub use last::LastValue;
pub use measured::Measured;
pub use periodic::Periodic;
pub use season::Seasons;
pub use seasonal::SeasonalNaive;
pub use tuned::Tuned;

/// How many epochs ahead a single epoch is forecast: all epochs before it are forecast on the way.
pub const FURTHEST: usize = 1 << 16;

/// A model of a series of one value per epoch.
pub trait Forecaster {
    /// Takes the value of the next epoch. One that is not finite is missing: the epoch passes, and nothing is learnt
    /// from it.
    fn observe(&mut self, value: f64);

    /// The values expected of the next epochs: of as many as there is room for.
    fn expect(&self, means: &mut [f64]);

    /// The value expected `horizon` epochs after the last one observed; a horizon of 0 is taken for 1, and one beyond
    /// [`FURTHEST`] for that.
    fn forecast(&self, horizon: usize) -> Forecast {
        self.forecasts(horizon.clamp(1, FURTHEST)).pop().unwrap_or(Forecast::unsure(0.0))
    }

    /// The forecasts of the next `horizon` epochs. A bare model gives no interval, as what a model takes for granted is
    /// seldom so: see [`measured`](Self::measured).
    fn forecasts(&self, horizon: usize) -> Vec<Forecast> {
        let mut means = vec![0.0; horizon];
        self.expect(&mut means);
        means.into_iter().map(Forecast::unsure).collect()
    }

    /// This model with 95 % intervals from the errors it makes, for forecasts of up to `horizon` epochs ahead. Further
    /// ahead they are those of that horizon.
    ///
    /// ```
    /// use thalweg::forecast::{Exponential, Forecaster};
    ///
    /// let mut model = Exponential::new(0.5).measured(1);
    /// for epoch in 0..50 {
    ///     model.observe(f64::from(epoch * 7 % 10));
    /// }
    /// let next = model.forecast(1);
    /// assert!(next.low < 1.0 && next.high > 8.0);
    /// ```
    fn measured(self, horizon: usize) -> Measured<Self>
    where
        Self: Sized,
    {
        Measured::new(self, horizon)
    }
}

/// The index in a cycle of this length. Most are within it already, and a division takes longer than all else.
fn wrapped(index: usize, length: usize) -> usize {
    if index < length { index } else { index.checked_rem(length).unwrap_or(0) }
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

    /// Whether the model knows how far it may be off; where it doesn't, rules without a forecast are to be used.
    pub fn is_sure(&self) -> bool {
        self.low.is_finite() && self.high.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all() -> Vec<Box<dyn Forecaster>> {
        vec![
            Box::new(LastValue::default()),
            Box::new(SeasonalNaive::new(3)),
            Box::new(Exponential::new(0.4)),
            Box::new(DampedHolt::new(0.5, 0.3, 0.9)),
            Box::new(HoltWinters::tuned(3, Some(6))),
            Box::new(Arima::tuned()),
            Box::new(Adjusted::arima(3, Some(6))),
            Box::new(LastValue::default().measured(4)),
            Box::new(Periodic::new(3, &[1, 2], 3, 0.1)),
        ]
    }

    proptest! {
        #[test]
        fn each_model_takes_any_series(values: Vec<f64>, horizon in 0usize..20) {
            for mut model in all() {
                for value in &values {
                    model.observe(*value);
                }
                let f = model.forecast(horizon);
                prop_assert!(f.low <= f.mean && f.mean <= f.high, "{:?}", f);
                prop_assert_eq!(model.forecasts(horizon).len(), horizon);
            }
        }

        #[test]
        fn each_model_expects_what_it_forecasts(values in proptest::collection::vec(-9.0f64..9.0, 0..60)) {
            for mut model in all() {
                values.iter().for_each(|value| model.observe(*value));
                let mut means = [0.0; 9];
                model.expect(&mut means);
                for (mean, forecast) in means.iter().zip(model.forecasts(9)) {
                    prop_assert!((mean - forecast.mean).abs() <= 1e-9 * (1.0 + mean.abs()), "{mean} {forecast:?}");
                }
            }
        }
    }

    #[test]
    fn each_model_knows_a_constant() {
        for mut model in all() {
            (0..50).for_each(|_| model.observe(8.0));
            let f = model.forecast(5);
            assert!((f.mean - 8.0).abs() < 0.1 && f.low <= 8.0 + 1e-9 && f.high >= 8.0 - 1e-9, "{f:?}");
        }
    }
}
