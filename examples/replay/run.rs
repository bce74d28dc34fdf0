//! Running: each worker builds the dataflow and is fed; worker 0 notes what happens.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use thalweg::cluster::Peers;
use thalweg::keyed::Fault;
use thalweg::observe::CheckpointEvent;
use thalweg::source::WRITING_AHEAD;
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

use crate::dataflow::{Adaptive, END, Row, Setup, adaptive, differences, plain, results, totals};
use crate::event::{Event, Moments};
use crate::feed::Feed;
use crate::notes::Notes;
use crate::stop::{Stop, Stopping};

/// How long a worker waits for records before it looks at its dataflow again.
const NAP: Duration = Duration::from_micros(200);

/// What all workers of a process share.
pub struct Shared {
    pub setup: Setup,
    pub stop: Stop,
    pub verify: bool,
    /// By local worker; each takes its own.
    pub feeds: Mutex<Vec<Option<Receiver<Feed>>>>,
    pub notes: Mutex<Option<Notes>>,
    pub results: Mutex<Vec<(String, Moments)>>,
}

impl Shared {
    fn take_feed(&self, worker: usize) -> Option<Receiver<Feed>> {
        let mut feeds = self.feeds.lock().ok()?;
        let local = worker % feeds.len();
        feeds[local].take()
    }

    fn take_result(&self, (_, key, moments, _): &Row) {
        if let Ok(mut results) = self.results.lock() {
            results.push((key.clone(), *moments));
        }
    }

    /// The final moments of all keys.
    pub fn take_all_results(&self) -> Vec<(String, Moments)> {
        self.results.lock().map_or(Vec::new(), |mut results| std::mem::take(&mut *results))
    }
}

/// How a run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All of the source has been replayed.
    Complete,
    /// It was asked to stop, before this epoch.
    Stopped(u64),
}

/// Where a worker hears that it can't go on, or is to stop.
struct Watch {
    peers: Peers,
    fault: Fault,
    stopping: Rc<Stopping>,
}

impl Watch {
    /// Steps the worker; whether it has anything left to do.
    fn step(&self, worker: &mut Worker) -> Result<bool> {
        let active = worker.step_or_park(Some(NAP));
        self.fault.check()?;
        self.peers.check()?;
        Ok(active)
    }

    fn step_while(&self, worker: &mut Worker, condition: impl Fn() -> bool) -> Result<()> {
        while self.stopping.epoch().is_none() && condition() {
            self.step(worker)?;
        }
        Ok(())
    }
}

struct Inputs {
    events: InputHandle<u64, timely::container::CapacityContainerBuilder<Vec<Event>>>,
    /// For the twin, which begins from the first record always.
    twin: InputHandle<u64, timely::container::CapacityContainerBuilder<Vec<Event>>>,
    probe: ProbeHandle<u64>,
    /// What is durable of the output.
    durable: ProbeHandle<u64>,
}

/// One worker's part of the run.
pub fn work(worker: &mut Worker, peers: &Peers, shared: &Arc<Shared>) -> Result<Ended> {
    let feed = shared.take_feed(worker.index());
    let feed = feed.ok_or_else(|| anyhow!("worker {} has no source", worker.index()))?;
    let stopping = Rc::new(Stopping::new(shared.stop.clone(), shared.setup.checkpoints.clone()));
    let watch = Watch { peers: peers.clone(), fault: Fault::new(), stopping };
    let from = shared.setup.checkpoints.as_ref().map_or(0, thalweg::checkpoint::Checkpoints::epoch);
    let notes =
        Rc::new(RefCell::new(shared.notes.lock().ok().and_then(|mut notes| notes.take_if(|_| worker.index() == 0))));
    let mut inputs = build(worker, shared, &watch, &notes, from)?;
    inputs.events.advance_to(from);
    while watch.stopping.epoch().is_none() {
        match feed.try_recv() {
            Ok(Feed::Records { epoch, mut events }) if epoch < from => inputs.twin.send_batch(&mut events),
            Ok(Feed::Records { mut events, .. }) => {
                if shared.verify {
                    inputs.twin.send_batch(&mut events.clone());
                }
                inputs.events.send_batch(&mut events);
            }
            Ok(Feed::Epoch(epoch)) => {
                inputs.twin.advance_to(epoch);
                if epoch > from {
                    inputs.events.advance_to(epoch);
                    note(&notes, |notes| notes.epoch_is_in(epoch));
                    let lead = shared.setup.config.lead;
                    let behind = || {
                        inputs.probe.less_than(&epoch.saturating_sub(lead))
                            || inputs.durable.less_than(&epoch.saturating_sub(WRITING_AHEAD))
                    };
                    watch.step_while(worker, behind)?;
                    note(&notes, |notes| notes.settle(|epoch| !inputs.probe.less_equal(&epoch.saturating_add(1))));
                }
            }
            Ok(Feed::End) => break,
            Ok(Feed::Failed) | Err(TryRecvError::Disconnected) => bail!("the source has failed"),
            Err(TryRecvError::Empty) => {
                watch.step(worker)?;
            }
        }
    }
    if watch.stopping.epoch().is_none() {
        note(&notes, |notes| notes.epoch_is_in(END));
        drop(inputs);
        // Until all of the dataflow is done, what writes the last checkpoint included.
        while watch.step(worker)? && watch.stopping.epoch().is_none() {}
    }
    let ended = watch.stopping.epoch().map_or(Ended::Complete, Ended::Stopped);
    if ended != Ended::Complete {
        note(&notes, Notes::stop);
        // What comes after the checkpoint comes again when the run is resumed. That the inputs end is not to be seen.
        worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
    }
    if let (Some(taken), Ok(mut kept)) = (notes.borrow_mut().take(), shared.notes.lock()) {
        *kept = Some(taken);
    }
    Ok(ended)
}

type SharedNotes = Rc<RefCell<Option<Notes>>>;

fn note(notes: &SharedNotes, note: impl FnOnce(&mut Notes)) {
    if let Some(notes) = notes.borrow_mut().as_mut() {
        note(notes);
    }
}

fn build(worker: &mut Worker, shared: &Arc<Shared>, watch: &Watch, notes: &SharedNotes, from: u64) -> Result<Inputs> {
    let (mut events, mut twin) = (InputHandle::new(), InputHandle::new());
    let (probe, durable_probe) = (ProbeHandle::new(), ProbeHandle::new());
    worker.dataflow::<u64, _, _>(|scope| {
        let noting = Rc::clone(notes);
        let observe = move |event: &thalweg::observe::Event| note(&noting, |notes| notes.event(event));
        let stopping = Rc::clone(&watch.stopping);
        let hear = move |outcome: &CheckpointEvent| stopping.note(outcome);
        let events = scope.input_from(&mut events);
        let Adaptive { rows, durable } = adaptive(events, &shared.setup, &watch.fault, observe, hear)?;
        durable.probe_with(&durable_probe);
        let noting = Rc::clone(notes);
        totals(rows.clone()).inspect(move |total| note(&noting, |notes| notes.total(total))).probe_with(&probe);
        let sharing = Arc::clone(shared);
        results(rows.clone()).inspect(move |row| sharing.take_result(row)).probe_with(&probe);
        let twin = scope.input_from(&mut twin);
        if shared.verify {
            let noting = Rc::clone(notes);
            differences(rows, plain(twin), from)
                .inspect(move |(row, _, more)| note(&noting, |notes| notes.difference(row, *more)))
                .probe_with(&probe);
        }
        Ok::<_, thalweg::Error>(())
    })?;
    Ok(Inputs { events, twin, probe, durable: durable_probe })
}
