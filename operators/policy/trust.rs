/// What is left of an epoch's weight after the next one.
const KEEP: f64 = 0.9;

/// Standard errors by which the worth of a forecast is taken for less than it seems. With such as take the parts of an
/// epoch for independent, a stream that is other in every session was balanced 12 % worse than without any forecast.
const DOUBT: f64 = 2.5;

/// Epochs before which nothing is believed, as a standard error of fewer says nothing.
const LEAST_EPOCHS: f64 = 5.0;

/// The part of all squares below which a forecast says nothing but what is usual, rounding aside.
const NEGLIGIBLE: f64 = 1e-12;

/// How much of a forecast is to be believed, beside the expectation that all goes on as usual.
///
/// It is the slope of what came, less the usual, against what was foreseen, less the usual, over all parts of the key
/// space and with older epochs fading: 1 where the difference between the two is just what happens, 0 where it
/// explains nothing (Granger and Ramanathan, Improved methods of combining forecasts, Journal of Forecasting 3, 1984).
/// Epochs are not alike, and the parts of one are not independent: so the slope is lowered by standard errors that are
/// robust to both (Liang and Zeger, Longitudinal data analysis using generalized linear models, Biometrika 73, 1986).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trust {
    /// Over epochs, with their weights: the product of what was foreseen with what came, and the square of what was
    /// foreseen, all less the usual; and the squares of what came and was usual.
    product: f64,
    square: f64,
    scale: f64,
    /// With the squares of these weights: the squares of both, and their product.
    products: f64,
    squares: f64,
    crossed: f64,
    /// The weights, and their squares.
    weights: f64,
    weights_squared: f64,
    /// Absolute errors: of the combination, and of the usual.
    combined: f64,
    usual: f64,
}

impl Trust {
    /// Takes an epoch: for each part of the key space its share as foreseen, as usual, and as it came.
    pub(crate) fn learn(&mut self, parts: &[[f64; 3]]) {
        if parts.is_empty() {
            return;
        }
        let weight = self.weight();
        let (mut product, mut square, mut scale, mut combined, mut usual) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for [foreseen, expected, came] in parts {
            scale += expected * expected + came * came;
            let (foreseen, came) = (foreseen - expected, came - expected);
            product += foreseen * came;
            square += foreseen * foreseen;
            combined += (came - weight * foreseen).abs();
            usual += came.abs();
        }
        if !(product * product).is_finite() || !(square * square).is_finite() {
            return;
        }
        let once = [&mut self.product, &mut self.square, &mut self.scale, &mut self.combined, &mut self.usual];
        let news = [product, square, scale, combined, usual];
        once.into_iter().zip(news).for_each(|(sum, new)| *sum = KEEP * *sum + new);
        let twice = [&mut self.products, &mut self.squares, &mut self.crossed, &mut self.weights_squared];
        let news = [product * product, square * square, product * square, 1.0];
        twice.into_iter().zip(news).for_each(|(sum, new)| *sum = KEEP * KEEP * *sum + new);
        self.weights = KEEP * self.weights + 1.0;
    }

    /// How much to believe, from 0 to 1.
    pub(crate) fn weight(&self) -> f64 {
        let epochs = self.weights * self.weights / self.weights_squared.max(1.0);
        if epochs < LEAST_EPOCHS || self.square <= NEGLIGIBLE * self.scale {
            return 0.0;
        }
        let slope = self.product / self.square;
        let residuals = self.products - 2.0 * slope * self.crossed + slope * slope * self.squares;
        let error = (residuals.max(0.0) * epochs / (epochs - 1.0)).sqrt() / self.square;
        let sure = slope - DOUBT * error;
        if sure.is_finite() { sure.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// The combination's error in proportion to that of the usual, at most 1, and 1 where nothing is believed.
    pub(crate) fn relative_error(&self) -> f64 {
        let ratio = if self.usual > 0.0 { (self.combined / self.usual).min(1.0) } else { 1.0 };
        1.0 - self.weight() * (1.0 - ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stable_hash;

    /// Noise in [-0.5, 0.5) that depends on all of these.
    fn noise(what: &str, epoch: u64, part: u64) -> f64 {
        (stable_hash(&(what, epoch, part)) % 1_000) as f64 / 1_000.0 - 0.5
    }

    /// The trust after some epochs of ten parts, `foreseen` being given what came of a part, the usual being 1.
    fn trust(foreseen: impl Fn(u64, u64, f64) -> f64) -> Trust {
        let mut trust = Trust::default();
        for epoch in 0..60 {
            let parts = (0..10).map(|part| {
                let came = 1.0 + noise("came", epoch, part);
                [foreseen(epoch, part, came), 1.0, came]
            });
            trust.learn(&parts.collect::<Vec<_>>());
        }
        trust
    }

    #[test]
    fn what_comes_true_is_believed() {
        let right = trust(|_, _, came| came);
        assert!(right.weight() > 0.95 && right.relative_error() < 0.1, "{right:?}");
        let near = trust(|epoch, part, came| came + 0.2 * noise("error", epoch, part));
        assert!(near.weight() > 0.8 && near.relative_error() < 0.4, "{near:?}");
    }

    #[test]
    fn of_what_is_overdone_a_part_is_believed() {
        let twice = trust(|_, _, came| 1.0 + 2.0 * (came - 1.0));
        assert!((0.4..=0.5).contains(&twice.weight()), "{twice:?}");
    }

    #[test]
    fn what_says_nothing_is_not_believed() {
        for share in [0.01, 0.3, 3.0] {
            let noisy = trust(|epoch, part, _| 1.0 + share * noise("other", epoch, part));
            assert!(noisy.weight() < 0.2, "{share}: {noisy:?}");
        }
        assert_eq!(trust(|_, _, came| 2.0 - came).weight(), 0.0);
        assert_eq!(trust(|_, _, _| 1.0).weight(), 0.0);
        assert_eq!((Trust::default().weight(), Trust::default().relative_error()), (0.0, 1.0));
    }

    #[test]
    fn a_few_epochs_prove_nothing() {
        let mut trust = Trust::default();
        for epoch in 0..4 {
            let came = 1.0 + noise("came", epoch, 0);
            trust.learn(&[[came, 1.0, came]]);
            assert_eq!(trust.weight(), 0.0, "{epoch}");
        }
        let mut rounding = Trust::default();
        (0..60).for_each(|epoch| rounding.learn(&[[1.0 + f64::EPSILON, 1.0, 1.0 + noise("came", epoch, 0).abs()]]));
        assert_eq!(rounding.weight(), 0.0);
    }

    #[test]
    fn what_is_no_number_is_passed_over() {
        let mut trust = trust(|_, _, came| came);
        let before = trust.weight();
        for odd in [f64::NAN, f64::INFINITY, 1e300] {
            trust.learn(&[[odd, 1.0, 2.0]]);
        }
        assert_eq!(trust.weight(), before);
    }

    #[test]
    fn one_epoch_that_came_true_proves_little() {
        let mut trust = Trust::default();
        for epoch in 0..30 {
            let came = |part| 1.0 + noise("came", epoch, part);
            let foreseen = |part| if epoch == 20 { came(part) } else { 1.0 + noise("other", epoch, part) };
            trust.learn(&(0..10).map(|part| [foreseen(part), 1.0, came(part)]).collect::<Vec<_>>());
            assert!(trust.weight() < 0.3, "{epoch}: {trust:?}");
        }
    }
}
