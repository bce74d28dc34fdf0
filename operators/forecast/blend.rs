use super::history::History;
use super::pool::Pool;
use super::scale::Scale;
use super::{FURTHEST, Forecast, Forecaster, Seasons};

/// All models together, each trusted as far as it has been right.
///
/// Seasons are looked for in the data now and then, and those models that need one join when one is found. A forecast
/// is the mean of the models', weighted by the sixth power of the inverse of their mean absolute errors at about that
/// horizon: the combination of Bates and Granger (The combination of forecasts, Operational Research Quarterly 20,
/// 1969), with the accumulated errors of Stock and Watson (Combination forecasts of output growth in a seven-country
/// data set, Journal of Forecasting 23, 2004). Its interval is made of its own past errors. All of it is on logarithms
/// where no value is negative.
///
/// An observation takes one to two and a half microseconds, and up to some thousand times that when seasons have
/// changed, as the models then go through all that is remembered once more. Of hours with days and weeks it holds 120
/// to 140 kB, of five minutes 500, mostly the seasons of thirteen Holt-Winters models; see
/// [`remembering`](Self::remembering).
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
/// // So exact a cycle can't be forecast better than by repeating it; but much better than by the last value.
/// assert!(model.skill(9).unwrap() <= 0.0 && model.gain(9).unwrap() > 0.9);
/// ```
#[derive(Clone, Debug)]
pub struct Blend {
    horizon: usize,
    period: Option<usize>,
    memory: usize,
    values: History,
    seen: usize,
    /// How many values there are when seasons are looked for again.
    look: usize,
    scale: Scale,
    seasons: Option<Seasons>,
    pool: Pool,
}

/// How many values are remembered, if nothing else is said: four weeks of five minutes.
const MEMORY: usize = 8192;
const LEAST_MEMORY: usize = 64;

/// Seasons are looked for first after so many values, and then whenever there are a quarter more; half as many
/// more once they are not few.
const FIRST_LOOK: usize = 12;
const FEW: usize = 2_000;

impl Blend {
    /// A model for forecasts of up to `horizon` epochs ahead, that finds seasons by itself.
    pub fn new(horizon: usize) -> Self {
        Self::of(horizon, None)
    }

    /// The same with a period that is known, and taken unless the values plainly have another; longer ones it still
    /// finds. One below 2 is none.
    pub fn with_period(horizon: usize, period: usize) -> Self {
        Self::of(horizon, Some(period).filter(|period| *period > 1))
    }

    /// The same, but remembers only so many values, at least 64; the default is 8,192. A season must have come twice in
    /// them to be found, and what the models hold is in proportion to it. In bytes, that is at most some 10 for each
    /// value and 200 for each epoch of the seasons, and 50,000 besides.
    ///
    /// To be said before the first value, as what was observed is forgotten.
    #[must_use]
    pub fn remembering(self, values: usize) -> Self {
        let memory = values.max(LEAST_MEMORY);
        Blend { memory, values: History::new(memory), ..Self::of(self.horizon, self.period) }
    }

    fn of(horizon: usize, period: Option<usize>) -> Self {
        let horizon = horizon.clamp(1, FURTHEST);
        let seasons = period.map(|period| Seasons { period, long: None });
        Blend {
            horizon,
            period,
            memory: MEMORY,
            values: History::new(MEMORY),
            seen: 0,
            look: FIRST_LOOK,
            scale: Scale::default(),
            seasons,
            pool: Pool::new(horizon, seasons),
        }
    }

    /// Looks for seasons so many values later than it would, at most twice as late, so that many models which are given
    /// their values together do not all look at once.
    pub(crate) fn looking_later(self, values: usize) -> Self {
        Blend { look: self.look + values % FIRST_LOOK, ..self }
    }

    /// The seasons found.
    pub fn seasons(&self) -> Option<Seasons> {
        self.seasons
    }

    /// How much better its forecasts of about this horizon have been than the better of the last value and the seasonal
    /// naive ones: the part of their mean absolute error that it saved. 0 or less means that it knows nothing they
    /// don't; none, that it can't tell yet. See [`gain`](Self::gain) for what it is worth to act on a forecast.
    pub fn skill(&self, horizon: usize) -> Option<f64> {
        self.pool.skill(horizon)
    }

    /// The same, compared with the last value alone: what is saved by acting on the forecast instead of on what is. A
    /// plain cycle has much gain and no skill, as to repeat it is all there is to know.
    pub fn gain(&self, horizon: usize) -> Option<f64> {
        self.pool.gain(horizon)
    }

    /// The models' names, and their parts in a forecast of this horizon.
    pub fn weights(&self, horizon: usize) -> Vec<(&'static str, f64)> {
        self.pool.names().zip(self.pool.weights(horizon)).collect()
    }

    /// Looks for seasons, and for the right scale; begins anew with what is remembered if they have changed.
    fn look_again(&mut self) {
        let part = if self.seen < FEW { 4 } else { 2 };
        self.look = self.seen + (self.seen / part).min(self.memory);
        let own = Scale::of(self.values.as_slice());
        let scale = if self.seen > FIRST_LOOK && self.scale.does_for(own) { self.scale } else { own };
        let seasons = self.found(scale);
        if scale != self.scale || seasons != self.seasons {
            self.begin(scale, seasons);
        }
    }

    fn found(&self, scale: Scale) -> Option<Seasons> {
        let mut scaled: Vec<f64> = Vec::with_capacity(self.memory.min(self.seen));
        for value in self.values.as_slice() {
            let value = scale.take(*value);
            let last = scaled.last().copied().unwrap_or(0.0);
            scaled.push(if value.is_nan() { last } else { value });
        }
        let known = || self.period.map(|period| Seasons::with_period(&scaled, period));
        Seasons::find_again(&scaled, self.seasons).or_else(known)
    }

    fn begin(&mut self, scale: Scale, seasons: Option<Seasons>) {
        (self.scale, self.seasons) = (scale, seasons);
        self.pool = Pool::new(self.horizon, seasons);
        self.pool.learn(self.values.as_slice().iter().map(|value| scale.take(*value)));
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

    fn forecasts(&self, horizon: usize) -> Vec<Forecast> {
        self.pool.forecasts(horizon).into_iter().map(|forecast| self.unscaled(forecast)).collect()
    }

    fn expect(&self, means: &mut [f64]) {
        let blended = self.pool.blended(means.len());
        means.iter_mut().zip(blended).for_each(|(mean, scaled)| *mean = self.scale.give(scaled));
    }
}

#[cfg(test)]
mod tests;
