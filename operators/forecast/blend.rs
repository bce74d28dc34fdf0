use std::fmt::Debug;

use super::history::History;
use super::scale::Scale;
use super::scores::{Scores, span_of};
use super::{
    Arima, DampedHolt, Exponential, Forecast, Forecaster, HoltWinters, LastValue, Periodic, SeasonalNaive, Seasons,
    Tuned,
};

/// All models together, each trusted as far as it has been right.
///
/// Seasons are looked for in the data now and then, and those models that need one join when one is found. A forecast
/// is the mean of the models', weighted by the fifth power of the inverse of their mean absolute errors at about that
/// horizon: the combination of Bates and Granger (The combination of forecasts, Operational Research Quarterly 20,
/// 1969), with the accumulated errors of Stock and Watson (Combination forecasts of output growth in a seven-country
/// data set, Journal of Forecasting 23, 2004). Its interval is made of its own past errors. All of it is on logarithms
/// where no value is negative.
///
/// An observation takes a few microseconds, and a few thousand when seasons have changed, as the models then go through
/// all that is remembered once more.
///
/// ```
/// use thalweg::forecast::{Blend, Forecaster};
///
/// let mut model = Blend::new(24);
/// for hour in 0..24 * 10 {
///     model.observe(if hour % 24 < 8 { 100.0 } else { 900.0 });
/// }
/// assert_eq!(model.seasons().unwrap().period, 24);
/// assert!((model.forecast(9).mean - 900.0).abs() < 1.0);
/// // So exact a cycle can't be forecast better than by repeating it.
/// assert!(model.skill(9).unwrap() <= 0.0);
/// ```
#[derive(Clone, Debug)]
pub struct Blend {
    horizon: usize,
    period: Option<usize>,
    values: History,
    seen: usize,
    /// How many values there are when seasons are looked for again.
    look: usize,
    scale: Scale,
    seasons: Option<Seasons>,
    pool: Pool,
}

/// How many values are remembered.
const MEMORY: usize = 8192;

/// Seasons are looked for first after so many values, and then whenever there are a quarter more; half as many
/// more once they are not few.
const FIRST_LOOK: usize = 12;
const FEW: usize = 2_000;

impl Blend {
    /// A model for forecasts of up to `horizon` epochs ahead, that finds seasons by itself.
    pub fn new(horizon: usize) -> Self {
        Self::of(horizon, None)
    }

    /// The same with a period that is known; longer ones it still finds. One below 2 is none.
    pub fn with_period(horizon: usize, period: usize) -> Self {
        Self::of(horizon, Some(period).filter(|period| *period > 1))
    }

    fn of(horizon: usize, period: Option<usize>) -> Self {
        let horizon = horizon.max(1);
        let seasons = period.map(|period| Seasons { period, long: None });
        Blend {
            horizon,
            period,
            values: History::new(MEMORY),
            seen: 0,
            look: FIRST_LOOK,
            scale: Scale::default(),
            seasons,
            pool: Pool::new(horizon, seasons),
        }
    }

    /// The seasons found.
    pub fn seasons(&self) -> Option<Seasons> {
        self.seasons
    }

    /// How much better its forecasts of about this horizon have been than the better of the last value and the seasonal
    /// naive ones: the part of their mean absolute error that it saved. 0 or less means that it knows nothing they
    /// don't; none, that it can't tell yet.
    pub fn skill(&self, horizon: usize) -> Option<f64> {
        self.pool.skill(horizon)
    }

    /// The models' names, and their parts in a forecast of this horizon.
    pub fn weights(&self, horizon: usize) -> Vec<(&'static str, f64)> {
        self.pool.names().zip(self.pool.weights(horizon)).collect()
    }

    /// Looks for seasons, and for the right scale; begins anew with what is remembered if they have changed.
    fn look_again(&mut self) {
        let part = if self.seen < FEW { 4 } else { 2 };
        self.look = self.seen + (self.seen / part).min(MEMORY / 2);
        let scale = Scale::of(self.values.as_slice());
        let seasons = self.found(scale);
        if scale != self.scale || seasons != self.seasons {
            self.begin(scale, seasons);
        }
    }

