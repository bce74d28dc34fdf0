use std::collections::VecDeque;

use super::View;
use super::measure::{Measure, Point, merge_equal};
use crate::forecast::{Exponential, Forecaster};
use crate::keyspace::{Assignment, KeyRange};

/// Epochs remembered. At [`ALPHA`] what is older would weigh under 6 % together; 5 and 12 gave the same balance.
const MEMORY: usize = 8;

/// Weight of the newest epoch in a shard's expected load. From 0.2 to 0.5 the balance on recorded streams was alike; higher
/// follows noise with more moves.
const ALPHA: f64 = 0.3;

/// Weight of the newest epoch in the error of the forecast: the error is a trait of the stream, and slower than its load.
const ERROR_ALPHA: f64 = 0.3;

/// The error assumed before one was seen: that of a stream whose next epoch has nothing to do with the last ones.
const UNKNOWN_ERROR: f64 = 1.0;

/// What is known of the load, wherever shards begin and end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loads {
    /// The epochs remembered, oldest first.
    epochs: VecDeque<Measure>,
    /// State in bytes of ranges that cover the key space, in order.
    state: Vec<(KeyRange, f64)>,
    /// The assignment of the first view: where each routing key is at home.
    home: Option<Assignment>,
    error: Option<Exponential>,
}

/// A shard of the planned assignment, and what it is expected to carry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shard {
    pub(crate) range: KeyRange,
    pub(crate) owner: usize,
    /// Who owned its first routing key at the start.
    pub(crate) home: usize,
    /// Records expected per epoch.
    pub(crate) load: f64,
    /// Records in each epoch remembered, oldest first.
    pub(crate) recent: Vec<f64>,
    /// Bytes of state.
    pub(crate) bytes: f64,
}

impl Loads {
    /// Takes what the epoch of a view showed.
    pub(crate) fn observe(&mut self, view: &View<'_>) {
        if self.home.as_ref().is_none_or(|h| h.workers() != view.assignment.workers()) {
            self.home = Some(view.assignment.clone());
        }
        let now = Measure::of(view.profiles);
        let ranges: Vec<KeyRange> = view.assignment.iter().map(|(range, _)| range).collect();
        self.learn_error(&now, &ranges, view.boundary.saturating_sub(view.epoch).max(1) as usize);
        if self.epochs.len() == MEMORY {
            self.epochs.pop_front();
        }
        self.epochs.push_back(now);
        self.state = self.divided(&ranges);
        for profile in view.profiles {
            self.set_state(profile.range, profile.state_bytes as f64);
        }
    }

    /// How wrong forecasts have been: the part of the records, from 0 to 2, that was expected in another shard than it
    /// came to, counted on both sides.
    pub(crate) fn error(&self) -> f64 {
        self.error.as_ref().map_or(UNKNOWN_ERROR, |e| e.forecast(1).mean)
    }

    /// How likely the next epoch is to be like each one remembered, oldest first; together 1.
    pub(crate) fn likelihood(&self) -> Vec<f64> {
        let weight = |age: usize| (1.0 - ALPHA).powi(age as i32);
        let total: f64 = (0..self.epochs.len()).map(weight).sum();
        (0..self.epochs.len()).rev().map(|age| weight(age) / total).collect()
    }

    /// The shards with these owners, which are in order and cover the key space.
    pub(crate) fn shards(&self, owners: &[(KeyRange, usize)], horizon: usize) -> Vec<Shard> {
        let ranges: Vec<KeyRange> = owners.iter().map(|o| o.0).collect();
        let state = self.divided(&ranges);
        (owners.iter().zip(self.recent(&ranges)).zip(state))
            .map(|((&(range, owner), recent), (_, bytes))| Shard {
                range,
                owner,
                home: self.home(range).map_or(owner, |h| h.1),
                load: expected(&recent, horizon),
                recent,
                bytes,
            })
            .collect()
    }

