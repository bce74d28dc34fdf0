//! Taking records into the states of their keys: the hot path.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::ops::Range;
use std::time::Instant;
use std::vec;

use timely::dataflow::operators::Capability;

use super::Fault;
use super::codec::Codec;
use super::logic::{Context, Logic, Side};
use super::ports::Hold;
use super::shards::{Occasion, Place, Shards};
use super::timers::Timer;
use crate::epoch::{Epochs, Ticks};
use crate::error::Error;
use crate::profile::{Gathering, Sampler};

/// Records given to the output in one container, as in timely's own.
const OUTPUT_BATCH: usize = 1024;

/// The share of records that are timed. Reading the clock twice takes about as long as some records do.
const TIMED: f64 = 1.0 / 512.0;

/// Keys that are located before the first of them is updated: so few that what is known of them stays in the nearest
/// cache.
const LOCATED: usize = 128;

/// Timers fired in one activation, so that others have their turn: some tenths of a millisecond, if a timer is little
/// work.
const TIMERS_PER_TURN: usize = 4096;

/// What a time's records and timers leave behind.
pub(super) struct Traces<R> {
    /// What the logic has given.
    pub output: Vec<R>,
    /// Times for which timers have been set.
    pub scheduled: Vec<u64>,
    /// What shards have seen in the current epoch.
    pub gathering: Gathering,
    pub timing: Timing,
    /// Of the batch that is being applied.
    pub places: Places,
}

/// Where the records of a batch belong.
#[derive(Default)]
pub(super) struct Places {
    routing: Vec<u64>,
    /// Indices of shards.
    shards: Vec<u32>,
}

impl Places {
    /// Finds the places of records; whether all are here.
    fn find<T, K, S, C, D>(&mut self, side: &D, records: &[D::Record], shards: &Shards<K, S, C, Hold<T>>) -> bool
    where
        T: Ticks,
        K: Hash + Eq + Clone,
        S: Default,
        C: Codec<K, S>,
        D: Side<T>,
    {
        self.routing.resize(records.len(), 0);
        let routing = self.routing.iter_mut().zip(records).map(|(routing, record)| {
            *routing = side.routing_key(record);
            *routing
        });
        let mut are_here = true;
        self.shards.clear();
        self.shards.extend(shards.find_each(routing).map(|index| {
            are_here &= shards.place(index) == Place::Here;
            index as u32
        }));
        are_here
    }

    fn len(&self) -> usize {
        self.routing.len()
    }
}

/// Which records are timed: one in so many, each with the chance of any other.
pub(super) struct Timing {
    sampler: Sampler,
    /// Records before the next one.
    left: u64,
}

impl Timing {
    pub fn new(seed: u64) -> Self {
        let mut sampler = Sampler::new(TIMED, seed);
        let left = sampler.gap() - 1;
        Timing { sampler, left }
    }

    /// How many of these records come before the next one that is to be timed.
    fn untimed(&mut self, records: usize) -> usize {
        let untimed = self.left.min(records as u64);
        self.left -= untimed;
        untimed as usize
    }

    /// Whether the next record is to be timed.
    fn is_due(&mut self) -> bool {
        let is_due = self.left == 0;
        if is_due {
            self.left = self.sampler.gap() - 1;
        }
        is_due
    }

    /// How many records a timed one stands for.
    fn every(&self) -> u64 {
        self.sampler.every()
    }
}

/// Records that wait for a shard, with their times, in time order.
pub(super) struct Stash<T: Ticks, B> {
    /// At the first of the times.
    pub capability: Capability<T>,
    pub batches: Vec<(T, B)>,
}

/// By the start of the shard that they wait for.
pub(super) type Stashes<T, B> = BTreeMap<u64, Stash<T, B>>;

/// The states of a worker's keys at one time, as a [`Logic`] sees them.
#[allow(missing_debug_implementations, reason = "sessions are not Debug")]
pub struct Applying<'a, T: Ticks, L: Logic<T>, C: Codec<L::Key, L::State>> {
    pub(super) name: &'a str,
    pub(super) at: &'a T,
    pub(super) epochs: Epochs,
    pub(super) shards: &'a mut Shards<L::Key, L::State, C, Hold<T>>,
    pub(super) traces: &'a mut Traces<L::Output>,
    pub(super) stashes: &'a mut Stashes<T, L::Batch>,
    /// Sends what it is given, at this time.
    pub(super) send: &'a mut dyn FnMut(&mut Vec<L::Output>),
    pub(super) capability: &'a Capability<T>,
    pub(super) fault: &'a Fault,
}

