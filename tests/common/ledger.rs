//! A logic with two inputs and every feature, that does not depend on the order of a time's records; and what it must
//! give, computed without timely.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use thalweg::keyed::Context;
use thalweg::{Ticks, stable_hash};

use super::Random;
use super::flow::Timed;

/// A record of the left input: key and amount.
pub type Left = (u64, u64);

/// A record of the right input: its key as text, and an amount.
pub type Right = (String, u32);

/// What the logic gives: the key; an amount, or the state; and whether it comes from the left (0), from the right (1),
/// or from a timer (2).
pub type Row = (u64, u64, u8);

pub fn left_key(record: &Left) -> u64 {
    record.0
}

pub fn right_key(record: &Right) -> u64 {
    record.0.parse().unwrap()
}

pub fn route_left(record: &Left) -> u64 {
    stable_hash(&record.0)
}

pub fn route_right(record: &Right) -> u64 {
    stable_hash(&right_key(record))
}

/// From a record to the timer that it sets, in ticks.
fn delay(amount: u64, reach: u64) -> u64 {
    1 + amount % reach
}

fn add_left(state: &mut u64, amount: u64) {
    *state = state.wrapping_add(amount);
}

fn add_right(state: &mut u64, amount: u32) {
    *state = state.wrapping_add(u64::from(amount) << 20);
}

/// What a timer does to the state: whether it sets another one, and whether it forgets.
fn fire(state: &mut u64) -> (bool, bool) {
    let again = state.is_multiple_of(3);
    *state = state.wrapping_add(1);
    (again, !again && state.is_multiple_of(5))
}

fn schedule<T: Ticks>(delay: u64, context: &mut Context<'_, T, u64, Row>) {
    if let Some(at) = context.time().ticks().checked_add(delay).and_then(T::from_ticks) {
        context.schedule(&at);
    }
}

/// Takes a record of the left input; its timer is at most `reach` ticks away.
pub fn on_left<T: Ticks>(reach: u64) -> impl FnMut(Left, &mut u64, &mut Context<'_, T, u64, Row>) + 'static {
    move |(key, amount), state, context| {
        add_left(state, amount);
        context.give((key, amount, 0));
        schedule(delay(amount, reach), context);
    }
}

/// Takes a record of the right input; its timer is at most `reach` ticks away.
pub fn on_right<T: Ticks>(reach: u64) -> impl FnMut(Right, &mut u64, &mut Context<'_, T, u64, Row>) + 'static {
    move |record, state, context| {
        add_right(state, record.1);
        context.give((right_key(&record), u64::from(record.1), 1));
        schedule(delay(u64::from(record.1), reach), context);
    }
}

/// Tells the state; sometimes sets another timer, sometimes forgets.
pub fn on_timer<T: Ticks>(reach: u64) -> impl FnMut(&mut u64, &mut Context<'_, T, u64, Row>) + 'static {
    move |state, context| {
        context.give((*context.key(), *state, 2));
        let (again, forget) = fire(state);
        if again {
            schedule(reach, context);
        }
        if forget {
            context.forget();
        }
    }
}

/// The states of the keys, computed one record after the other.
struct Model {
    /// The latest time there is.
    latest: u64,
    reach: u64,
    states: BTreeMap<u64, u64>,
    /// Of each key, and by time.
    timers: (BTreeMap<u64, BTreeSet<u64>>, BTreeMap<u64, BTreeSet<u64>>),
    /// Those keys that only their timers keep.
    forgotten: BTreeSet<u64>,
}

impl Model {
    fn set(&mut self, now: u64, key: u64, delay: u64) {
        let Some(at) = now.checked_add(delay).filter(|at| *at <= self.latest) else { return };
        self.timers.0.entry(key).or_default().insert(at);
        self.timers.1.entry(at).or_default().insert(key);
    }

    fn fire(&mut self, now: u64, rows: &mut Vec<Row>) {
        for key in self.timers.1.remove(&now).unwrap_or_default() {
            self.timers.0.entry(key).or_default().remove(&now);
            let state = self.states.entry(key).or_default();
            rows.push((key, *state, 2));
            let (again, forget) = fire(state);
            if forget {
                *state = 0;
                self.forgotten.insert(key);
            }
            if again {
                self.set(now, key, self.reach);
            }
            if self.forgotten.contains(&key) && self.timers.0[&key].is_empty() {
                self.forgotten.remove(&key);
                self.states.remove(&key);
            }
        }
    }

    fn add(&mut self, now: u64, key: u64, amount: u64, add: impl FnOnce(&mut u64)) {
        add(self.states.entry(key).or_default());
        self.forgotten.remove(&key);
        self.set(now, key, delay(amount, self.reach));
    }
}

/// What the logic must give where the latest time there is has so many ticks.
pub fn expected_until(latest: u64, reach: u64, left: &Timed<Left>, right: &Timed<Right>) -> Timed<Row> {
    let (states, timers, forgotten) = Default::default();
    let mut model = Model { latest, reach, states, timers, forgotten };
    let mut outputs = Timed::new();
    let data: BTreeSet<u64> = left.keys().chain(right.keys()).copied().collect();
    let mut next = data.first().copied();
    while let Some(now) = next {
        let mut rows = Vec::new();
        model.fire(now, &mut rows);
        for (key, amount) in left.get(&now).into_iter().flatten() {
            model.add(now, *key, *amount, |state| add_left(state, *amount));
            rows.push((*key, *amount, 0));
        }
        for record in right.get(&now).into_iter().flatten() {
            let (key, amount) = (right_key(record), u64::from(record.1));
            model.add(now, key, amount, |state| add_right(state, record.1));
            rows.push((key, amount, 1));
        }
        if !rows.is_empty() {
            rows.sort_unstable();
            outputs.insert(now, rows);
        }
        next = data.range(now + 1..).next().into_iter().chain(model.timers.1.keys().next()).min().copied();
    }
    outputs
}

/// What the logic must give.
pub fn expected(reach: u64, left: &Timed<Left>, right: &Timed<Right>) -> Timed<Row> {
    expected_until(u64::MAX, reach, left, right)
}

/// Records of the left input at random: about `records` in all, at times before `end`.
pub fn lefts(seed: u64, records: u64, keys: u64, end: u64) -> Timed<Left> {
    let mut random = Random(seed);
    let mut all = Timed::new();
    for _ in 0..if end == 0 { 0 } else { records } {
        let (at, key, amount) = (random.next() % end, skewed(&mut random, keys), random.next() % 1000);
        all.entry(at).or_insert_with(Vec::new).push((key, amount));
    }
    all
}

/// Records of the right input at random.
pub fn rights(seed: u64, records: u64, keys: u64, end: u64) -> Timed<Right> {
    let other = |(key, amount): (u64, u64)| (key.to_string(), amount as u32);
    let all = lefts(!seed, records, keys, end).into_iter();
    all.map(|(at, records)| (at, records.into_iter().map(other).collect())).collect()
}

/// Half of the records are of a few keys.
fn skewed(random: &mut Random, keys: u64) -> u64 {
    let end = if random.next().is_multiple_of(2) { keys.min(4) } else { keys };
    random.next() % end.max(1)
}

/// How far one input is behind the other, and which of them end early: steps of the left and of the right one.
pub fn lags() -> impl Strategy<Value = [(usize, bool); 2]> {
    let lag = prop_oneof![3 => Just(0usize), 2 => 1..6usize];
    let side = (lag, any::<bool>());
    [side.clone(), side]
}