    /// The shard of the start that holds a range's first routing key, and its owner.
    pub(crate) fn home(&self, range: KeyRange) -> Option<(KeyRange, usize)> {
        let home = self.home.as_ref()?;
        let index = home.find(range.start());
        Some((home.range(index), home.owner(index)))
    }

    /// What all epochs remembered together show inside a range, weighted by their likelihood.
    pub(crate) fn points(&self, range: KeyRange) -> Vec<Point> {
        let mut points: Vec<Point> = (self.epochs.iter().zip(self.likelihood()))
            .flat_map(|(epoch, w)| epoch.within(range).iter().map(move |p| Point { weight: p.weight * w, ..*p }))
            .collect();
        points.sort_by_key(|p| p.key);
        merge_equal(&points)
    }

    /// The records of each range in each epoch remembered.
    fn recent(&self, ranges: &[KeyRange]) -> Vec<Vec<f64>> {
        let mut recent = vec![Vec::with_capacity(MEMORY); ranges.len()];
        for epoch in &self.epochs {
            for (recent, records) in recent.iter_mut().zip(epoch.weights(ranges)) {
                recent.push(records);
            }
        }
        recent
    }

    /// Compares an epoch with what could be expected of it when the commands for it were decided, `lead` epochs ago.
    fn learn_error(&mut self, now: &Measure, ranges: &[KeyRange], lead: usize) {
        let known = (self.epochs.len() + 1).saturating_sub(lead);
        if known == 0 {
            return;
        }
        let forecast: Vec<f64> = self.recent(ranges).iter().map(|r| expected(&r[..known], lead)).collect();
        let actual = now.weights(ranges);
        let (expected, came): (f64, f64) = (forecast.iter().sum(), actual.iter().sum());
        if expected > 0.0 && came > 0.0 {
            let error = forecast.iter().zip(&actual).map(|(f, a)| (f / expected - a / came).abs()).sum();
            self.error.get_or_insert_with(|| Exponential::new(ERROR_ALPHA)).observe(error);
        }
    }

    /// The state of other ranges that cover the key space: what is divided is divided by the routing keys seen, and
    /// where none were seen by width.
    fn divided(&self, ranges: &[KeyRange]) -> Vec<(KeyRange, f64)> {
        let mut old = self.state.iter().peekable();
        let mut divided = Vec::with_capacity(ranges.len());
        for &range in ranges {
            let mut bytes = 0.0;
            while let Some((from, state)) = old.peek() {
                if let Some(part) = from.intersection(&range) {
                    bytes += if part == *from { *state } else { state * self.share(part, *from) };
                }
                if from.last() > range.last() {
                    break;
                }
                old.next();
            }
            divided.push((range, bytes));
        }
        divided
    }

    /// The part of the state of `whole` that lies in `part`.
    fn share(&self, part: KeyRange, whole: KeyRange) -> f64 {
        let keys = |range| self.epochs.back().map_or(0, |e| e.within(range).iter().filter(|p| p.seen).count());
        match keys(whole) {
            0 => width(part) / width(whole),
            all => keys(part) as f64 / all as f64,
        }
    }

    /// Takes the state that a profile gives. Its range may be of an older assignment: several shards now, or a part of
    /// one, of whose other parts nothing new is known.
    fn set_state(&mut self, range: KeyRange, bytes: f64) {
        let first = self.state.partition_point(|(r, _)| r.last() < range.start());
        let count = self.state[first..].partition_point(|(r, _)| r.start() <= range.last());
        for index in first..first + count {
            let known = self.state[index].0;
            if range == known {
                self.state[index].1 = bytes;
            } else if range.covers(&known) {
                self.state[index].1 = bytes * self.share(known, range);
            } else {
                self.state[index].1 = self.state[index].1.max(bytes);
            }
        }
    }
}

fn expected(recent: &[f64], horizon: usize) -> f64 {
    let mut model = Exponential::new(ALPHA);
    recent.iter().for_each(|records| model.observe(*records));
    model.forecast(horizon).mean
}

fn width(range: KeyRange) -> f64 {
    (range.last() - range.start()) as f64 + 1.0
}
