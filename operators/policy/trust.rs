/// The weight of the newest epoch in what is known of a forecast's worth.
const FADE: f64 = 0.1;

/// Standard errors by which the worth of a forecast is taken for less than it seems.
const DOUBT: f64 = 2.0;

/// How much of a forecast is to be believed, beside the expectation that all goes on as usual.
///
/// It is the slope of what came, less the usual, against what was foreseen, less the usual, over all parts of the key
/// space and with older epochs fading: 1 where the difference between the two is just what happens, 0 where it
/// explains nothing (Granger and Ramanathan, Improved methods of combining forecasts, Journal of Forecasting 3, 1984).
/// Epochs are not alike, and the parts of one are not independent: so the slope is lowered by standard errors that are
/// robust to both (Liang and Zeger, Longitudinal data analysis using generalized linear models, Biometrika 73, 1986).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trust {
    /// Sums over epochs of the product of what was foreseen with what came, and of the square of what was foreseen,
    /// all less the usual; and sums of the squares and products of these.
    product: f64,
    square: f64,
    products: f64,
    squares: f64,
    crossed: f64,
    /// Sums of absolute errors: of the combination, and of the usual.
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
        let sums = [&mut self.product, &mut self.square, &mut self.products, &mut self.squares, &mut self.crossed];
        sums.into_iter().chain([&mut self.combined, &mut self.usual]).for_each(|sum| *sum *= 1.0 - FADE);
        let (mut product, mut square) = (0.0, 0.0);
        for [foreseen, usual, came] in parts {
            let (foreseen, came) = (foreseen - usual, came - usual);
            product += foreseen * came;
            square += foreseen * foreseen;
            self.combined += (came - weight * foreseen).abs();
            self.usual += came.abs();
        }
        self.product += product;
        self.square += square;
        self.products += product * product;
        self.squares += square * square;
        self.crossed += product * square;
    }

    /// How much to believe, from 0 to 1.
    pub(crate) fn weight(&self) -> f64 {
        let slope = self.product / self.square;
        let residuals = self.products - 2.0 * slope * self.crossed + slope * slope * self.squares;
        let error = residuals.max(0.0).sqrt() / self.square;
        let sure = slope - DOUBT * error;
        if sure.is_finite() { sure.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// The combination's error in proportion to that of the usual, at most 1.
    pub(crate) fn relative_error(&self) -> f64 {
        if self.usual > 0.0 { (self.combined / self.usual).min(1.0) } else { 1.0 }
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
