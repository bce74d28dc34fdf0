//! What a keyed operator does on one worker: what it has received, and what it does about it.

use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use timely::dataflow::operators::{Capability, InputCapability};

use super::chunk::Chunk;
use super::codec::Codec;
use super::leaving::Parcel;
use super::logic::{Context, Logic};
use super::ports::{BoundaryCapabilities, EpochCapabilities, Hold, Ports};
use super::shards::{Occasion, Place, Ready, Shards};
use super::timers::Timer;
use super::waits::{Frontiers, Step, Waits};
use super::{Fault, KeyedSettings, Report, Restore, SnapshotContent, SnapshotPart};
use crate::epoch::Epoch;
use crate::error::{Cause, Error};
use crate::keyspace::{Assignment, Command, KeyRange};
use crate::pending::Pending;
use crate::profile::{Sampler, ShardEpoch};

/// Records given to the output in one container.
const OUTPUT_BATCH: usize = 1024;

/// What there is to do at one time, and what has been seen at it.
struct EpochWork<D> {
    batches: Vec<Vec<D>>,
    /// Timers may be due.
    timers: bool,
    /// Records that wait for their shards.
    stashed: usize,
    reports: BTreeMap<KeyRange, ShardEpoch>,
}

impl<D> Default for EpochWork<D> {
    fn default() -> Self {
        EpochWork { batches: Vec::new(), timers: false, stashed: 0, reports: BTreeMap::new() }
    }
}

impl<D> EpochWork<D> {
    fn is_pending(&self) -> bool {
        !self.batches.is_empty() || self.timers
    }
}

/// The operator's state on one worker.
pub(super) struct Worker<T: Epoch, L: Logic<T>, C: Codec<L::Key, L::State>> {
    name: String,
    space: String,
    worker: usize,
    chunk_bytes: usize,
    /// The epoch with which the run begins.
    from: u64,
    logic: L,
    shards: Shards<L::Key, L::State, C, Hold<T>>,
    epochs: Pending<T, EpochWork<L::Record>, EpochCapabilities<T>>,
    boundaries: Pending<T, Vec<Command>, BoundaryCapabilities<T>>,
    /// Chunks that can't be taken in before the boundary at their time has been crossed.
    arrivals: Pending<T, VecDeque<Chunk>, EpochCapabilities<T>>,
    /// By the start of the shard they wait for: records with their times.
    stash: BTreeMap<u64, Vec<(T, L::Record)>>,
    restore: Option<(Restore, EpochCapabilities<T>)>,
    /// The last boundary that has been crossed: chunks at a later one are not for the shards as they are.
    crossed: Option<T>,
    /// The epoch whose statistics the shards are gathering, and those of them that have any.
    current: Option<T>,
    live: Vec<usize>,
    sampler: Sampler,
    fault: Fault,
}

