use std::collections::VecDeque;

use super::intervals::Residuals;

/// How well several models, and what was made of them, have forecast; by how far ahead it was.
///
/// Every few epochs the forecasts of all models are written down, and compared with what comes. Errors are kept apart
/// for the horizons 1, 2 to 3, 4 to 7, and so on, and an error counts for less the older it is.
#[derive(Clone, Debug)]
pub(super) struct Scores {
    models: usize,
    horizon: usize,
    stride: usize,
    /// What is left of an error's weight one origin later.
    keep: f64,
    since: usize,
    origins: usize,
    open: VecDeque<Origin>,
    spans: Vec<Span>,
}

/// Forecasts that were made at one time.
#[derive(Clone, Debug)]
struct Origin {
    number: usize,
    /// How many of them have been compared.
    compared: usize,
    /// Those for the next epoch, model by model and then what was made of them; then those for the one after it.
    forecasts: Vec<f64>,
}

/// The errors over a span of horizons.
#[derive(Clone, Debug, Default)]
pub(super) struct Span {
    /// Sums of absolute errors, model by model, then of what was made of them.
    pub(super) errors: Vec<f64>,
    pub(super) residuals: Residuals,
    compared: u64,
}

/// The index of the span a horizon lies in.
pub(super) fn span_of(horizon: usize) -> usize {
    horizon.max(1).ilog2() as usize
}

impl Scores {
    /// Scores of so many models, up to this horizon; with origins this far apart, and an error's weight falling to 1/e
    /// after `memory` epochs.
    pub(super) fn new(models: usize, horizon: usize, stride: usize, memory: usize) -> Self {
        let span = Span { errors: vec![0.0; models + 1], ..Span::default() };
        Scores {
            models,
            horizon,
            stride,
            keep: (-(stride as f64) / memory as f64).exp(),
            since: 0,
            origins: 0,
            open: VecDeque::new(),
            spans: vec![span; span_of(horizon) + 1],
        }
    }

    /// How far ahead is scored.
    pub(super) fn horizon(&self) -> usize {
        self.horizon
    }

    /// The span to be judged by at this horizon: its own, or the nearest shorter one that has been compared.
    pub(super) fn span(&self, horizon: usize) -> Option<&Span> {
        let last = span_of(horizon).min(self.spans.len() - 1);
        self.spans[..=last].iter().rev().find(|span| span.compared > 0)
    }

    /// Compares what was forecast with the next value, if it is one.
    pub(super) fn compare(&mut self, value: f64) {
        let width = self.models + 1;
        for origin in &mut self.open {
            let ahead = origin.compared;
            origin.compared += 1;
            if !value.is_finite() {
                continue;
            }
            let index = span_of(ahead + 1);
            let span = &mut self.spans[index];
            let forecasts = &origin.forecasts[ahead * width..(ahead + 1) * width];
            for (sum, forecast) in span.errors.iter_mut().zip(forecasts) {
                *sum += (value - forecast).abs();
            }
            span.compared += 1;
            // One of the span's horizons per origin, each in turn, as errors of one origin are alike.
            let first = 1 << index;
            let last = (2 * first).min(self.horizon + 1);
            if ahead + 1 - first == origin.number % (last - first) {
                span.residuals.add(value - forecasts[self.models]);
            }
        }
        while self.open.front().is_some_and(|origin| origin.compared == self.horizon) {
            self.open.pop_front();
        }
    }

    /// Whether forecasts are to be written down now: once per epoch.
    pub(super) fn is_due(&mut self) -> bool {
        self.since += 1;
        self.since >= self.stride
    }

    /// Writes down the forecasts made now: of each model, then what was made of them.
    pub(super) fn write(&mut self, paths: &[Vec<f64>]) {
        for error in self.spans.iter_mut().flat_map(|span| &mut span.errors) {
            *error *= self.keep;
        }
        let forecasts = (0..self.horizon).flat_map(|step| paths.iter().map(move |path| path[step])).collect();
        self.open.push_back(Origin { number: self.origins, compared: 0, forecasts });
        self.origins += 1;
        self.since = 0;
    }
}
