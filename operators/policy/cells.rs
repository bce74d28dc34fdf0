use std::collections::BTreeMap;

use crate::forecast::{Blend, Exponential, Forecast, Forecaster};
use crate::keyspace::{Assignment, KeyRange};
use crate::planning::Measure;

/// Ranges that are forecast each for itself. More would hold fewer records each, which can be foreseen less well.
const MAX_RANGES: usize = 64;

/// Single keys that are forecast each for itself.
const MAX_KEYS: usize = 192;

/// The part of a worker's fair share that makes a key worth a forecast of its own: what moves a worker's load by 3 %.
const NOTABLE: f64 = 1.0 / 32.0;

/// The weight of the newest epoch in what a key is worth remembering for, so that it outlasts a cycle.
const WORTH_ALPHA: f64 = 0.01;

/// Epochs remembered of each series: two weeks of five minutes.
const MEMORY: usize = 4_096;

/// How often as much as a key that it replaces another must have.
const REPLACES: f64 = 2.0;

/// Epochs left out in a row that are passed over as if nothing were known of them. After more everything begins anew.
const LONGEST_GAP: u64 = 1_024;

/// The key space in parts that stay the same, each with a forecast of its records: ranges, and what of a range is left
/// beside its notable keys.
#[derive(Clone, Debug)]
pub(crate) struct Cells {
    /// Epochs ahead that are forecast.
    ahead: usize,
    ranges: Vec<KeyRange>,
    /// For each range, all of its records.
    totals: Vec<Blend>,
    /// All records.
    total: Blend,
    keys: BTreeMap<u64, Notable>,
    /// The last epoch seen.
    last: Option<u64>,
}

#[derive(Clone, Debug)]
struct Notable {
    model: Blend,
    worth: Exponential,
}

/// A part of the key space with a forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A range without its notable keys.
    Rest(KeyRange),
    /// A notable key.
    Key(u64),
}

impl Cells {
    /// For the shards of this assignment, of which neighbours share a forecast where there are many.
    pub(crate) fn new(assignment: &Assignment, ahead: usize) -> Self {
        let each = assignment.len().div_ceil(MAX_RANGES);
        let of = |i: usize| {
            let last = assignment.range((i + each - 1).min(assignment.len() - 1));
            KeyRange::new(assignment.range(i).start(), last.end())
        };
        let ranges: Vec<KeyRange> = (0..assignment.len()).step_by(each).filter_map(of).collect();
        let totals = (0..ranges.len()).map(|index| model(ahead, index)).collect();
        Cells { ahead, ranges, totals, total: model(ahead, 0), keys: BTreeMap::new(), last: None }
    }

    /// Epochs ahead that are forecast.
    pub(crate) fn ahead(&self) -> usize {
        self.ahead
    }

    /// Takes what was seen in an epoch, in which a worker's fair share was so much.
    pub(crate) fn observe(&mut self, epoch: u64, seen: &Measure, fair: f64) {
        let left_out = self.last.map_or(0, |last| epoch.saturating_sub(last).saturating_sub(1));
        if left_out > LONGEST_GAP {
            self.totals.iter_mut().enumerate().for_each(|(index, total)| *total = model(self.ahead, index));
            self.total = model(self.ahead, 0);
            self.keys.clear();
        } else {
            (0..left_out).for_each(|_| self.pass());
        }
        self.last = Some(epoch);
        self.note(seen, fair);
        self.take(seen);
    }

    /// The parts, in order, and for each the records expected in the next epochs.
    pub(crate) fn forecast(&self) -> Vec<(Place, Vec<f64>)> {
        let path = |model: &Blend| {
            let mut means = vec![0.0; self.ahead];
            model.expect(&mut means);
            means.iter_mut().for_each(|mean| *mean = mean.max(0.0));
            means
        };
        let mut forecast = Vec::with_capacity(self.ranges.len() + self.keys.len());
        for (range, total) in self.ranges.iter().zip(&self.totals) {
            let mut rest = path(total);
            let first = forecast.len();
            for (key, notable) in self.keys.range(range.start()..=range.last()) {
                let expected = path(&notable.model);
                rest.iter_mut().zip(&expected).for_each(|(rest, key)| *rest = (*rest - key).max(0.0));
                forecast.push((Place::Key(*key), expected));
            }
            forecast.insert(first, (Place::Rest(*range), rest));
        }
        forecast
    }

    /// All records expected in each of the next epochs.
    pub(crate) fn total(&self) -> Vec<Forecast> {
        self.total.forecasts(self.ahead)
    }

    fn take(&mut self, seen: &Measure) {
        self.total.observe(seen.total());
        for (total, records) in self.totals.iter_mut().zip(seen.weights(&self.ranges)) {
            total.observe(records);
        }
        for (key, notable) in &mut self.keys {
            let records = seen.at(*key);
            notable.model.observe(records);
            notable.worth.observe(records);
        }
    }

    fn pass(&mut self) {
        let keys = self.keys.values_mut().map(|notable| &mut notable.model);
        keys.chain(&mut self.totals).chain([&mut self.total]).for_each(|model| model.observe(f64::NAN));
    }

