use super::Forecast;
use super::intervals::Residuals;

/// How well several models, and what was made of them, have forecast; by how far ahead it was.
///
/// Now and then the forecasts of all models are written down, and compared with what comes. Errors are kept apart for
/// the horizons 1, 2 to 3, 4 to 7, and so on: the spans. Of each span a few horizons are compared per origin, each in
/// turn, as errors of one origin are alike. An error counts for less the older it is.
#[derive(Clone, Debug)]
pub(super) struct Scores {
    models: usize,
    horizon: usize,
    stride: usize,
    memory: f64,
    /// Epochs, and those since the last origin.
    seen: usize,
    since: usize,
    origins: usize,
    open: Vec<Origin>,
    spans: Vec<Span>,
}

/// Forecasts that were made at one time.
#[derive(Clone, Debug, Default)]
struct Origin {
    number: usize,
    age: usize,
    /// How many were compared, of all models.
    compared: usize,
    /// Those of the first target, model by model and then what was made of them; then those of the second.
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

/// While there are few epochs, one of so many is not waited for before the next origin: a first interval takes eight
/// errors, and a series of forty values is to have one.
const EARLY: usize = 16;

/// Fewer comparisons say nothing.
const FEWEST: u64 = 8;

/// After so many strides an error has lost most of its weight in the intervals.
const INTERVAL_STRIDES: f64 = 40.0;

/// The fractional parts of its multiples are spread as evenly as can be, over any period as well.
const GOLDEN: f64 = 0.618_033_988_749_894_8;

/// The index of the span a horizon lies in.
pub(super) fn span_of(horizon: usize) -> usize {
    horizon.max(1).ilog2() as usize
}

/// The horizons of a span, up to this one.
pub(super) fn steps(span: usize, horizon: usize) -> std::ops::Range<usize> {
    1 << span..(2 << span).min(horizon + 1)
}

impl Scores {
    /// Scores of so many models, up to this horizon; with an origin in so many epochs, and an error's weight falling to
    /// 1/e after `memory` epochs.
    pub(super) fn new(models: usize, horizon: usize, stride: usize, memory: usize) -> Self {
        let span = Span { errors: vec![0.0; models + 1], ..Span::default() };
        Scores {
            models,
            horizon,
            stride,
            memory: memory as f64,
            seen: 0,
            since: 0,
            origins: 0,
            open: Vec::new(),
            spans: vec![span; span_of(horizon) + 1],
        }
    }

    /// How far ahead is scored.
    pub(super) fn horizon(&self) -> usize {
        self.horizon
    }

    /// After so many epochs nothing of what was compared before matters.
    pub(super) fn reach(&self) -> usize {
        Residuals::MOST * self.stride + self.horizon
    }

    /// The span to be judged by at this horizon: its own, or the nearest shorter one that says something.
    pub(super) fn span(&self, horizon: usize) -> Option<&Span> {
        let last = span_of(horizon).min(self.spans.len() - 1);
        self.spans[..=last].iter().rev().find(|span| span.compared >= FEWEST)
    }

    /// The horizons that are compared of the origin to come.
    pub(super) fn targets(&self) -> impl Iterator<Item = usize> {
        let number = self.origins;
        (1..=self.horizon).filter(move |ahead| is_target(*ahead, number))
    }

    /// Forecasts with these means, whose intervals are those of past errors.
    pub(super) fn around(&self, means: Vec<f64>) -> Vec<Forecast> {
        let horizon = means.len();
        let spans = 0..=span_of(horizon);
        let ends = spans.flat_map(|span| {
            let ends = self
                .span(1 << span)
                .and_then(|span| span.residuals.ends(self.seen, self.stride as f64 * INTERVAL_STRIDES));
            steps(span, horizon).map(move |_| ends)
        });
        means
            .into_iter()
            .zip(ends)
            .map(|(mean, ends)| match ends {
                Some((low, high)) => Forecast { mean, low: mean + low.min(0.0), high: mean + high.max(0.0) },
                None => Forecast::unsure(mean),
            })
            .collect()
    }

    /// Compares what was forecast with the next value, if it is one.
    pub(super) fn compare(&mut self, value: f64) {
        let width = self.models + 1;
        for origin in &mut self.open {
            origin.age += 1;
            if origin.age > self.horizon || !is_target(origin.age, origin.number) {
                continue;
            }
            let forecasts = &origin.forecasts[origin.compared..][..width];
            origin.compared += width;
            if !value.is_finite() {
                continue;
            }
            let index = span_of(origin.age);
            let span = &mut self.spans[index];
            for (sum, forecast) in span.errors.iter_mut().zip(forecasts) {
                *sum += (value - forecast).abs();
            }
            span.compared += 1;
            let (gap, steps) = (gap(index), steps(index, self.horizon));
            // One residual per origin, of each target in turn.
            if origin.age - steps.start == origin.number % (steps.len() / gap * gap).max(gap) {
                span.residuals.add(self.seen, value - forecasts[self.models]);
            }
        }
    }

    /// Forgets all that was compared.
    pub(super) fn begin_anew(&mut self) {
        *self = Scores::new(self.models, self.horizon, self.stride, self.memory as usize);
    }

    /// Whether forecasts are to be written down now: asked once per epoch.
    pub(super) fn is_due(&mut self) -> bool {
        self.seen += 1;
        self.since += 1;
        let stride = self.stride.min(1 + self.seen / EARLY);
        (self.seen as f64 * GOLDEN).fract() * (stride as f64) < 1.0
    }

    /// Writes down the forecasts made now of each of the [targets](Self::targets): of each model, then what was made of
    /// them.
    pub(super) fn write(&mut self, forecasts: impl Iterator<Item = f64>) {
        let keep = (-(self.since as f64) / self.memory).exp();
        for error in self.spans.iter_mut().flat_map(|span| &mut span.errors) {
            *error *= keep;
        }
        let done = self.open.iter().position(|origin| origin.age >= self.horizon);
        let mut origin = done.map(|index| self.open.swap_remove(index)).unwrap_or_default();
        self.open.retain(|origin| origin.age < self.horizon);
        origin.forecasts.clear();
        origin.forecasts.extend(forecasts);
        self.open.push(Origin { number: self.origins, age: 0, compared: 0, ..origin });
        self.origins += 1;
        self.since = 0;
    }
}

/// Of a span so many horizons are compared per origin, or all if it has no more.
const TARGETS: usize = 4;

/// How far apart they are.
fn gap(span: usize) -> usize {
    ((1 << span) / TARGETS).max(1)
}

fn is_target(ahead: usize, number: usize) -> bool {
    let gap = gap(span_of(ahead));
    ahead % gap == number % gap
}
