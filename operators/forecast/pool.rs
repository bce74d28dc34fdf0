use std::fmt::Debug;
use std::slice::SliceIndex;

use super::scores::{Scores, span_of, steps};
use super::{
    Adjusted, Arima, DampedHolt, Exponential, Forecast, Forecaster, HoltWinters, LastValue, Periodic, SeasonalNaive,
    Seasons, Tuned,
};

/// The models for some seasons, on one scale, and how they fared.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    models: Vec<(&'static str, Box<dyn Model>)>,
    scores: Scores,
    seen: usize,
    seasons: Option<Seasons>,
    /// What each model expects, one after the other.
    paths: Vec<f64>,
}

/// A model as one of several.
trait Model: Forecaster + Debug + Send {
    fn boxed(&self) -> Box<dyn Model>;
}

impl<M: Forecaster + Debug + Clone + Send + 'static> Model for M {
    fn boxed(&self) -> Box<dyn Model> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Model> {
    fn clone(&self) -> Self {
        self.as_ref().boxed()
    }
}

/// The last value is the first of the models, and this the second.
const SEASONAL_NAIVE: usize = 1;

/// Forecasts are scored every so many epochs, or so often while a score matters.
const STRIDE: usize = 5;
const SCORES: usize = 100;

/// Epochs, and periods, after which a score has lost most of its weight.
const SCORE_EPOCHS: usize = 100;
const SCORE_PERIODS: usize = 4;

/// The power of the inverse errors that the weights are.
const TRUST: i32 = 6;

impl Pool {
    pub(super) fn new(horizon: usize, seasons: Option<Seasons>) -> Self {
        let models = models(seasons);
        let memory = SCORE_EPOCHS.max(SCORE_PERIODS * seasons.map_or(1, |s| s.period));
        let stride = STRIDE.max(memory / SCORES);
        Pool { scores: Scores::new(models.len(), horizon, stride, memory), models, seen: 0, seasons, paths: Vec::new() }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.models.iter().map(|model| model.0)
    }

    /// Goes through values of the past. Only the newest forecasts of them are scored: older ones wouldn't matter.
    pub(super) fn learn(&mut self, values: impl ExactSizeIterator<Item = f64>) {
        let unscored = values.len().saturating_sub(self.scores.reach());
        for (index, value) in values.enumerate() {
            if index < unscored {
                self.pass(value);
            } else {
                self.observe(value);
            }
        }
    }

    pub(super) fn observe(&mut self, value: f64) {
        self.scores.compare(value);
        self.pass(value);
        // What models of a season expected before it had come once says nothing of them.
        if self.seasons.is_some_and(|s| self.seen == s.period) {
            self.scores.begin_anew();
        }
        if self.scores.is_due() {
            self.score();
        }
    }

    fn pass(&mut self, value: f64) {
        self.models.iter_mut().for_each(|model| model.1.observe(value));
        self.seen += 1;
    }

    /// Writes down what is expected now.
    fn score(&mut self) {
        let mut paths = std::mem::take(&mut self.paths);
        let targets: Vec<usize> = self.scores.targets().collect();
        let horizon = targets.last().copied().unwrap_or(1);
        self.expect(&mut paths, horizon);
        let mut forecasts = Vec::with_capacity(targets.len() * (self.models.len() + 1));
        for targets in targets.chunk_by(|a, b| span_of(*a) == span_of(*b)) {
            let weights = self.weights(targets[0]);
            for target in targets {
                let expected = paths[target - 1..].iter().copied().step_by(horizon);
                forecasts.extend(expected.clone());
                forecasts.push(weights.iter().zip(expected).map(|(weight, mean)| weight * mean).sum());
            }
        }
        self.scores.write(forecasts.into_iter());
        self.paths = paths;
    }

    /// What each model expects of the next `horizon` epochs, one model after the other.
    fn expect(&self, paths: &mut Vec<f64>, horizon: usize) {
        paths.resize(self.models.len() * horizon, 0.0);
        for ((_, model), path) in self.models.iter().zip(paths.chunks_mut(horizon.max(1))) {
            model.expect(path);
        }
    }