impl<T, L, C> Worker<T, L, C>
where
    T: Epoch,
    L: Logic<T>,
    C: Codec<L::Key, L::State>,
{
    pub fn new(
        worker: usize,
        logic: L,
        assignment: Assignment,
        settings: KeyedSettings,
        initial: &[Capability<T>],
    ) -> Self {
        let KeyedSettings { name, space, chunk_bytes, sample, restore, fault } = settings;
        let parts = restore.as_ref().map_or(Vec::new(), |restore| restore.parts.clone());
        let from = restore.as_ref().map_or(0, |restore| restore.epoch);
        let restore = restore.and_then(|restore| {
            let time = T::from_number(restore.epoch);
            if time.is_none() {
                fault.set(Error::usage(format!(
                    "the timestamp can't hold epoch {}, as of which to restore",
                    restore.epoch
                )));
            }
            Some((restore, EpochCapabilities::at_start(initial, &time?)))
        });
        Worker {
            name,
            space,
            worker,
            chunk_bytes,
            from,
            logic,
            shards: Shards::new(worker, assignment, &parts, chunk_bytes),
            epochs: Pending::new(),
            boundaries: Pending::new(),
            arrivals: Pending::new(),
            stash: BTreeMap::new(),
            restore,
            crossed: None,
            current: None,
            live: Vec::new(),
            sampler: Sampler::new(sample, worker as u64),
            fault,
        }
    }

    pub fn receive_chunks(&mut self, capability: &InputCapability<T>, chunks: impl Iterator<Item = (usize, Chunk)>) {
        let Some(at) = capability.least() else { return };
        self.arrivals.entry(at, || EpochCapabilities::of(capability, at)).extend(chunks.map(|(_, chunk)| chunk));
    }

    pub fn receive_commands(&mut self, capability: &InputCapability<T>, commands: impl Iterator<Item = Command>) {
        let Some(at) = capability.least() else { return };
        self.boundaries.entry(at, || BoundaryCapabilities::of(capability, at)).extend(commands);
    }

    pub fn receive_data(&mut self, capability: &InputCapability<T>, batches: impl Iterator<Item = Vec<L::Record>>) {
        let Some(at) = capability.least() else { return };
        if at.number() < self.from {
            return self.fault.set(Error::usage(format!(
                "the source has sent records of epoch {}, which the checkpoint at {} already holds: begin there",
                at.number(),
                self.from
            )));
        }
        self.epochs.entry(at, || EpochCapabilities::of(capability, at)).batches.extend(batches);
    }

    fn waits<'a>(&self, frontiers: Frontiers<'a, T>) -> Waits<'a, T> {
        let restoring = self.restore.as_ref().map(|(_, capabilities)| capabilities.output.time());
        let arriving = self.arrivals.first().into_iter().chain(restoring).min().cloned();
        Waits { frontiers, arriving, saving: self.shards.is_saving() }
    }

    pub fn next_step(&self, frontiers: Frontiers<'_, T>) -> Option<Step<T>> {
        if self.fault.is_set() {
            return None;
        }
        let boundary = self.boundaries.iter().next();
        let boundary = boundary.map(|(at, commands)| (at, commands.contains(&Command::Checkpoint)));
        let epoch = self.epochs.iter().find(|(_, work)| work.is_pending()).map(|(at, _)| at);
        self.waits(frontiers).next(boundary, epoch)
    }

    /// Crosses a boundary: all copies are taken before any state leaves.
    pub fn cross(&mut self, at: &T, ports: &mut Ports<'_, T, L::Output>) {
        let Some((capabilities, commands)) = self.boundaries.remove(at) else { return };
        self.gather();
        let checkpoint = commands.contains(&Command::Checkpoint);
        let next = self.shards.assignment().apply_valid(commands).assignment;
        if checkpoint {
            self.shards.begin_snapshot(Hold::Saving { snapshots: capabilities.snapshots.clone() });
        }
        if next != *self.shards.assignment() {
            let BoundaryCapabilities { moved, reports, .. } = &capabilities;
            self.shards.change(next, |to| Hold::Leaving { to, moved: moved.clone(), reports: reports.clone() });
        }
        if checkpoint {
            ports.snapshots.session(&capabilities.snapshots).give(self.snapshot_part(self.owned()));
        }
        self.crossed = Some(at.clone());
    }

    /// What a snapshot says of the shards that are here.
    fn owned(&self) -> SnapshotContent {
        // No command folds a key yet.
        SnapshotContent::Shards { space: self.space.clone(), ranges: self.shards.ranges(), folded: Vec::new() }
    }

    fn snapshot_part(&self, content: SnapshotContent) -> SnapshotPart {
        SnapshotPart { operator: self.name.clone(), worker: self.worker, codec: C::ID, content }
    }

    /// Takes in about a chunk of what has come and whose boundary has been crossed; whether there was any.
    fn take_arrivals(&mut self) -> bool {
        let mut bytes = 0;
        while bytes < self.chunk_bytes
            && let Some(at) = self.arrivals.first().filter(|at| self.crossed.as_ref() >= Some(at)).cloned()
            && let Some((capabilities, chunks)) = self.arrivals.get_mut(&at)
        {
            let (capabilities, chunk) = (capabilities.clone(), chunks.pop_front());
            if chunks.is_empty() {
                self.arrivals.remove(&at);
            }
            if let Some(chunk) = chunk {
                bytes += chunk.bytes.len().max(1);
                self.take_in(chunk, &capabilities);
            }
        }
        bytes > 0
    }

    fn take_in(&mut self, chunk: Chunk, capabilities: &EpochCapabilities<T>) {
        match self.shards.arrive(chunk) {
            Ok(ready) => ready.into_iter().for_each(|ready| self.resume(ready, capabilities)),
            Err(cause) => self.fault.set(undecodable(&self.name, self.restore.is_some(), cause)),
        }
    }

    /// Sets the timers of a shard that has become complete, and puts back the records that waited for it.
    fn resume(&mut self, ready: Ready, capabilities: &EpochCapabilities<T>) {
        self.note_timers(&ready.times, capabilities);
        for (at, record) in self.stash.remove(&ready.range.start()).unwrap_or_default() {
            let work = self.epochs.entry(&at, || capabilities.delayed(&at));
            work.stashed -= 1;
            match work.batches.last_mut() {
                Some(batch) => batch.push(record),
                None => work.batches.push(vec![record]),
            }
        }
    }

    /// Takes note of times at which timers have been set.
    fn note_timers(&mut self, times: &[u64], capabilities: &EpochCapabilities<T>) {
        for at in times.iter().filter_map(|time| T::from_number(*time)) {
            self.epochs.entry(&at, || capabilities.delayed(&at)).timers = true;
        }
    }

    /// Fires the timers of an epoch and applies what has come of its data.
    pub fn apply(&mut self, at: &T, ports: &mut Ports<'_, T, L::Output>) {
        if self.current.as_ref() != Some(at) {
            self.gather();
            self.current = Some(at.clone());
        }
        let Some((capabilities, work)) = self.epochs.get_mut(at) else { return };
        let capabilities = capabilities.clone();
        let (due, batches) = (std::mem::take(&mut work.timers), std::mem::take(&mut work.batches));
        let timers = due.then(|| self.shards.take_due(at.number()));
        let mut output = Vec::new();
        let mut scheduled = Vec::new();
        let mut stashed = 0;
        let mut session = ports.output.session(&capabilities.output);
        for timer in timers.into_iter().flatten() {
            self.fire(at, timer, &mut output, &mut scheduled);
            if output.len() >= OUTPUT_BATCH {
                session.give_iterator(output.drain(..));
            }
        }
        for record in batches.into_iter().flatten() {
            let routing = self.logic.routing_key(&record);
            match self.shards.place(routing) {
                Place::Here(index) => self.fold(at, index, routing, record, &mut output, &mut scheduled),
                Place::Coming(index) => {
                    stashed += 1;
                    let start = self.shards.range(index).start();
                    self.stash.entry(start).or_default().push((at.clone(), record));
                }
                Place::Elsewhere => self.fault.set(misrouted(&self.name, routing)),
            }
            if output.len() >= OUTPUT_BATCH {
                session.give_iterator(output.drain(..));
            }
        }
        session.give_iterator(output.drain(..));
        drop(session);
        if let Some((_, work)) = self.epochs.get_mut(at) {
            work.stashed += stashed;
        }
        self.note_timers(&scheduled, &capabilities);
    }

    #[inline]
    fn fold(
        &mut self,
        at: &T,
        index: usize,
        routing: u64,
        record: L::Record,
        output: &mut Vec<L::Output>,
        scheduled: &mut Vec<u64>,
    ) {
        let (key, value, size) = (self.logic.key(&record), self.logic.value(&record), self.logic.size(&record));
        let statistics = self.shards.statistics(index);
        if statistics.records() == 0 {
            self.live.push(index);
        }
        let sampled = statistics.observe(routing, value, size, &mut self.sampler);
        let started = sampled.then(Instant::now);
        let logic = &mut self.logic;
        self.shards.update(index, (routing, key), Occasion::Record, scheduled, |key, state, timers| {
            let mut context = Context { time: at, key, output, timers, forget: false };
            logic.on_record(record, state, &mut context);
            context.forget
        });
        if let Some(started) = started {
            let nanos = nanos_since(started).saturating_mul(self.sampler.every());
            self.shards.statistics(index).add_busy(nanos);
        }
    }

    fn fire(&mut self, at: &T, timer: Timer<L::Key>, output: &mut Vec<L::Output>, scheduled: &mut Vec<u64>) {
        let Some(index) = self.shards.fire(&timer) else { return };
        let logic = &mut self.logic;
        self.shards.update(index, (timer.routing, timer.key), Occasion::Timer, scheduled, |key, state, timers| {
            let mut context = Context { time: at, key, output, timers, forget: false };
            logic.on_timer(state, &mut context);
            context.forget
        });
    }

    /// Gathers what the shards have seen in the current epoch.
    fn gather(&mut self) {
        let Some(current) = self.current.take() else { return };
        let Some((_, work)) = self.epochs.get_mut(&current) else { return };
        self.live.first().into_iter().for_each(|index| self.shards.weigh(*index));
        for index in self.live.drain(..) {
            let report = self.shards.take_report(index);
            match work.reports.entry(report.range) {
                MapEntry::Vacant(entry) => drop(entry.insert(report)),
                MapEntry::Occupied(mut entry) => {
                    let mut statistics = std::mem::take(&mut entry.get_mut().statistics);
                    statistics.merge(&report.statistics);
                    entry.insert(ShardEpoch { statistics, ..report });
                }
            }
        }
    }

    /// Does a bounded piece of what boundaries have left to do; `true` if more is left.
    pub fn work(&mut self, ports: &mut Ports<'_, T, L::Output>) -> bool {
        if self.fault.is_set() {
            return false;
        }
        let mut parcels = Vec::new();
        let saving = self.shards.is_saving();
        let more = self.shards.work(&mut parcels);
        for Parcel { chunk, hold } in parcels {
            match hold {
                Hold::Leaving { to, moved, reports } => {
                    let bytes = chunk.bytes.len() as u64;
                    ports.reports.session(&reports).give(Report::Moved { worker: self.worker, to, bytes });
                    ports.moved.session(&moved).give((to, chunk));
                }
                Hold::Saving { snapshots } => {
                    let part = self.snapshot_part(SnapshotContent::Chunk(chunk));
                    ports.snapshots.session(&snapshots).give(part);
                }
            }
        }
        // A checkpoint may have waited for the snapshot that has ended.
        let saved = saving && !self.shards.is_saving();
        let taken = self.take_arrivals();
        self.restore_chunk(ports) || taken || saved || more
    }

    /// Takes in one chunk from the store; `true` if more are left.
    fn restore_chunk(&mut self, ports: &mut Ports<'_, T, L::Output>) -> bool {
        let Some((mut restore, capabilities)) = self.restore.take() else { return false };
        let started = Instant::now();
        match restore.chunks.next() {
            Some(Ok(chunk)) => {
                let (worker, bytes) = (self.worker, chunk.bytes.len() as u64);
                self.take_in(Chunk { last: true, ..chunk }, &capabilities);
                let nanos = nanos_since(started);
                ports.reports.session(&capabilities.reports).give(Report::Restored { worker, bytes, nanos });
            }
            Some(Err(error)) => self.fault.set(error),
            None => return true,
        }
        self.restore = Some((restore, capabilities));
        true
    }

    /// Reports on the epochs that are over, and lets go of them.
    pub fn close(&mut self, frontiers: Frontiers<'_, T>, ports: &mut Ports<'_, T, L::Output>) {
        let waits = self.waits(frontiers);
        let over = |epochs: &Pending<T, EpochWork<L::Record>, _>| {
            let (at, work) = epochs.iter().next()?;
            (waits.is_over(at) && !work.is_pending() && work.stashed == 0).then(|| at.clone())
        };
        while let Some(at) = over(&self.epochs) {
            if self.current.as_ref() == Some(&at) {
                self.gather();
            }
            let Some((capabilities, work)) = self.epochs.remove(&at) else { break };
            let mut session = ports.reports.session(&capabilities.reports);
            session.give_iterator(work.reports.into_values().map(Report::Shard));
            let (keys, bytes) = self.shards.size();
            session.give(Report::Holds { worker: self.worker, keys, bytes });
        }
    }
}

fn nanos_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn undecodable(name: &str, restoring: bool, cause: Cause) -> Error {
    let what = if restoring {
        "its keys or states are of another type: resume with the types that it was written with"
    } else {
        "the codec does not read what it has written"
    };
    Error::incompatible(format!("a chunk of {name}"), format!("{what} ({cause})"))
}

fn misrouted(name: &str, routing: u64) -> Error {
    Error::usage(format!(
        "a record with the routing key {routing:#x} reached a worker of {name} that does not own it: \
         give the gate and the operator the same control stream and the same versions"
    ))
}
