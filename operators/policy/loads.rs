use std::collections::VecDeque;

use super::View;
use super::measure::{Measure, Point, merge_equal};
use crate::forecast::{Exponential, Forecaster};
use crate::keyspace::{Assignment, KeyRange};

pub(crate) fn tune(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Epochs that are remembered.
pub(crate) fn memory() -> usize {
    tune("MEMORY", 8.0) as usize
}
/// Weight of the newest epoch.
pub(crate) fn alpha() -> f64 {
    tune("ALPHA", 0.3)
}

/// What is known of the load, wherever shards begin and end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loads {
    /// The epochs remembered, oldest first.
    epochs: VecDeque<Measure>,
    /// State in bytes of ranges that cover the key space, in order.
    state: Vec<(KeyRange, f64)>,
    /// The assignment of the first view: where each routing key was at home.
    home: Option<Assignment>,
    errors: Option<Exponential>,
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
        self.home.get_or_insert_with(|| view.assignment.clone());
        if self.epochs.len() == memory() {
            self.epochs.pop_front();
        }
        let now = Measure::of(view.profiles);
        self.learn(view, &now);
        self.epochs.push_back(now);
        let ranges: Vec<KeyRange> = view.assignment.iter().map(|(range, _)| range).collect();
        self.state = self.divided(&ranges);
        for profile in view.profiles {
            self.set_state(profile.range, profile.state_bytes as f64);
        }
    }

    fn learn(&mut self, view: &View<'_>, now: &Measure) {
        let lead = (view.boundary - view.epoch) as usize;
        let known = (self.epochs.len() + 1).saturating_sub(lead);
        if known == 0 {
            return;
        }
        let owners: Vec<_> = view.assignment.iter().collect();
        let shards = self.shards(&owners, lead);
        let actual: Vec<f64> = now.weights(owners.iter().map(|o| o.0)).collect();
        let exp: Vec<f64> = shards.iter().map(|s| expected(&s.recent[..known], lead)).collect();
        let (te, ta): (f64, f64) = (exp.iter().sum(), actual.iter().sum());
        if te <= 0.0 || ta <= 0.0 {
            return;
        }
        let error: f64 = if tune("PERWORKER", 1.0) > 0.0 {
            let mut w = vec![0.0; view.assignment.workers()];
            for (i, o) in owners.iter().enumerate() {
                w[o.1] += exp[i] / te - actual[i] / ta;
            }
            w.iter().map(|x: &f64| x.abs()).sum()
        } else {
            (0..exp.len()).map(|i| (exp[i] / te - actual[i] / ta).abs()).sum()
        };
        if std::env::var("ERR").is_ok() {
            print!("{error:.2} ");
        }
        self.errors.get_or_insert_with(|| Exponential::new(tune("EALPHA", 0.3))).observe(error);
    }

    pub(crate) fn error(&self) -> f64 {
        self.errors.as_ref().map_or(1.0, |e| e.forecast(1).mean)
    }

    /// How likely the next epoch is to be like each one remembered, oldest first; together 1.
    pub(crate) fn likelihood(&self) -> Vec<f64> {
        let weight = |age: usize| (1.0 - alpha()).powi(age as i32);
        let total: f64 = (0..self.epochs.len()).map(weight).sum();
        (0..self.epochs.len()).rev().map(|age| weight(age) / total).collect()
    }

    /// The shards with these owners, which are in order and cover the key space.
    pub(crate) fn shards(&self, owners: &[(KeyRange, usize)], horizon: usize) -> Vec<Shard> {
        let ranges: Vec<KeyRange> = owners.iter().map(|o| o.0).collect();
        let mut recent = vec![Vec::with_capacity(self.epochs.len()); owners.len()];
        for epoch in &self.epochs {
            for (recent, weight) in recent.iter_mut().zip(epoch.weights(ranges.iter().copied())) {
                recent.push(weight);
            }
        }
        let state = self.divided(&ranges);
        (owners.iter().zip(recent).zip(state))
            .map(|((&(range, owner), recent), (_, bytes))| Shard {
                range,
                owner,
                home: self.home_of(range).map_or(owner, |h| h.1),
                load: expected(&recent, horizon),
                recent,
                bytes,
            })
            .collect()
    }

    /// The shard of the start that holds a range's first routing key, and its owner.
    pub(crate) fn home_of(&self, range: KeyRange) -> Option<(KeyRange, usize)> {
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

    fn set_state(&mut self, range: KeyRange, bytes: f64) {
        let first = self.state.partition_point(|(r, _)| r.last() < range.start());
        let count = self.state[first..].partition_point(|(r, _)| r.start() <= range.last());
        for index in first..first + count {
            let known = self.state[index].0;
            // A range of an older assignment: its parts may now be several shards, or a part of one.
            if range.covers(&known) {
                self.state[index].1 = if range == known { bytes } else { bytes * self.share(known, range) };
            }
        }
    }
}

fn expected(recent: &[f64], horizon: usize) -> f64 {
    let mut model = Exponential::new(alpha());
    recent.iter().for_each(|records| model.observe(*records));
    model.forecast(horizon).mean
}

fn width(range: KeyRange) -> f64 {
    (range.last() - range.start()) as f64 + 1.0
}
