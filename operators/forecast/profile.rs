use super::intervals::Size;
use super::tuned::Tuned;
use super::{Forecaster, wrapped};

/// A level and what a series does in its one or two seasons, as means of the past that fade; neighbouring phases are
/// taken to be alike.
///
/// An error changes the seasons at its phase by `rate`, spread over the phases within `width` by a triangular kernel:
/// where periods are long and their phases noisy, each learns from its neighbours. Errors are bounded, so that an
/// outlier is one of many.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Profile {
    rate: f64,
    width: usize,
    seen: usize,
    level: f64,
    short: Season,
    long: Season,
    size: Size,
}

/// One value per phase.
#[derive(Clone, Debug, PartialEq)]
struct Season {
    values: Vec<f64>,
    phase: usize,
    /// Of an error it takes so much, divided by the periods begun and one more; or the rate, if that is more.
    first: f64,
}

/// Errors count for no more than so many times their mean.
const OUTLIER: f64 = 1.5;

/// The part of the errors of a period by which the level follows.
const LEVEL: f64 = 0.5;

/// Rates, and parts of a period that are the width of a kernel. Which is best depends on how long and how noisy a
/// period is: hourly series want the first, those of five minutes the last two.
const SHAPES: [(f64, usize); 3] = [(0.1, usize::MAX), (0.1, 100), (0.3, 24)];

/// A kernel is no wider, so that an observation is not either.
const WIDEST: usize = 12;

impl Profile {
    fn new(period: usize, long: Option<usize>, rate: f64, width: usize) -> Self {
        let season = |period: usize, first: f64| Season { values: vec![0.0; period], phase: 0, first };
        Profile {
            rate,
            width: width.min((period - 1) / 2),
            seen: 0,
            level: 0.0,
            short: season(period, 1.0),
            long: season(long.unwrap_or(0), 0.5),
            size: Size::default(),
        }
    }

    /// Rates and widths to choose from.
    pub(super) fn tuned(period: usize, long: Option<usize>) -> Tuned<Self> {
        let period = period.max(1);
        let long = long.filter(|long| *long > period);
        Tuned::new(SHAPES.map(|(rate, part)| Profile::new(period, long, rate, (period / part).min(WIDEST))))
    }

    /// What the seasons add so many epochs after the next one.
    pub(super) fn season(&self, ahead: usize) -> f64 {
        self.short.at(ahead) + self.long.at(ahead)
    }

    fn learn(&mut self, error: f64) {
        self.size.add(error);
        let most = OUTLIER * self.size.mean();
        let error = error.max(-most).min(most);
        let period = self.short.values.len();
        self.level += LEVEL / self.size.errors().min(period as u64) as f64 * error;
        for season in [&mut self.short, &mut self.long] {
            season.learn(error, self.rate, self.width, self.seen);
        }
    }
}

impl Season {
    fn at(&self, ahead: usize) -> f64 {
        self.values.get(wrapped(self.phase + ahead, self.values.len())).copied().unwrap_or(0.0)
    }

    fn learn(&mut self, error: f64, rate: f64, width: usize, seen: usize) {
        let period = self.values.len();
        if period == 0 {
            return;
        }
        let rate = rate.max(self.first / (seen / period + 2) as f64);
        let unit = rate * error / ((width + 1) * (width + 1)) as f64;
        for near in 0..=2 * width {
            let weight = (width + 1 - near.abs_diff(width)) as f64;
            self.values[wrapped(self.phase + period + near - width, period)] += unit * weight;
        }
    }
}

impl Forecaster for Profile {
    fn observe(&mut self, value: f64) {
        if value.is_finite() {
            if self.size.errors() == 0 {
                self.level = value;
            }
            self.learn(value - self.level - self.season(0));
        }
        self.seen += 1;
        for season in [&mut self.short, &mut self.long] {
            season.phase = wrapped(season.phase + 1, season.values.len());
        }
    }

    fn expect(&self, means: &mut [f64]) {
        for (ahead, mean) in means.iter_mut().enumerate() {
            *mean = self.level + self.season(ahead);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_in_a_cycle_is_learnt() {
        let value = |t: usize| 50.0 + [0.0, 5.0, 2.0][t % 3] + if t % 12 >= 9 { -8.0 } else { 0.0 };
        let mut model = Profile::tuned(3, Some(12));
        (0..1_200).for_each(|t| model.observe(value(t)));
        let mut means = [0.0; 24];
        model.expect(&mut means);
        for (ahead, mean) in means.iter().enumerate() {
            assert!((mean - value(1_200 + ahead)).abs() < 0.2, "{ahead}: {mean}");
        }
    }

    #[test]
    fn neighbours_learn_from_each_other_and_an_outlier_is_one_of_many() {
        let noise = |t: usize| (crate::stable_hash(&(t as u64)) >> 40) as f64 / (1 << 23) as f64 - 1.0;
        let wave = |t: usize| (t as f64 / 288.0 * std::f64::consts::TAU).sin();
        let error = |width| {
            let mut model = Profile::new(288, None, 0.1, width);
            let outlier = |t: usize| if t % 97 == 5 { 1_000.0 } else { 0.0 };
            (0..288 * 6).for_each(|t| model.observe(wave(t) + noise(t) + outlier(t)));
            (0..288).map(|ahead| (model.level + model.season(ahead) - wave(ahead)).abs()).sum::<f64>() / 288.0
        };
        assert!(error(7) < 0.9 * error(0) && error(7) < 0.2, "{} {}", error(7), error(0));
    }
}
