use super::scores::Scores;
use super::{FURTHEST, Forecast, Forecaster};

/// A model whose intervals are taken from its own errors, per horizon.
///
/// Now and then it is asked how the series goes on, and what comes is compared with that; so an interval is as wide as
/// errors at about its horizon have been, whatever the model takes for granted. See [`Forecaster::measured`].
#[derive(Clone, Debug)]
pub struct Measured<M> {
    model: M,
    scores: Scores,
}

/// Forecasts are compared every so many epochs, and an error has lost most of its weight after so many.
const STRIDE: usize = 5;
const MEMORY: usize = 200;

impl<M: Forecaster> Measured<M> {
    pub(super) fn new(model: M, horizon: usize) -> Self {
        Measured { model, scores: Scores::new(0, horizon.clamp(1, FURTHEST), STRIDE, MEMORY) }
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.model
    }

    fn means(&self, horizon: usize) -> Vec<f64> {
        let mut means = vec![0.0; horizon];
        self.model.expect(&mut means);
        means
    }
}

impl<M: Forecaster> Forecaster for Measured<M> {
    fn observe(&mut self, value: f64) {
        self.scores.compare(value);
        self.model.observe(value);
        if self.scores.is_due() {
            let means = self.means(self.scores.horizon());
            let targets: Vec<f64> = self.scores.targets().map(|ahead| means[ahead - 1]).collect();
            self.scores.write(targets.into_iter());
        }
    }

    fn forecasts(&self, horizon: usize) -> Vec<Forecast> {
        self.scores.around(self.means(horizon))
    }

    fn expect(&self, means: &mut [f64]) {
        self.model.expect(means);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::{Arima, Exponential, HoltWinters, LastValue, SeasonalNaive};

    fn noise(i: usize) -> f64 {
        (0..6).map(|j| (crate::stable_hash(&(i as u64, j)) >> 40) as f64 / (1 << 24) as f64 - 0.5).sum::<f64>()
    }

    /// A model that takes another series for granted has intervals that are too narrow or too wide by its own theory.
    #[test]
    fn nineteen_of_twenty_lie_inside_whatever_the_model() {
        let series: Vec<f64> = (0..3_000).map(|t| 10.0 * (t as f64 / 4.0).sin() + noise(t)).collect();
        let models: [Box<dyn Forecaster>; 5] = [
            Box::new(LastValue::default().measured(12)),
            Box::new(SeasonalNaive::new(25).measured(12)),
            Box::new(Exponential::new(0.3).measured(12)),
            Box::new(HoltWinters::tuned(25, None).measured(12)),
            Box::new(Arima::tuned().measured(12)),
        ];
        for mut model in models {
            let (mut inside, mut all) = (0, 0);
            for (t, value) in series.iter().enumerate() {
                if t > 300 && t + 12 <= series.len() {
                    let forecasts = model.forecasts(12);
                    let coming = forecasts.iter().zip(&series[t..]);
                    inside += coming.filter(|(f, y)| (f.low..=f.high).contains(*y)).count();
                    all += 12;
                }
                model.observe(*value);
            }
            let coverage = inside as f64 / f64::from(all);
            assert!((0.93..=0.97).contains(&coverage), "{coverage}");
        }
    }

    #[test]
    fn forty_values_are_enough_to_be_sure_of_the_next() {
        let mut model = Exponential::new(0.5).measured(24);
        assert!(!model.forecast(1).is_sure());
        (0..40).for_each(|t| model.observe(noise(t)));
        assert!(model.forecast(1).is_sure());
    }
}