    fn found(&self, scale: Scale) -> Option<Seasons> {
        let mut scaled: Vec<f64> = Vec::with_capacity(MEMORY);
        for value in self.values.as_slice() {
            let value = scale.take(*value);
            let last = scaled.last().copied().unwrap_or(0.0);
            scaled.push(if value.is_nan() { last } else { value });
        }
        let found = match self.period {
            Some(period) => Some(Seasons::with_period(&scaled, period)),
            None => Seasons::find_again(&scaled, self.seasons.map(|s| s.period)),
        };
        // Once found, a season stays until there is another one.
        match (found, self.seasons) {
            (Some(new), Some(old)) if new.period == old.period => Some(Seasons { long: new.long.or(old.long), ..new }),
            (new, old) => new.or(old),
        }
    }

    fn begin(&mut self, scale: Scale, seasons: Option<Seasons>) {
        (self.scale, self.seasons) = (scale, seasons);
        self.pool = Pool::new(self.horizon, seasons);
        for value in self.values.as_slice() {
            self.pool.observe(scale.take(*value));
        }
    }

    fn unscaled(&self, scaled: Forecast) -> Forecast {
        let Forecast { mean, low, high } = scaled;
        let mean = self.scale.give(mean);
        // What has no end has none on any scale.
        let [low, high] = [low, high].map(|end| if end.is_finite() { self.scale.give(end) } else { end });
        Forecast { mean, low: low.min(mean), high: high.max(mean) }
    }
}

impl Forecaster for Blend {
    fn observe(&mut self, value: f64) {
        self.values.push(if value.is_finite() { value } else { f64::NAN });
        self.seen += 1;
        if value.is_finite() && !self.scale.holds(value) {
            let scale = Scale::of(self.values.as_slice());
            self.begin(scale, self.seasons);
        } else {
            self.pool.observe(self.scale.take(value));
        }
        if self.seen >= self.look {
            self.look_again();
        }
    }

    fn forecast(&self, horizon: usize) -> Forecast {
        self.forecasts(horizon.max(1)).pop().unwrap_or(Forecast::unsure(0.0))
    }

    fn forecasts(&self, horizon: usize) -> Vec<Forecast> {
        self.pool.forecasts(horizon).into_iter().map(|forecast| self.unscaled(forecast)).collect()
    }

    fn expect(&self, means: &mut [f64]) {
        let blended = self.pool.blended(&self.pool.paths(means.len()), means.len());
        means.iter_mut().zip(blended).for_each(|(mean, scaled)| *mean = self.scale.give(scaled));
    }
}

