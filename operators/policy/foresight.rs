use std::collections::VecDeque;

use super::View;
use super::cells::{Cells, Place};
use super::loads::ALPHA;
use super::trust::Trust;
use crate::forecast::Forecast;
use crate::keyspace::KeyRange;
use crate::planning::{Measure, Point, spread};

/// The farthest epoch that is foreseen. What a model notes of its forecasts goes with the square.
const FARTHEST: usize = 256;

/// What will be: the records of the epochs from the boundary on, and how far that is to be believed.
#[derive(Clone, Debug)]
pub(crate) struct Foresight {
    /// Epochs foreseen, from the boundary on.
    horizon: usize,
    cells: Option<Cells>,
    /// The parts of the key space with their records in those epochs.
    expected: Vec<(Place, Vec<f64>)>,
    /// All records in those epochs.
    total: Vec<Forecast>,
    /// What was expected of the first of them, by the epoch meant; oldest first.
    claims: VecDeque<Claim>,
    trust: Trust,
    total_trust: Trust,
}

/// What was expected of an epoch when it was planned for.
#[derive(Clone, Debug)]
struct Claim {
    epoch: u64,
    /// For each part of the key space, what was foreseen, and what the epochs before make one expect.
    parts: Vec<(Place, f64, f64)>,
    /// The same of all records, for which those of the newest epoch are the usual.
    total: (f64, f64),
}

impl Foresight {
    pub(crate) fn new(horizon: usize) -> Self {
        Foresight {
            horizon,
            cells: None,
            expected: Vec::new(),
            total: Vec::new(),
            claims: VecDeque::new(),
            trust: Trust::default(),
            total_trust: Trust::default(),
        }
    }

    /// Takes what an epoch showed; `usual` is what the epochs remembered, this one included, make one expect of any.
    pub(crate) fn observe(&mut self, view: &View<'_>, seen: &Measure, usual: &Measure) {
        let lead = view.boundary.saturating_sub(view.epoch).max(1) as usize;
        let ahead = lead.saturating_add(self.horizon - 1);
        if ahead > FARTHEST {
            *self = Foresight::new(self.horizon);
            return;
        }
        if self.cells.as_ref().is_none_or(|cells| cells.ahead() != ahead) {
            *self = Foresight { cells: Some(Cells::new(view.assignment, ahead)), ..Foresight::new(self.horizon) };
        }
        let Some(cells) = &mut self.cells else { return };
        let records = seen.total();
        cells.observe(view.epoch, seen, records / view.assignment.workers() as f64);
        let due = self.claims.partition_point(|claim| claim.epoch <= view.epoch);
        for claim in self.claims.drain(..due).filter(|claim| claim.epoch == view.epoch) {
            self.trust.learn(&compared(&claim.parts, seen));
            self.total_trust.learn(&[[claim.total.0, claim.total.1, records]]);
        }
        self.expected = cells.forecast();
        self.expected.iter_mut().for_each(|(_, path)| drop(path.drain(..lead - 1)));
        let places: Vec<Place> = self.expected.iter().map(|e| e.0).collect();
        let usual = by_place(&places, usual);
        let parts = self.expected.iter().zip(usual).map(|((place, path), usual)| (*place, path[0], usual));
        self.total = cells.total().split_off(lead - 1);
        let total = (self.total[0].mean, records);
        self.claims.push_back(Claim { epoch: view.boundary, parts: parts.collect(), total });
    }

    /// How wrong it is, its trust in itself considered, in proportion to how wrong it would be to expect what was.
    pub(crate) fn relative_error(&self) -> f64 {
        self.trust.relative_error()
    }

    /// All records of each epoch from the boundary on.
    pub(crate) fn total(&self) -> &[Forecast] {
        &self.total
    }

    /// How far that is to be believed, rather than that there will be as many as in the newest epoch.
    pub(crate) fn total_trust(&self) -> f64 {
        self.total_trust.weight()
    }

    /// The keys that have a forecast of their own, with what they can be relied on to have at the boundary.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (u64, f64)> {
        let trust = self.trust.weight();
        self.expected.iter().filter_map(move |(place, path)| match place {
            Place::Key(key) => Some((*key, trust * path[0])),
            Place::Rest(_) => None,
        })
    }

    /// Where the records of the epochs from the boundary on will lie, inside a range as they usually do; with how
    /// likely it is that the next epoch planned for is like each, together the trust in all of it. There are none
    /// without trust. What is far off counts less, as it is both less certain and to be planned for again.
    pub(crate) fn scenarios(&self, usual: &Measure) -> Vec<(Measure, f64)> {
        let trust = self.trust.weight();
        if trust == 0.0 {
            return Vec::new();
        }
        let weight = |ahead: usize| (1.0 - ALPHA).powi(ahead as i32);
        let sum: f64 = (0..self.horizon).map(weight).sum();
        (0..self.horizon).map(|ahead| (self.measure(ahead, usual), trust * weight(ahead) / sum)).collect()
    }

    fn measure(&self, ahead: usize, shape: &Measure) -> Measure {
        let mut points = Vec::new();
        let mut places = self.expected.iter().peekable();
        while let Some((place, path)) = places.next() {
            let Place::Rest(range) = place else { continue };
            let mut keys = Vec::new();
            while let Some((Place::Key(key), path)) = places.next_if(|(place, _)| matches!(place, Place::Key(_))) {
                keys.push(Point { key: *key, weight: path[ahead], seen: true });
            }
            points.extend(shaped(*range, path[ahead], shape, &keys));
            points.extend(keys.into_iter().filter(|point| point.weight > 0.0));
        }
        points.sort_by_key(|point| point.key);
        Measure::of_points(points)
    }
}

