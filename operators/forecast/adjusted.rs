use super::profile::Profile;
use super::tuned::Tuned;
use super::{Arima, Forecaster};

/// A model of what is left of a series without its seasons, which are added again to what it expects.
///
/// Seasonal adjustment, as in Cleveland, Cleveland, McRae and Terpenning (STL: A seasonal-trend decomposition procedure
/// based on loess, Journal of Official Statistics 6, 1990), and forecasting with it, as in Hyndman and Athanasopoulos
/// (*Forecasting: Principles and Practice*, 3rd edition, OTexts 2021, section 5.7); but online, with seasons that are
/// means of the past that fade, and smooth where that is better.
#[derive(Clone, Debug, PartialEq)]
pub struct Adjusted<M> {
    seasons: Tuned<Profile>,
    rest: M,
}

impl<M: Forecaster> Adjusted<M> {
    /// A season of so many epochs, perhaps a longer one, and a model of the rest.
    pub fn new(period: usize, long: Option<usize>, rest: M) -> Self {
        Adjusted { seasons: Profile::tuned(period, long), rest }
    }
}

impl Adjusted<Tuned<Arima>> {
    /// An [ARIMA model](Arima::tuned) of the rest.
    pub fn arima(period: usize, long: Option<usize>) -> Self {
        Self::new(period, long, Arima::tuned())
    }
}

impl<M: Forecaster> Forecaster for Adjusted<M> {
    fn observe(&mut self, value: f64) {
        self.rest.observe(value - self.seasons.best().season(0));
        self.seasons.observe(value);
    }

    fn expect(&self, means: &mut [f64]) {
        self.rest.expect(means);
        let seasons = self.seasons.best();
        means.iter_mut().enumerate().for_each(|(ahead, mean)| *mean += seasons.season(ahead));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::Exponential;

    #[test]
    fn a_level_that_shifts_and_a_season_are_told_apart() {
        let value = |t: usize| [1.0, 5.0, 2.0, 9.0][t % 4] + if t < 180 { 0.0 } else { 100.0 };
        let mut model = Adjusted::new(4, None, Exponential::new(0.7));
        (0..200).for_each(|t| model.observe(value(t)));
        for ahead in 1..=8 {
            assert!((model.forecast(ahead).mean - value(199 + ahead)).abs() < 2.0, "{ahead}");
        }
    }
}
