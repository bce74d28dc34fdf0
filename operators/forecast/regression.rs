/// Least squares with a ridge, one observation at a time.
///
/// Kept are the sums of products that make up the normal equations; [`solve`](Self::solve) adds a part of their mean
/// diagonal to the diagonal (Hoerl and Kennard, Ridge regression, Technometrics 12, 1970) and solves them by Cholesky's
/// decomposition. The last feature is the constant one, which has a ridge of its own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Regression {
    features: usize,
    /// What is left of an observation's weight one observation later.
    keep: f64,
    /// The lower triangle, row by row.
    products: Vec<f64>,
    targets: Vec<f64>,
    /// One per feature; all zero until solved for.
    pub(super) coefficients: Vec<f64>,
    /// Where the equations are solved: the triangle, then the right-hand side.
    scratch: (Vec<f64>, Vec<f64>),
}

impl Regression {
    pub(super) fn new(features: usize, keep: f64) -> Self {
        Regression {
            features,
            keep,
            products: vec![0.0; features * (features + 1) / 2],
            targets: vec![0.0; features],
            coefficients: vec![0.0; features],
            scratch: Default::default(),
        }
    }

    pub(super) fn predict(&self, features: &[f64]) -> f64 {
        dot(&self.coefficients, features)
    }

    /// Takes an observation. An older one is worth `keep` of what it was.
    pub(super) fn add(&mut self, features: &[f64], target: f64, weight: f64) {
        let mut rest = &mut self.products[..];
        for (index, feature) in features.iter().enumerate() {
            let (row, below) = rest.split_at_mut(index + 1);
            let scaled = weight * feature;
            for (product, other) in row.iter_mut().zip(features) {
                *product = self.keep * *product + scaled * other;
            }
            self.targets[index] = self.keep * self.targets[index] + scaled * target;
            rest = below;
        }
    }

    /// Brings the coefficients up to date. Where the equations can't be solved they stay as they are.
    pub(super) fn solve(&mut self, ridge: f64, constant_ridge: f64) {
        let n = self.features;
        let row = |index: usize| index * (index + 1) / 2;
        let trace: f64 = (0..n - 1).map(|i| self.products[row(i) + i]).sum();
        let constant = self.products[row(n - 1) + n - 1];
        let (lower, solution) = &mut self.scratch;
        lower.clone_from(&self.products);
        solution.clone_from(&self.targets);
        for i in 0..n {
            lower[row(i) + i] += if i + 1 < n { ridge * trace / n as f64 } else { constant_ridge * constant } + 1e-9;
            for j in 0..=i {
                let (above, current) = lower.split_at_mut(row(i));
                let other = if i == j { &current[..j] } else { &above[row(j)..row(j) + j] };
                let rest = current[j] - dot(&current[..j], other);
                if i == j && (rest.is_nan() || rest <= 0.0) {
                    return;
                }
                current[j] = if i == j { rest.sqrt() } else { rest / above[row(j) + j] };
            }
        }
        for i in 0..n {
            let (done, current) = solution.split_at_mut(i);
            current[0] = (current[0] - dot(&lower[row(i)..row(i) + i], done)) / lower[row(i) + i];
        }
        for i in (0..n).rev() {
            let rest: f64 = (i + 1..n).map(|k| lower[row(k) + i] * solution[k]).sum();
            solution[i] = (solution[i] - rest) / lower[row(i) + i];
        }
        if solution.iter().all(|c| c.is_finite()) {
            self.coefficients.clone_from(solution);
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(ridge: f64) -> Regression {
        let mut regression = Regression::new(3, 1.0);
        for i in 0..100 {
            let (a, b) = (f64::from(i % 7) - 3.0, f64::from(i % 5) - 2.0);
            regression.add(&[a, b, 1.0], 2.0 * a - 0.5 * b, 1.0);
        }
        regression.solve(ridge, ridge);
        regression
    }

    #[test]
    fn what_is_linear_is_found() {
        let found = line(0.0);
        assert!((found.coefficients[0] - 2.0).abs() < 1e-6 && (found.coefficients[1] + 0.5).abs() < 1e-6);
        assert!((found.predict(&[1.0, 2.0, 1.0]) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_ridge_shrinks() {
        let (free, held) = (line(0.0), line(1.0));
        assert!(held.coefficients[0] < free.coefficients[0] && held.coefficients[0] > 0.5);
    }

    #[test]
    fn what_can_not_be_solved_changes_nothing() {
        let mut regression = line(0.0);
        let before = regression.coefficients.clone();
        regression.add(&[f64::MAX, f64::MAX, 1.0], f64::MAX, 1.0);
        regression.solve(0.0, 0.0);
        assert_eq!(regression.coefficients, before);
    }
}
