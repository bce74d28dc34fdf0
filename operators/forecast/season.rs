//! Finding the periods after which a series repeats itself.

use super::spectrum::autocorrelation;

/// The periods of a series, in epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seasons {
    /// The shorter one: a day, say.
    pub period: usize,
    /// A multiple of it, if there is one: a week, say.
    pub long: Option<usize>,
}

/// The shortest period looked for.
const SHORTEST: usize = 4;

/// A period must have come more often than this to be found, and a long one so often.
const CYCLES: f64 = 2.2;
const LONG_CYCLES: usize = 2;

/// By how much the autocorrelation must be higher at a period than half a period before, at least.
const CONTRAST: f64 = 0.1;

/// And by how much in proportion to `1/√n`, for `n` random values: so much, and so much for one tooth of the comb; the
/// more teeth, the less chance does. One in fifty series of 24 to 4,000 values, be they white noise, autoregressions or
/// random walks, has a lag that stands out by as much: measured were 5.5 with one tooth, 4.2 with two or three, and 3.2
/// with more.
const RANDOM_CONTRAST: f64 = 1.8;
const RANDOM_TOOTH: f64 = 4.0;

/// The contrast is a mean over so many periods at most.
const TEETH: usize = 6;

/// The part of the highest contrast that a shorter period must have, or the one found before, to be taken instead.
const SHORTER: f64 = 0.5;

/// By which part a neighbour must stand out more than the period found before to be taken instead.
const SHARPER: f64 = 0.02;

/// A long period has so many short ones at most.
const MOST_SHORT: usize = 14;

/// By how much the autocorrelation of what is left without the period must rise at a long one, over the multiples next
/// to it.
const LONG_RISE: f64 = 0.05;

/// And by how much in proportion to `1/√n`, for `n` products of random values.
const RANDOM_RISE: f64 = 1.5;

impl Seasons {
    /// The periods of these values, if they repeat themselves.
    ///
    /// A period is where the autocorrelation of the values, less their linear trend, has a hill, as in Vlachos, Yu and
    /// Castelli, *On periodicity detection and structural periodic similarity* (SIAM Data Mining 2005), and is higher
    /// at its multiples than between them. Of several, the shortest is taken that stands out nearly as much as any. The
    /// long period is the multiple at which what the shorter one leaves unexplained is most alike.
    pub fn find(values: &[f64]) -> Option<Self> {
        Self::find_again(values, None)
    }

    /// The same, but the period found before stays unless another stands out more.
    pub(super) fn find_again(values: &[f64], before: Option<Self>) -> Option<Self> {
        let values = without_trend(values);
        let correlation = autocorrelation(&values, values.len() * 3 / 5);
        let period = shortest(&correlation, values.len(), before.map(|b| b.period))?;
        let before = before.filter(|b| b.period == period).and_then(|b| b.long);
        Some(Seasons { period, long: long(&values, period, before) })
    }

    /// The periods of these values when the shorter one, of at least 1, is known.
    pub fn with_period(values: &[f64], period: usize) -> Self {
        let period = period.max(1);
        Seasons { period, long: long(&without_trend(values), period, None) }
    }
}

fn shortest(correlation: &[f64], values: usize, before: Option<usize>) -> Option<usize> {
    let random = 1.0 / independent(correlation, values).sqrt();
    let least = |lag: usize| {
        let teeth = teeth(correlation, lag).count().max(1) as f64;
        CONTRAST.max(random * (RANDOM_CONTRAST + RANDOM_TOOTH / teeth.sqrt()))
    };
    let hills = (SHORTEST..=(values as f64 / CYCLES) as usize).filter(|lag| is_hill(correlation, *lag));
    let found = hills.map(|lag| sharpest(correlation, lag)).filter(|(lag, contrast)| *contrast >= least(*lag));
    let found: Vec<(usize, f64)> = found.collect();
    let highest = found.iter().map(|f| f.1).fold(0.0, f64::max);
    if let Some(before) = before {
        let stays = contrast(correlation, before);
        if stays >= SHORTER * highest.max(least(before)) {
            let near = sharpest(correlation, before);
            return Some(if near.1 > (1.0 + SHARPER) * stays { near.0 } else { before });
        }
    }
    found.iter().find(|f| f.1 >= SHORTER * highest).map(|f| f.0)
}

/// How many independent values say as much about the mean product of these at some lag, by the correlation of
/// neighbours: Bartlett, On the theoretical specification and sampling properties of autocorrelated time series
/// (Journal of the Royal Statistical Society, Supplement 8, 1946).
fn independent(correlation: &[f64], values: usize) -> f64 {
    let near = correlation.iter().skip(1).take_while(|c| **c > 0.0);
    values as f64 / (1.0 + 2.0 * near.map(|c| c * c).sum::<f64>())
}

/// Whether no lag within a quarter of it is as high.
fn is_hill(correlation: &[f64], lag: usize) -> bool {
    let reach = (lag / 4).max(1);
    let mut around = lag - reach..(lag + reach + 1).min(correlation.len());
    lag + 1 < correlation.len() && correlation[lag] > 0.0 && around.all(|other| correlation[other] <= correlation[lag])
}