/// The models for some seasons, on one scale, and how they fared.
#[derive(Clone, Debug)]
struct Pool {
    models: Vec<(&'static str, Box<dyn Model>)>,
    scores: Scores,
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

const LAST_VALUE: usize = 0;
const SEASONAL_NAIVE: usize = 1;

/// Forecasts are scored every so many epochs, or so often while a score matters; and then some, until that has nothing
/// in common with the period.
const STRIDE: usize = 5;
const SCORES: usize = 100;

/// Epochs, and periods, after which a score has lost most of its weight.
const SCORE_EPOCHS: usize = 100;
const SCORE_PERIODS: usize = 4;

/// The power of the inverse errors that the weights are.
const TRUST: i32 = 5;

impl Pool {
    fn new(horizon: usize, seasons: Option<Seasons>) -> Self {
        let models = models(seasons);
        let period = seasons.map_or(1, |s| s.period);
        let memory = SCORE_EPOCHS.max(SCORE_PERIODS * period);
        let least = STRIDE.max(memory / SCORES);
        let stride = (least..).find(|stride| common_divisor(*stride, period) == 1).unwrap_or(least);
        Pool { scores: Scores::new(models.len(), horizon, stride, memory), models }
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.models.iter().map(|model| model.0)
    }

    fn observe(&mut self, value: f64) {
        self.scores.compare(value);
        for (_, model) in &mut self.models {
            model.observe(value);
        }
        if self.scores.is_due() {
            let horizon = self.scores.horizon();
            let mut paths = self.paths(horizon);
            paths.push(self.blended(&paths, horizon));
            self.scores.write(&paths);
        }
    }

    /// What each model expects.
    fn paths(&self, horizon: usize) -> Vec<Vec<f64>> {
        let path = |model: &dyn Model| {
            let mut means = vec![0.0; horizon];
            model.expect(&mut means);
            means
        };
        self.models.iter().map(|(_, model)| path(model.as_ref())).collect()
    }

    fn blended(&self, paths: &[Vec<f64>], horizon: usize) -> Vec<f64> {
        let mut blended = Vec::with_capacity(horizon);
        for span in 0..=span_of(horizon) {
            let weights = self.weights(1 << span);
            for step in (1 << span) - 1..((2 << span) - 1).min(horizon) {
                blended.push(weights.iter().zip(paths).map(|(weight, path)| weight * path[step]).sum());
            }
        }
        blended
    }

    /// The part of each model in a forecast of this horizon. The last value is all until there are scores.
    fn weights(&self, horizon: usize) -> Vec<f64> {
        let Some(span) = self.scores.span(horizon) else {
            return (0..self.models.len()).map(|model| f64::from(u8::from(model == LAST_VALUE))).collect();
        };
        let errors = &span.errors[..self.models.len()];
        let least = errors.iter().copied().fold(f64::INFINITY, f64::min);
        let weight = |error: &f64| if *error <= least { 1.0 } else { (least / error).powi(TRUST) };
        let weights: Vec<f64> = errors.iter().map(weight).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    }

    fn forecasts(&self, horizon: usize) -> Vec<Forecast> {
        let blended = self.blended(&self.paths(horizon), horizon);
        let mut forecasts = Vec::with_capacity(horizon);
        for span in 0..=span_of(horizon) {
            let ends = self.scores.span(1 << span).and_then(|span| span.residuals.ends());
            for mean in &blended[(1 << span) - 1..((2 << span) - 1).min(horizon)] {
                forecasts.push(match ends {
                    Some((low, high)) => Forecast { mean: *mean, low: mean + low.min(0.0), high: mean + high.max(0.0) },
                    None => Forecast::unsure(*mean),
                });
            }
        }
        forecasts
    }

    fn skill(&self, horizon: usize) -> Option<f64> {
        let span = self.scores.span(horizon)?;
        let naive = span.errors[..=SEASONAL_NAIVE].iter().copied().fold(f64::INFINITY, f64::min);
        let blend = span.errors[self.models.len()];
        Some(if naive > 0.0 { 1.0 - blend / naive } else { 0.0 })
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
        ("ARIMA", Box::new(Arima::tuned())),
    ];
    if seasons.is_some() {
        let cycle = long.map_or(1, |long| long / period);
        let periods = if cycle > 1 { [1, cycle, 2 * cycle] } else { [1, 2, 3] };
        models.push(("Holt-Winters", Box::new(HoltWinters::tuned(period, long))));
        models.push(("robust Holt-Winters", Box::new(HoltWinters::tuned_robust(period, long))));
        models.push(("periodic", Box::new(Periodic::new(period, &periods, 0, PERIODIC_RIDGE))));
        let deviations = period.min(MOST_DEVIATIONS);
        models
            .push(("periodic with deviations", Box::new(Periodic::new(period, &periods, deviations, PERIODIC_RIDGE))));
    }
    models
}

const PERIODIC_RIDGE: f64 = 0.03;
const MOST_DEVIATIONS: usize = 24;

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Uniform in [-1, 1).
    fn noise(i: usize) -> f64 {
        (crate::stable_hash(&(i as u64)) >> 40) as f64 / (1 << 23) as f64 - 1.0
    }

    fn day(t: usize) -> f64 {
        200.0 + 150.0 * (t as f64 / 24.0 * std::f64::consts::TAU).sin()
    }

    fn fed(values: impl IntoIterator<Item = f64>) -> Blend {
        let mut model = Blend::new(24);
        values.into_iter().for_each(|v| model.observe(v));
        model
    }

    #[test]
    fn a_daily_cycle_is_found_and_beats_the_naive() {
        let model = fed((0..600).map(|t| day(t) * (1.0 + 0.1 * noise(t))));
        assert_eq!(model.seasons().map(|s| s.period), Some(24));
        for ahead in [1, 6, 24] {
            let forecast = model.forecast(ahead);
            assert!((forecast.mean / day(599 + ahead) - 1.0).abs() < 0.1, "{ahead}: {forecast:?}");
            assert!(forecast.is_sure() && model.skill(ahead).unwrap() > 0.1);
        }
    }

    #[test]
    fn it_knows_that_it_knows_nothing_of_a_random_walk() {
        let steps = (0..2_000).scan(500.0, |level, t| {
            *level += noise(t);
            Some(*level)
        });
        let model = fed(steps);
        assert!(model.skill(1).unwrap() < 0.05 && model.skill(24).unwrap() < 0.1);
        assert!((model.forecast(24).mean - model.forecast(1).mean).abs() < 2.0);
    }

    #[test]
    fn the_interval_covers() {
        let value = |t: usize| day(t) * (1.0 + 0.2 * noise(t));
        let mut model = Blend::new(12);
        let (mut inside, mut all) = (0, 0);
        for t in 0..2_400 {
            if t > 480 && t % 5 == 0 {
                let forecasts = model.forecasts(12);
                inside += (0..12).filter(|h| (forecasts[*h].low..=forecasts[*h].high).contains(&value(t + h))).count();
                all += 12;
            }
            model.observe(value(t));
        }
        let coverage = inside as f64 / f64::from(all);
        assert!((0.93..=0.98).contains(&coverage), "{coverage}");
    }

    #[test]
    fn a_level_shift_is_followed_and_a_spike_forgotten() {
        let shifted = fed((0..600).map(|t| day(t) * if t < 500 { 1.0 } else { 5.0 }));
        assert!((shifted.forecast(1).mean / (5.0 * day(600)) - 1.0).abs() < 0.1);
        let spiked = fed((0..600).map(|t| if t == 590 { 100_000.0 } else { day(t) }));
        assert!((spiked.forecast(1).mean / day(600) - 1.0).abs() < 0.2, "{:?}", spiked.forecast(1));
    }

    #[test]
    fn zeros_and_holes_keep_the_phase() {
        let value = |t: usize| match t {
            _ if t % 24 < 8 => 0.0,
            _ if t % 31 == 5 => f64::NAN,
            _ => 40.0,
        };
        let model = fed((0..480).map(value));
        assert!(model.forecast(4).mean < 1.0 && (model.forecast(12).mean - 40.0).abs() < 2.0);
    }

    #[test]
    fn the_constant_and_the_short_are_what_they_are() {
        assert_eq!(Blend::new(4).forecast(1), Forecast::unsure(0.0));
        assert_eq!(fed([f64::NAN; 40]).forecast(3), Forecast::unsure(0.0));
        assert!((fed([7.0]).forecast(5).mean - 7.0).abs() < 1e-9);
        assert!(fed([7.0]).skill(1).is_none() && !fed([7.0, 8.0]).forecast(1).is_sure());
        let Forecast { mean, low, high } = fed([7.0; 100]).forecast(24);
        assert!((mean - 7.0).abs() < 1e-9 && (low - 7.0).abs() < 1e-9 && (high - 7.0).abs() < 1e-9);
        assert_eq!(fed([0.0; 100]).forecast(9).mean, 0.0);
    }

    #[test]
    fn a_negative_value_ends_logarithms() {
        let model = fed((0..200).map(|t| if t == 150 { -50.0 } else { 10.0 + noise(t) }));
        assert!((model.forecast(1).mean - 10.0).abs() < 5.0);
    }

    #[test]
    fn beyond_its_horizon_it_goes_on() {
        let model = fed((0..300).map(day));
        assert!((model.forecast(100).mean / day(399) - 1.0).abs() < 0.1);
    }

    proptest! {
        #[test]
        fn any_series_gives_an_ordered_forecast(
            values: Vec<f64>,
            positive in any::<bool>(),
            horizon in 0usize..70,
            period in proptest::option::of(0usize..40),
        ) {
            let mut model = period.map_or_else(|| Blend::new(horizon), |period| Blend::with_period(horizon, period));
            for value in &values {
                model.observe(if positive { value.abs() } else { *value });
                let f = model.forecast(horizon);
                prop_assert!(f.low <= f.mean && f.mean <= f.high && f.mean.is_finite(), "{:?}", f);
            }
        }

        #[test]
        fn small_counts_are_never_expected_to_be_negative(values in proptest::collection::vec(0u8..4, 0..200)) {
            let model = fed(values.into_iter().map(f64::from));
            for f in model.forecasts(30) {
                prop_assert!(f.mean >= 0.0 && f.low <= f.mean && f.mean <= f.high, "{:?}", f);
            }
        }
    }
}
