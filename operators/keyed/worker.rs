//! What a keyed operator does on one worker: what it has received, and what it does about it.

mod arrivals;
mod telling;

use std::collections::VecDeque;
use std::sync::Arc;

use timely::dataflow::operators::{Capability, InputCapability};

use super::apply::{Applying, Places, Stashes, Timing, Traces};
use super::chunk::Transfer;
use super::codec::Codec;
use super::leaving::Parcel;
use super::logic::Logic;
use super::ports::{BoundaryCapabilities, DataCapabilities, Hold, OUTPUT, Ports, REPORTS};
use super::shards::Shards;
use super::waits::{Frontiers, Step, Waits};
use super::{Backlog, Fault, KeyedSettings, Report, Restore, SnapshotContent, SnapshotPart};
use crate::epoch::{Epochs, Ticks};
use crate::error::Error;
use crate::fault::point;
use crate::keyspace::{Assignment, Command};
use crate::pending::Pending;
use crate::profile::Gathering;
use arrivals::Restoring;
use telling::Telling;

/// What is to be done at one time.
struct Due<B> {
    batches: Vec<B>,
    /// Timers may be due.
    timers: bool,
}

impl<B> Default for Due<B> {
    fn default() -> Self {
        Due { batches: Vec::new(), timers: false }
    }
}

/// The operator's state on one worker.
pub(super) struct Worker<T: Ticks, L: Logic<T>, C: Codec<L::Key, L::State>> {
    name: String,
    worker: usize,
    chunk_bytes: usize,
    pre_copy: bool,
    epochs: Epochs,
    /// The epoch with which the run begins.
    from: u64,
    logic: L,
    shards: Shards<L::Key, L::State, C, Hold<T>>,
    /// By time, what is to be done.
    due: Pending<T, Due<L::Batch>>,
    /// By the last time of an epoch that is to be reported on, what is held at its end, once it is over.
    unreported: Pending<T, Option<Report>>,
    boundaries: Pending<T, Vec<Command>, BoundaryCapabilities<T>>,
    /// What can't be taken in before the boundary at its time has been crossed or, if it is sent ahead, prepared.
    arrivals: Pending<T, VecDeque<Transfer>, DataCapabilities<T>>,
    stashes: Stashes<T, L::Batch>,
    restoring: Option<Restoring<T>>,
    /// The last boundary that has been crossed: chunks at a later one are not for the shards as they are.
    crossed: Option<T>,
    /// The next boundary, if what leaves at it is copied ahead.
    prepared: Option<T>,
    /// The last time of the epoch whose statistics the shards are gathering.
    current: Option<T>,
    /// What is still to be reported of an epoch before.
    telling: Option<Telling<T>>,
    /// The last time of the latest epoch that has been told of.
    told: Option<T>,
    traces: Traces<L::Output>,
    backlog: Option<Arc<Backlog>>,
    fault: Fault,
}