impl<T: Ticks, L: Logic<T>, C: Codec<L::Key, L::State>> Applying<'_, T, L, C> {
    /// Takes the records of one input, in their order. Those whose shard is on its way are put aside as a `batch`.
    pub fn each<D>(&mut self, side: &mut D, mut records: Vec<D::Record>, batch: impl Fn(Vec<D::Record>) -> L::Batch)
    where
        D: Side<T, Key = L::Key, State = L::State, Output = L::Output>,
    {
        let mut places = std::mem::take(&mut self.traces.places);
        if !places.find(side, &records, self.shards) {
            records = self.put_aside(side, records, batch);
            places.find(side, &records, self.shards);
        }
        if D::OBSERVED {
            self.observe(side, &records, &places);
        }
        let (mut records, mut from) = (records.into_iter(), 0);
        while from < places.len() {
            let to = from + self.traces.timing.untimed(LOCATED.min(places.len() - from));
            self.update(side, &mut records, &places, from..to);
            from = to;
            if from < places.len() && self.traces.timing.is_due() {
                let started = Instant::now();
                self.update(side, &mut records, &places, from..from + 1);
                let nanos = nanos_since(started).saturating_mul(self.traces.timing.every());
                self.traces.gathering.add_busy(places.shards[from], nanos);
                from += 1;
            }
            if self.traces.output.len() >= OUTPUT_BATCH {
                self.flush();
            }
        }
        self.traces.places = places;
    }

    /// Takes those records that come next, whose places these are, into the states of their keys.
    fn update<D>(&mut self, side: &mut D, records: &mut vec::IntoIter<D::Record>, places: &Places, those: Range<usize>)
    where
        D: Side<T, Key = L::Key, State = L::State, Output = L::Output>,
    {
        let (time, epochs) = (self.at, self.epochs);
        let Self { shards, traces: Traces { output, scheduled, .. }, .. } = self;
        if D::STATEFUL {
            let (routing, indices) = (&places.routing[those.clone()], &places.shards[those]);
            shards.locate(routing, records.as_slice().iter().map(|record| side.key(record)));
            return shards.update_located(routing, indices, scheduled, |key, state, timers| {
                let Some(record) = records.next() else { return false };
                let mut context = Context { time, epochs, key, output, timers, forget: false };
                side.on_record(record, state, &mut context);
                context.forget
            });
        }
        for record in records.take(those.len()) {
            let (key, mut state, mut timers) = (side.key(&record), D::State::default(), Vec::new());
            let mut context = Context { time, epochs, key: &key, output, timers: &mut timers, forget: false };
            side.on_record(record, &mut state, &mut context);
        }
    }

    /// Puts aside the records whose shards are not here, and gives the others.
    #[cold]
    fn put_aside<D>(
        &mut self,
        side: &D,
        records: Vec<D::Record>,
        batch: impl Fn(Vec<D::Record>) -> L::Batch,
    ) -> Vec<D::Record>
    where
        D: Side<T, Key = L::Key, State = L::State, Output = L::Output>,
    {
        let mut waiting: BTreeMap<u64, Vec<D::Record>> = BTreeMap::new();
        let mut here = Vec::with_capacity(records.len());
        for record in records {
            let routing = side.routing_key(&record);
            let index = self.shards.find(routing);
            match self.shards.place(index) {
                Place::Here => here.push(record),
                Place::Coming => waiting.entry(self.shards.range(index).start()).or_default().push(record),
                Place::Elsewhere => self.fault.set(misrouted(self.name, routing)),
            }
        }
        for (shard, records) in waiting {
            let stash = || Stash { capability: self.capability.clone(), batches: Vec::new() };
            self.stashes.entry(shard).or_insert_with(stash).batches.push((self.at.clone(), batch(records)));
        }
        here
    }

    /// Shows the records to the profile.
    fn observe<D: Side<T>>(&mut self, side: &D, records: &[D::Record], places: &Places) {
        let (gathering, Places { routing, shards }) = (&mut self.traces.gathering, places);
        match side.alike() {
            Some((value, size)) => gathering.observe_alike(shards, routing, value, size),
            None => {
                gathering.observe(shards, routing, records, |record| side.value(record), |record| side.size(record));
            }
        }
    }

    /// Fires some of the timers that are due; `true` if there are more.
    pub(super) fn fire(&mut self, logic: &mut L) -> bool {
        for timer in self.shards.take_due(self.at.ticks(), TIMERS_PER_TURN) {
            self.fire_one(logic, timer);
        }
        self.shards.is_due(self.at.ticks())
    }

    /// Fires a timer, if the shard of its key is here.
    fn fire_one(&mut self, logic: &mut L, timer: Timer<L::Key>) {
        let Some(index) = self.shards.fire(&timer) else { return };
        let (time, epochs) = (self.at, self.epochs);
        let Self { shards, traces: Traces { output, scheduled, .. }, .. } = self;
        shards.update(index, (timer.routing, &timer.key), Occasion::Timer, scheduled, |key, state, timers| {
            let mut context = Context { time, epochs, key, output, timers, forget: false };
            logic.on_timer(state, &mut context);
            context.forget
        });
        if output.len() >= OUTPUT_BATCH {
            self.flush();
        }
    }

    /// Sends what the logic has given.
    pub(super) fn flush(&mut self) {
        (self.send)(&mut self.traces.output);
    }
}

pub(super) fn nanos_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn misrouted(name: &str, routing: u64) -> Error {
    Error::usage(format!(
        "a record with the routing key {routing:#x} reached a worker of {name} that does not own it: \
         give the gate and the operator the same control stream"
    ))
}
