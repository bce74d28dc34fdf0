/// The weight of the newest epoch in what is known of a forecast's worth.
const FADE: f64 = 0.1;

/// Standard errors by which a forecast's worth must differ from none before it counts at all.
const SIGNIFICANT: f64 = 2.0;

/// How much of a forecast is to be believed, beside the expectation that all goes on as usual.
///
/// It is the slope of what came, less the usual, against what was foreseen, less the usual, over all parts of the key
/// space and with older epochs fading: 1 where the difference between the two is just what happens, 0 where it
/// explains nothing (Granger and Ramanathan, Improved methods of combining forecasts, Journal of Forecasting 3, 1984).
/// Chance alone makes no slope as long as it is not significant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trust {
    /// Sums of products, of squares of what was foreseen, and of squares of what came, both less the usual.
    product: f64,
    foreseen: f64,
    came: f64,
    parts: f64,
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
        let sums = [&mut self.product, &mut self.foreseen, &mut self.came, &mut self.parts];
        sums.into_iter().chain([&mut self.combined, &mut self.usual]).for_each(|sum| *sum *= 1.0 - FADE);
        for [foreseen, usual, came] in parts {
            let (foreseen, came) = (foreseen - usual, came - usual);
            self.product += foreseen * came;
            self.foreseen += foreseen * foreseen;
            self.came += came * came;
            self.parts += 1.0;
            self.combined += (came - weight * foreseen).abs();
            self.usual += came.abs();
        }
    }

    /// How much to believe, from 0 to 1.
    pub(crate) fn weight(&self) -> f64 {
        let slope = self.product / self.foreseen;
        if !(slope > 0.0 && slope.is_finite()) {
            return 0.0;
        }
        let unexplained = (self.came - slope * self.product).max(0.0);
        let error = (unexplained / (self.parts * self.foreseen)).sqrt();
        if slope >= SIGNIFICANT * error { slope.min(1.0) } else { 0.0 }
    }

    /// The combination's error in proportion to that of the usual, at most 1.
    pub(crate) fn relative_error(&self) -> f64 {
        if self.usual > 0.0 { (self.combined / self.usual).min(1.0) } else { 1.0 }
    }
}