impl<T, L, C> Worker<T, L, C>
where
    T: Ticks,
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
        let KeyedSettings { name, epochs, chunk_bytes, pre_copy, profile, restore, backlog, fault } = settings;
        let parts = restore.as_ref().map_or(Vec::new(), |restore| restore.parts.clone());
        let from = restore.as_ref().map_or(0, |restore| restore.epoch);
        let restoring = restore.and_then(|Restore { epoch, parts, chunks }| {
            let time = epochs.start(epoch);
            if time.is_none() {
                fault.set(Error::usage(format!("the timestamp can't hold epoch {epoch}, as of which to restore")));
            }
            Some(Restoring { chunks, left: parts.len(), capabilities: DataCapabilities::at_start(initial, &time?) })
        });
        Worker {
            name,
            worker,
            chunk_bytes,
            pre_copy,
            epochs,
            from,
            logic,
            shards: Shards::new(worker, assignment, &parts, chunk_bytes),
            due: Pending::new(),
            unreported: Pending::new(),
            boundaries: Pending::new(),
            arrivals: Pending::new(),
            stashes: Stashes::new(),
            restoring,
            crossed: None,
            prepared: None,
            current: None,
            telling: None,
            told: None,
            traces: Traces {
                output: Vec::new(),
                scheduled: Vec::new(),
                gathering: Gathering::new(profile.sample, worker as u64).with_detail(profile.detail),
                timing: Timing::new(worker as u64),
                places: Places::default(),
            },
            backlog,
            fault,
        }
    }

    pub fn receive_chunks(&mut self, capability: &InputCapability<T>, chunks: impl Iterator<Item = Transfer>) {
        let Some(at) = capability.least() else { return };
        self.arrivals.entry(at, || DataCapabilities::of(capability, at)).extend(chunks);
    }

    pub fn receive_commands(&mut self, capability: &InputCapability<T>, commands: impl Iterator<Item = Command>) {
        let Some(at) = capability.least() else { return };
        self.boundaries.entry(at, || BoundaryCapabilities::of(capability, at)).extend(commands);
    }

    pub fn receive_data(&mut self, capability: &InputCapability<T>, batches: impl Iterator<Item = L::Batch>) {
        let Some(at) = capability.least() else { return };
        let epoch = self.epochs.number(at);
        if epoch < self.from {
            return self.fault.set(Error::usage(format!(
                "the source has sent records of epoch {epoch}, which the checkpoint at {} already holds: begin there",
                self.from
            )));
        }
        let (_, last) = self.epochs.around(at);
        self.unreported.entry(&last, || capability.delayed(&last, REPORTS));
        self.due.entry(at, || capability.delayed(at, OUTPUT)).batches.extend(batches);
    }

    fn waits<'a>(&self, frontiers: Frontiers<'a, T>) -> Waits<'a, T> {
        let restoring = self.restoring.as_ref().map(|restoring| restoring.capabilities.output.time());
        let arriving = self.arrivals.first().into_iter().chain(restoring).min().cloned();
        Waits {
            frontiers,
            epochs: self.epochs,
            arriving,
            leaving: self.shards.are_leaving(),
            saving: self.shards.is_saving(),
            store_is_full: self.backlog_is(Backlog::is_full),
            kept_open: self.kept_open(),
        }
    }

    /// Acts in time order on what may be acted on, and does a bounded piece of what boundaries have left to do; `true`
    /// if there is more that nothing will come for.
    pub fn act(&mut self, frontiers: Frontiers<'_, T>, ports: &mut Ports<'_, T, L::Output>) -> bool {
        let mut more = false;
        while !more && let Some(step) = self.next_step(frontiers) {
            match step {
                Step::Boundary => {
                    // Epochs that end here first: what has been copied ahead is held from the boundary on.
                    self.close(frontiers, ports);
                    self.cross(ports);
                    // What leaves does so before more data is applied.
                    more = true;
                }
                Step::Data => more = self.apply(ports),
            }
        }
        self.prepare(frontiers);
        more |= self.work(ports);
        more |= self.close(frontiers, ports);
        more
    }

    fn next_step(&self, frontiers: Frontiers<'_, T>) -> Option<Step> {
        if self.fault.is_set() {
            return None;
        }
        let boundary = self.boundaries.iter().next();
        let boundary = boundary.map(|(at, commands)| (at, commands.contains(&Command::Checkpoint)));
        self.waits(frontiers).next(boundary, self.due.first())
    }

    fn backlog_is(&self, so: impl FnOnce(&Backlog) -> bool) -> bool {
        self.backlog.as_deref().is_some_and(so)
    }

    /// Begins to copy ahead what leaves at the next boundary, if that can be done.
    fn prepare(&mut self, frontiers: Frontiers<'_, T>) {
        let Some((at, commands)) = self.boundaries.iter().next() else { return };
        let (checkpoint, settled) = (commands.contains(&Command::Checkpoint), self.shards.is_settled());
        let moves = self.pre_copy && commands.iter().any(|command| matches!(command, Command::Move { .. }));
        let is_done = self.prepared.is_some();
        if !moves || is_done || !self.waits(frontiers).may_copy_ahead(at, checkpoint, settled) {
            return;
        }
        let next = self.shards.assignment().apply_valid(commands.clone()).assignment;
        let at = at.clone();
        if let Some((capabilities, _)) = self.boundaries.get_mut(&at) {
            self.shards.prepare(&next, at.ticks(), self.leaving(&at, &capabilities));
            self.prepared = Some(at);
        }
    }

    /// What is held until state that leaves at a boundary has been sent to a worker.
    fn leaving(&self, at: &T, capabilities: &BoundaryCapabilities<T>) -> impl Fn(usize) -> Hold<T> + use<T, L, C> {
        let (moved, reports) = (capabilities.moved.clone(), capabilities.reports.delayed(&self.epochs.around(at).1));
        move |to| Hold::Leaving { to, moved: moved.clone(), reports: reports.clone() }
    }

    /// Crosses a boundary: all copies for a snapshot are taken before any state leaves.
    fn cross(&mut self, ports: &mut Ports<'_, T, L::Output>) {
        let Some((at, capabilities, commands)) = self.boundaries.release_first() else { return };
        self.set_aside();
        let checkpoint = commands.contains(&Command::Checkpoint);
        let whole = commands.contains(&Command::SaveAll);
        let next = self.shards.assignment().apply_valid(commands).assignment;
        if checkpoint {
            self.shards.begin_snapshot(whole, Hold::Saving { snapshots: capabilities.snapshots.clone() });
        }
        if next != *self.shards.assignment() {
            let before = self.shards.assignment().clone();
            self.traces.gathering.renumber(|shard| next.find(before.range(shard as usize).start()) as u32);
            self.shards.change(next, self.leaving(&at, &capabilities));
        }
        if checkpoint {
            ports.snapshots.session(&capabilities.snapshots).give(self.snapshot_part(self.owned(whole)));
        }
        (self.crossed, self.prepared) = (Some(at), None);
    }

    /// What a snapshot says of the shards that are here.
    fn owned(&self, whole: bool) -> SnapshotContent {
        let folded = self.shards.assignment().folded().to_vec();
        SnapshotContent::Shards { ranges: self.shards.ranges(), folded, keys: self.shards.size().0, whole }
    }

    fn snapshot_part(&self, content: SnapshotContent) -> SnapshotPart {
        SnapshotPart { operator: self.name.clone(), worker: self.worker, codec: C::ID, content }
    }

    /// Takes note of times at which timers have been set.
    fn note_timers(&mut self, times: impl Iterator<Item = u64>, capabilities: &DataCapabilities<T>) {
        for time in times {
            let Some(at) = T::from_ticks(time) else { return self.fault.set(beyond(&self.name, time)) };
            let (_, last) = self.epochs.around(&at);
            self.unreported.entry(&last, || capabilities.reports.delayed(&last));
            self.due.entry(&at, || capabilities.output.delayed(&at)).timers = true;
        }
    }

    /// Fires timers of a time, or, once all have been fired, applies what has come of its data; `true` if the time has
    /// more timers than one activation should fire.
    fn apply(&mut self, ports: &mut Ports<'_, T, L::Output>) -> bool {
        let Some((at, capability, mut due)) = self.due.release_first() else { return false };
        let (_, last) = self.epochs.around(&at);
        if self.current.as_ref() != Some(&last) {
            self.set_aside();
            self.current = Some(last.clone());
        }
        let mut send = |output: &mut Vec<_>| {
            ports.output.session(&capability).give_iterator(output.drain(..));
        };
        let mut applying = Applying {
            name: &self.name,
            at: &at,
            epochs: self.epochs,
            shards: &mut self.shards,
            traces: &mut self.traces,
            stashes: &mut self.stashes,
            send: &mut send,
            capability: &capability,
            fault: &self.fault,
        };
        due.timers = due.timers && applying.fire(&mut self.logic);
        if !due.timers {
            due.batches.drain(..).for_each(|batch| self.logic.apply(batch, &mut applying));
        }
        applying.flush();
        if let Some((reports, _)) = self.unreported.get_mut(&last).filter(|_| !self.traces.scheduled.is_empty()) {
            let mut scheduled = std::mem::take(&mut self.traces.scheduled);
            self.note_timers(scheduled.drain(..), &DataCapabilities { output: capability.clone(), reports });
            self.traces.scheduled = scheduled;
        }
        let more = due.timers;
        if more {
            *self.due.entry(&at, || capability) = due;
        }
        more
    }

    /// Does a bounded piece of what boundaries have left to do; `true` if more is left.
    fn work(&mut self, ports: &mut Ports<'_, T, L::Output>) -> bool {
        if self.fault.is_set() {
            return false;
        }
        let mut parcels = Vec::new();
        let ahead = !self.shards.are_leaving();
        let saving = self.shards.is_saving();
        let scan = !self.backlog_is(Backlog::is_half_full);
        let must_wait = saving && self.backlog_is(Backlog::is_full);
        let more = !must_wait && self.shards.work(scan, &mut parcels);
        for Parcel { chunk, hold } in parcels {
            match hold {
                Hold::Leaving { to, moved, reports } => {
                    let bytes = chunk.bytes.len() as u64;
                    ports.reports.session(&reports).give(Report::Moved { worker: self.worker, to, bytes });
                    ports.moved.session(&moved).give(Transfer { to, ahead, chunk });
                    point("migrate.sent");
                }
                Hold::Saving { snapshots } => {
                    let part = self.snapshot_part(SnapshotContent::Chunk(chunk));
                    ports.snapshots.session(&snapshots).give(part);
                    point("checkpoint.chunk");
                }
            }
        }
        // A checkpoint may have waited for the snapshot that has ended, and copying ahead for what has left.
        let ended = saving && !self.shards.is_saving() || !ahead && !self.shards.are_leaving();
        let (taken, restored) = (self.take_arrivals(), self.restore_chunk(ports));
        restored || taken || ended || more
    }
}

fn beyond(name: &str, time: u64) -> Error {
    let what =
        format!("it has a timer at {time}, which the timestamp can't hold: resume with the type it was written with");
    Error::incompatible(format!("a chunk of {name}"), what)
}