    /// Begins to forecast keys that have become notable, in place of such as have long been less so.
    fn note(&mut self, seen: &Measure, fair: f64) {
        let least = NOTABLE * fair;
        let is_new = |key: u64| !self.keys.contains_key(&key);
        let notable = seen.within(KeyRange::ALL).iter().filter(|p| p.seen && p.weight >= least && least > 0.0);
        let mut new: Vec<(u64, f64)> = notable.map(|p| (p.key, p.weight)).filter(|p| is_new(p.0)).collect();
        new.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut old: Vec<(u64, f64)> = self.keys.iter().map(|(key, n)| (*key, n.worth.forecast(1).mean)).collect();
        old.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (key, records) in new {
            if self.keys.len() >= MAX_KEYS {
                match old.pop() {
                    Some((light, worth)) if records >= REPLACES * worth => self.keys.remove(&light),
                    _ => break,
                };
            }
            let notable = Notable { model: model(self.ahead, self.keys.len()), worth: Exponential::new(WORTH_ALPHA) };
            self.keys.insert(key, notable);
        }
    }
}

/// The model of one of many series, that does not look for seasons in the same epoch as the others.
fn model(ahead: usize, index: usize) -> Blend {
    Blend::new(ahead).remembering(MEMORY).looking_later(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::Point;

    fn measure(points: &[(u64, f64)]) -> Measure {
        Measure::of_points(
            points.iter().map(|(key, weight)| Point { key: *key, weight: *weight, seen: true }).collect(),
        )
    }

    fn keys(cells: &Cells) -> Vec<u64> {
        cells.keys.keys().copied().collect()
    }

    #[test]
    fn the_ranges_cover_the_key_space_and_are_few() {
        for shards in [1, 3, 64, 65, 1_000] {
            let cells = Cells::new(&Assignment::even(shards, 1).unwrap(), 1);
            assert!(cells.ranges.len() <= MAX_RANGES && cells.ranges.len() * 2 >= shards.min(MAX_RANGES));
            let mut next = 0;
            for range in &cells.ranges {
                assert_eq!(u128::from(range.start()), next);
                next = range.end();
            }
            assert_eq!(next, 1 << 64);
        }
    }

    #[test]
    fn what_is_forecast_of_a_range_is_divided_into_its_keys_and_the_rest() {
        let mut cells = Cells::new(&Assignment::even(2, 2).unwrap(), 3);
        for epoch in 0..20 {
            cells.observe(epoch, &measure(&[(5, 60.0), (6, 1.0), (7, 2.0), (1 << 63, 40.0)]), 50.0);
        }
        let forecast = cells.forecast();
        let places: Vec<Place> = forecast.iter().map(|f| f.0).collect();
        let (left, right) = (cells.ranges[0], cells.ranges[1]);
        let expected = [Place::Rest(left), Place::Key(5), Place::Key(7), Place::Rest(right), Place::Key(1 << 63)];
        assert_eq!(places, expected);
        for (path, records) in forecast.iter().map(|f| &f.1).zip([1.0, 60.0, 2.0, 0.0, 40.0]) {
            assert!(path.len() == 3 && path.iter().all(|p| (p - records).abs() < 1e-6), "{path:?} for {records}");
        }
    }

    #[test]
    fn keys_that_have_long_been_lighter_give_way() {
        let mut cells = Cells::new(&Assignment::even(1, 1).unwrap(), 1);
        let full: Vec<(u64, f64)> = (0..MAX_KEYS as u64).map(|key| (key, 50.0 + key as f64)).collect();
        cells.observe(0, &measure(&full), 100.0);
        assert_eq!(cells.keys.len(), MAX_KEYS);
        cells.observe(1, &measure(&[(1_000, 99.0)]), 100.0);
        assert!(!keys(&cells).contains(&1_000), "once out of sight is not worth less");
        cells.observe(2, &measure(&[(1_000, 120.0), (1_001, 3.0)]), 100.0);
        assert!(keys(&cells).contains(&1_000) && !keys(&cells).contains(&0) && cells.keys.len() == MAX_KEYS);
    }

    #[test]
    fn epochs_left_out_keep_the_phase() {
        let cycle = |epoch: u64| if epoch.is_multiple_of(4) { 90.0 } else { 10.0 };
        let mut cells = Cells::new(&Assignment::even(1, 1).unwrap(), 4);
        (0..80).for_each(|epoch| cells.observe(epoch, &measure(&[(5, cycle(epoch))]), 100.0));
        // After 78 the phase would be another if 80 were taken for 79.
        cells.observe(81, &measure(&[(5, cycle(81))]), 100.0);
        let path = &cells.forecast()[1].1;
        assert!(path[2] > 60.0 && path[0] < 40.0 && path[1] < 40.0, "{path:?}");
        cells.observe(81 + LONGEST_GAP + 2, &measure(&[(6, 9.0)]), 10.0);
        assert_eq!(keys(&cells), [6]);
    }
}
