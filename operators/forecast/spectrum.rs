use std::f64::consts::TAU;

/// The autocorrelation of values whose mean is 0, at the lags from 0 to `lags`, divided by the number of values at
/// each lag; all 0 where the values are.
///
/// By the Wiener-Khinchin theorem: the spectrum, squared, and transformed again.
pub(super) fn autocorrelation(values: &[f64], lags: usize) -> Vec<f64> {
    let lags = lags.min(values.len().saturating_sub(1));
    let size = (values.len() + lags + 1).next_power_of_two();
    let largest = values.iter().fold(0.0f64, |max, v| max.max(v.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return vec![0.0; lags + 1];
    }
    let mut real: Vec<f64> = values.iter().map(|v| v / largest).collect();
    real.resize(size, 0.0);
    let mut imaginary = vec![0.0; size];
    transform(&mut real, &mut imaginary);
    for (r, i) in real.iter_mut().zip(&mut imaginary) {
        (*r, *i) = (*r * *r + *i * *i, 0.0);
    }
    transform(&mut real, &mut imaginary);
    let total = real[0];
    let n = values.len() as f64;
    // Rounding is all there is of a series that lies on its trend.
    if total <= size as f64 * n * 1e-18 {
        return vec![0.0; lags + 1];
    }
    (0..=lags).map(|lag| real[lag] / total * n / (n - lag as f64)).collect()
}

/// The discrete Fourier transform, in place; the size is a power of two. Cooley and Tukey, *An algorithm for the
/// machine calculation of complex Fourier series* (Mathematics of Computation 19, 1965).
fn transform(real: &mut [f64], imaginary: &mut [f64]) {
    let size = real.len();
    if size < 2 {
        return;
    }
    let shift = usize::BITS - size.trailing_zeros();
    for index in 0..size {
        let reversed = index.reverse_bits() >> shift;
        if index < reversed {
            real.swap(index, reversed);
            imaginary.swap(index, reversed);
        }
    }
    let roots: Vec<(f64, f64)> = (0..size / 2).map(|k| (-TAU * k as f64 / size as f64).sin_cos()).collect();
    let mut half = 1;
    while half < size {
        let stride = size / (2 * half);
        for start in (0..size).step_by(2 * half) {
            for k in 0..half {
                let (sin, cos) = roots[k * stride];
                let (low, high) = (start + k, start + k + half);
                let (re, im) = (real[high] * cos - imaginary[high] * sin, real[high] * sin + imaginary[high] * cos);
                (real[high], imaginary[high]) = (real[low] - re, imaginary[low] - im);
                real[low] += re;
                imaginary[low] += im;
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_of_products() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i * i % 17) - 7.0).collect();
        let square: f64 = values.iter().map(|v| v * v).sum::<f64>() / 100.0;
        for (lag, found) in autocorrelation(&values, 40).into_iter().enumerate() {
            let product: f64 = values.iter().zip(&values[lag..]).map(|(a, b)| a * b).sum();
            assert!((found - product / (100 - lag) as f64 / square).abs() < 1e-9, "{lag}");
        }
    }
}