    /// The mean of what the models expect, weighted by how they did at each horizon.
    pub(super) fn blended(&self, horizon: usize) -> Vec<f64> {
        let mut paths = Vec::new();
        self.expect(&mut paths, horizon);
        let mut blended = vec![0.0; horizon];
        for span in 0..=span_of(horizon) {
            let weights = self.weights(1 << span);
            for step in steps(span, horizon) {
                let expected = paths[step - 1..].iter().step_by(horizon);
                blended[step - 1] = weights.iter().zip(expected).map(|(weight, mean)| weight * mean).sum();
            }
        }
        blended
    }

    /// The part of each model in a forecast of this horizon. The seasonal naive one, which is the last value where
    /// there are no seasons, is all until there are scores.
    pub(super) fn weights(&self, horizon: usize) -> Vec<f64> {
        let Some(span) = self.scores.span(horizon) else {
            return (0..self.models.len()).map(|model| f64::from(u8::from(model == SEASONAL_NAIVE))).collect();
        };
        let errors = &span.errors[..self.models.len()];
        let least = errors.iter().copied().fold(f64::INFINITY, f64::min);
        let weight = |error: &f64| if *error <= least { 1.0 } else { (least / error).powi(TRUST) };
        let weights: Vec<f64> = errors.iter().map(weight).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    }

    pub(super) fn forecasts(&self, horizon: usize) -> Vec<Forecast> {
        self.scores.around(self.blended(horizon))
    }

    /// The part of the mean absolute error of the better of the naive models that was saved.
    pub(super) fn skill(&self, horizon: usize) -> Option<f64> {
        self.saved(horizon, ..=SEASONAL_NAIVE)
    }

    /// The same of the last value's.
    pub(super) fn gain(&self, horizon: usize) -> Option<f64> {
        self.saved(horizon, ..SEASONAL_NAIVE)
    }

    fn saved(&self, horizon: usize, models: impl SliceIndex<[f64], Output = [f64]>) -> Option<f64> {
        let errors = &self.scores.span(horizon)?.errors;
        let least = errors[models].iter().copied().fold(f64::INFINITY, f64::min);
        Some(if least > 0.0 { 1.0 - errors[self.models.len()] / least } else { 0.0 })
    }
}

/// The models that make sense with these seasons; the naive ones first.
fn models(seasons: Option<Seasons>) -> Vec<(&'static str, Box<dyn Model>)> {
    let Seasons { period, long } = seasons.unwrap_or(Seasons { period: 1, long: None });
    let smoothing = [0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9].map(Exponential::new);
    let damped = [(0.1, 0.02), (0.3, 0.05), (0.5, 0.1), (0.8, 0.2)];
    let damped = damped.iter().flat_map(|(a, b)| [0.8, 0.98].map(|phi| DampedHolt::new(*a, *b, phi)));
    let mut models: Vec<(&'static str, Box<dyn Model>)> = vec![
        ("last value", Box::new(LastValue::default())),
        ("seasonal naive", Box::new(SeasonalNaive::new(period))),
        ("exponential smoothing", Box::new(Tuned::new(smoothing))),
        ("damped Holt", Box::new(Tuned::new(damped))),
    ];
    if seasons.is_none() {
        models.push(("ARIMA", Box::new(Arima::tuned())));
        return models;
    }
    let cycle = long.map_or(1, |long| long / period);
    let periods = if cycle > 1 { [1, cycle, 2 * cycle] } else { [1, 2, 3] };
    let deviations = period.min(MOST_DEVIATIONS);
    models.push(("adjusted ARIMA", Box::new(Adjusted::arima(period, long))));
    models.push(("Holt-Winters", Box::new(HoltWinters::tuned(period, long))));
    models.push(("robust Holt-Winters", Box::new(HoltWinters::tuned_robust(period, long))));
    models.push(("periodic", Box::new(Periodic::new(period, &periods, 0, PERIODIC_RIDGE))));
    models.push(("periodic with deviations", Box::new(Periodic::new(period, &periods, deviations, PERIODIC_RIDGE))));
    models
}

const PERIODIC_RIDGE: f64 = 0.03;
const MOST_DEVIATIONS: usize = 6;