/// The lag near this one at whose multiples the contrast is highest: a hill may be broad.
fn sharpest(correlation: &[f64], hill: usize) -> (usize, f64) {
    let reach = (hill / 25).max(1);
    let near = (hill - reach..=hill + reach).map(|lag| (lag, contrast(correlation, lag)));
    near.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((hill, 0.0))
}

/// By how much the correlation is higher at the multiples of a lag than half-way to them.
fn contrast(correlation: &[f64], lag: usize) -> f64 {
    let (sum, count) = teeth(correlation, lag).fold((0.0, 0.0), |(sum, count), tooth| (sum + tooth, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

fn teeth(correlation: &[f64], lag: usize) -> impl Iterator<Item = f64> {
    let multiples = (1..=TEETH).map(move |times| times * lag).take_while(|at| *at < correlation.len());
    multiples.map(move |at| correlation[at] - correlation[at - lag / 2])
}

/// The multiple of the period at which what is left without it is most alike, compared with the multiples next to it.
fn long(values: &[f64], period: usize, before: Option<usize>) -> Option<usize> {
    let left = without_means(values, period);
    let most = (MOST_SHORT + 1).min(left.len() / LONG_CYCLES / period);
    let correlation: Vec<f64> = (0..=most).map(|times| product(&left, times * period)).collect();
    let rise = |times: usize| correlation[times] - correlation[times - 1].max(correlation[times + 1]);
    let least = |times: usize| {
        let random = RANDOM_RISE / ((left.len() - (times + 1) * period) as f64).sqrt();
        LONG_RISE.max(random) * correlation[0] * if before == Some(times * period) { SHORTER } else { 1.0 }
    };
    let rises = (2..most).map(|times| (times, rise(times)));
    let found: Vec<(usize, f64)> = rises.filter(|(times, rise)| *rise > least(*times)).collect();
    let highest = found.iter().map(|f| f.1).fold(0.0, f64::max);
    found.iter().find(|f| f.1 >= SHORTER * highest).map(|f| f.0 * period)
}

/// The mean product of values so far apart.
fn product(values: &[f64], lag: usize) -> f64 {
    let later = &values[lag..];
    values.iter().zip(later).map(|(a, b)| a * b).sum::<f64>() / later.len().max(1) as f64
}

/// The values less the mean of their phase.
fn without_means(values: &[f64], period: usize) -> Vec<f64> {
    let mut means = vec![(0.0, 0u64); period];
    for (index, value) in values.iter().enumerate() {
        let (mean, count) = &mut means[index % period];
        *count += 1;
        *mean += (value - *mean) / *count as f64;
    }
    values.iter().enumerate().map(|(index, value)| value - means[index % period].0).collect()
}

/// The values less the line that fits them best.
fn without_trend(values: &[f64]) -> Vec<f64> {
    let n = values.len() as f64;
    let middle = (n - 1.0) / 2.0;
    let mean = values.iter().sum::<f64>() / n.max(1.0);
    let (mut product, mut square) = (0.0, 0.0);
    for (index, value) in values.iter().enumerate() {
        let x = index as f64 - middle;
        product += x * (value - mean);
        square += x * x;
    }
    let slope = if square > 0.0 { product / square } else { 0.0 };
    values.iter().enumerate().map(|(index, value)| value - mean - slope * (index as f64 - middle)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(i: usize) -> f64 {
        (crate::stable_hash(&(i as u64)) >> 40) as f64 / (1 << 23) as f64 - 1.0
    }

    #[test]
    fn a_period_is_found_in_noise_and_trend() {
        for period in [4, 7, 24, 60] {
            let wave = |t: usize| (t as f64 / period as f64 * std::f64::consts::TAU).sin();
            let values: Vec<f64> = (0..8 * period).map(|t| wave(t) + 0.5 * noise(t) + 0.01 * t as f64).collect();
            assert_eq!(Seasons::find(&values).map(|s| s.period), Some(period));
        }
    }

    #[test]
    fn a_week_is_found_beside_its_days() {
        let day = |t: usize| if t % 24 < 8 { 0.0 } else { 4.0 };
        let weekend = |t: usize| if t / 24 % 7 >= 5 { 0.4 } else { 1.0 };
        let values: Vec<f64> = (0..24 * 7 * 4).map(|t| day(t) * weekend(t) + 0.3 * noise(t)).collect();
        assert_eq!(Seasons::find(&values), Some(Seasons { period: 24, long: Some(168) }));
        assert_eq!(Seasons::with_period(&values, 24).long, Some(168));
    }

    #[test]
    fn noise_walks_constants_and_the_very_short_have_none() {
        assert_eq!(Seasons::find(&[]), None);
        assert_eq!(Seasons::find(&[1.0, 2.0]), None);
        assert_eq!(Seasons::find(&[3.0; 500]), None);
        let white: Vec<f64> = (0..1_000).map(noise).collect();
        assert_eq!(Seasons::find(&white), None);
        let line: Vec<f64> = (0..500).map(f64::from).collect();
        assert_eq!(Seasons::find(&line), None);
    }
}