/// So many records in a range, beside its keys, which are in order.
fn shaped(range: KeyRange, records: f64, shape: &Measure, keys: &[Point]) -> Vec<Point> {
    let beside = |point: &&Point| keys.binary_search_by_key(&point.key, |key| key.key).is_err();
    let rest: Vec<Point> = shape.within(range).iter().filter(beside).copied().collect();
    let sum: f64 = rest.iter().map(|point| point.weight).sum();
    match records {
        0.0 => Vec::new(),
        _ if sum > 0.0 => rest.into_iter().map(|p| Point { weight: p.weight * records / sum, ..p }).collect(),
        _ => spread(range, records).collect(),
    }
}

/// The records of each of these places, a range being followed by its keys.
fn by_place(places: &[Place], measure: &Measure) -> Vec<f64> {
    let mut records = Vec::with_capacity(places.len());
    let mut rest = 0;
    for (index, place) in places.iter().enumerate() {
        match place {
            Place::Rest(range) => {
                rest = index;
                records.push(measure.within(*range).iter().map(|p| p.weight).sum());
            }
            Place::Key(key) => {
                let own = measure.at(*key);
                records[rest] = f64::max(records[rest] - own, 0.0);
                records.push(own);
            }
        }
    }
    records
}

/// For each part, its share of the records: as foreseen, as usual, and as it came.
fn compared(parts: &[(Place, f64, f64)], seen: &Measure) -> Vec<[f64; 3]> {
    let places: Vec<Place> = parts.iter().map(|part| part.0).collect();
    let came = by_place(&places, seen);
    let all: Vec<[f64; 3]> =
        parts.iter().zip(came).map(|((_, foreseen, usual), came)| [*foreseen, *usual, came]).collect();
    let sums: [f64; 3] = std::array::from_fn(|i| all.iter().map(|part| part[i]).sum());
    if sums.iter().any(|sum| *sum <= 0.0) {
        return Vec::new();
    }
    all.into_iter().map(|part| std::array::from_fn(|i| part[i] / sums[i])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Assignment;

    fn measure(points: &[(u64, f64)]) -> Measure {
        Measure::of_points(
            points.iter().map(|(key, weight)| Point { key: *key, weight: *weight, seen: true }).collect(),
        )
    }

    const LEFT: KeyRange = KeyRange::ALL;

    #[test]
    fn records_lie_inside_a_range_as_they_usually_do() {
        let mut foresight = Foresight::new(2);
        foresight.expected = vec![(Place::Rest(LEFT), vec![30.0, 60.0]), (Place::Key(7), vec![5.0, 0.0])];
        let usual = measure(&[(3, 1.0), (7, 900.0), (9, 2.0)]);
        assert_eq!(foresight.measure(0, &usual), measure(&[(3, 10.0), (7, 5.0), (9, 20.0)]));
        assert_eq!(foresight.measure(1, &usual), measure(&[(3, 20.0), (9, 40.0)]));
        let spread = foresight.measure(1, &Measure::default());
        assert!((spread.total() - 60.0).abs() < 1e-9 && spread.within(KeyRange::ALL).len() > 1);
    }

    #[test]
    fn what_came_of_a_range_is_what_its_keys_leave() {
        let places = [Place::Rest(LEFT), Place::Key(7), Place::Key(9)];
        assert_eq!(by_place(&places, &measure(&[(3, 1.0), (7, 4.0), (8, 2.0)])), [3.0, 4.0, 0.0]);
    }

    #[test]
    fn a_claim_is_judged_by_the_epoch_that_it_is_about() {
        let assignment = Assignment::even(2, 2).unwrap();
        let (left, right) = (1, u64::MAX);
        // By turns to the left and to the right: what a lead of 2 foresees for the epoch it means is right each time.
        let seen = |epoch: u64| {
            measure(&if epoch % 4 < 2 { [(left, 90.0), (right, 10.0)] } else { [(left, 10.0), (right, 90.0)] })
        };
        let mut foresight = Foresight::new(3);
        for epoch in 0..120 {
            let (boundary, assignment) = (epoch + 2, &assignment);
            let view = View { epoch, boundary, assignment, profiles: &[], can_fold: false, folded: &[] };
            foresight.observe(&view, &seen(epoch), &measure(&[(left, 50.0), (right, 50.0)]));
        }
        assert!(foresight.trust.weight() > 0.9 && foresight.relative_error() < 0.2, "{:?}", foresight.trust);
        let scenarios = foresight.scenarios(&Measure::default());
        for (ahead, (measure, _)) in scenarios.iter().enumerate() {
            let came = seen(119 + 2 + ahead as u64);
            assert!((measure.at(left) - came.at(left)).abs() < 5.0, "{ahead}: {measure:?}");
        }
        let likelihood: f64 = scenarios.iter().map(|s| s.1).sum();
        assert!((likelihood - foresight.trust.weight()).abs() < 1e-9 && scenarios[0].1 > scenarios[2].1);
    }
}
