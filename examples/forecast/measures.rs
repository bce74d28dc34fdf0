//! How good forecasts are, as the M4 competition measured it: Makridakis, Spiliotis and Assimakopoulos, *The M4
//! Competition: 100,000 time series and 61 forecasting methods* (International Journal of Forecasting 36, 2020).

/// The mean of `200 |y - f| / (|y| + |f|)`, in percent, over the values that are there.
pub fn smape(actual: &[f64], forecast: &[f64]) -> f64 {
    mean(actual.iter().zip(forecast).filter(|(y, _)| y.is_finite()).map(|(y, f)| {
        let sum = y.abs() + f.abs();
        if sum == 0.0 { 0.0 } else { 200.0 * (y - f).abs() / sum }
    }))
}

/// The mean absolute error over the values that are there.
pub fn absolute_error(actual: &[f64], forecast: &[f64]) -> f64 {
    mean(actual.iter().zip(forecast).filter(|(y, _)| y.is_finite()).map(|(y, f)| (y - f).abs()))
}

/// What absolute errors are divided by for the MASE: the mean absolute error of the seasonal naive forecast over the
/// values before the origin.
pub fn scale(before: &[f64], period: usize) -> f64 {
    let pairs = before.iter().skip(period).zip(before);
    mean(pairs.map(|(y, b)| (y - b).abs()).filter(|error| error.is_finite()))
}

/// The benchmark of the M4 competition: the last value, without and again with the season, if there is one by a test of
/// the autocorrelation at 90 %. Missing values are taken for the ones before.
pub fn naive2(before: &[f64], period: usize, horizon: usize) -> Vec<f64> {
    let mut values: Vec<f64> = Vec::with_capacity(before.len());
    for value in before {
        values.push(if value.is_finite() { *value } else { values.last().copied().unwrap_or(0.0) });
    }
    let indices = if is_seasonal(&values, period) { indices(&values, period) } else { vec![1.0] };
    let index = |at: usize| indices[at % indices.len()];
    let level = values.last().map_or(0.0, |last| last / index(values.len() - 1));
    (0..horizon).map(|ahead| level * index(values.len() + ahead)).collect()
}

fn is_seasonal(values: &[f64], period: usize) -> bool {
    let n = values.len();
    if period < 2 || n < 3 * period {
        return false;
    }
    let mean = mean(values.iter().copied());
    let product = |lag: usize| -> f64 { values.iter().zip(&values[lag..]).map(|(a, b)| (a - mean) * (b - mean)).sum() };
    let squares = product(0);
    let correlations: f64 = (1..period).map(|lag| (product(lag) / squares).powi(2)).sum();
    (product(period) / squares).abs() > 1.645 * ((1.0 + 2.0 * correlations) / n as f64).sqrt()
}

/// The classical multiplicative indices; all 1 where the series is not positive.
fn indices(values: &[f64], period: usize) -> Vec<f64> {
    let half = period / 2;
    let mut sums = vec![(0.0, 0.0); period];
    for at in half..values.len() - half {
        let trend = if period.is_multiple_of(2) {
            let ends = (values[at - half] + values[at + half]) / 2.0;
            (ends + values[at - half + 1..at + half].iter().sum::<f64>()) / period as f64
        } else {
            values[at - half..=at + half].iter().sum::<f64>() / period as f64
        };
        let (sum, count) = &mut sums[at % period];
        *sum += values[at] / trend;
        *count += 1.0;
    }
    let indices: Vec<f64> = sums.iter().map(|(sum, count)| sum / count).collect();
    let mean = mean(indices.iter().copied());
    let normal: Vec<f64> = indices.iter().map(|index| index / mean).collect();
    if normal.iter().all(|index| index.is_finite() && *index > 0.0) { normal } else { vec![1.0; period] }
}

/// Not a number if there is nothing.
pub fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0u64);
    for value in values {
        sum += value;
        count += 1;
    }
    sum / count as f64
}
