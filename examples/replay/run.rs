//! Running: each worker builds the dataflow and is fed; worker 0 notes what happens.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use thalweg::keyed::Fault;
use thalweg::source::WRITING_AHEAD;
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

use crate::dataflow::{Adaptive, END, Row, Setup, adaptive, differences, plain, results, totals};
use crate::event::{Event, Moments};
use crate::feed::Feed;
use crate::notes::Notes;

/// How long a worker waits for records before it looks at its dataflow again.
const NAP: Duration = Duration::from_micros(200);

/// What all workers of a process share.
pub struct Shared {
    pub setup: Setup,
    pub verify: bool,
    /// By local worker; each takes its own.
    pub feeds: Mutex<Vec<Option<Receiver<Feed>>>>,
    /// Some worker has given up: the others would wait for it for ever.
    pub failed: AtomicBool,
    pub notes: Mutex<Option<Notes>>,
    pub results: Mutex<Vec<(String, Moments)>>,
}

impl Shared {
    fn take_feed(&self, worker: usize) -> Option<Receiver<Feed>> {
        let mut feeds = self.feeds.lock().ok()?;
        let local = worker % feeds.len();
        feeds[local].take()
    }

    /// Steps the worker; whether it has anything left to do.
    fn step(&self, worker: &mut Worker, fault: &Fault) -> Result<bool> {
        let active = worker.step_or_park(Some(NAP));
        fault.check()?;
        if self.failed.load(Ordering::Relaxed) {
            bail!("another worker has given up");
        }
        Ok(active)
    }

    fn step_while(&self, worker: &mut Worker, fault: &Fault, condition: impl Fn() -> bool) -> Result<()> {
        while condition() {
            self.step(worker, fault)?;
        }
        Ok(())
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

/// One worker's part of the run.
pub fn work(worker: &mut Worker, shared: &Arc<Shared>) -> Result<()> {
    let _end = End(shared);
    let result = replay(worker, shared);
    if result.is_err() {
        shared.failed.store(true, Ordering::Relaxed);
        // What is still installed would be waited for.
        worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
    }
    result
}

/// Tells the other workers when this one panics.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Ordering::Relaxed);
        }
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

fn replay(worker: &mut Worker, shared: &Arc<Shared>) -> Result<()> {
    let feed = shared.take_feed(worker.index());
    let feed = feed.ok_or_else(|| anyhow!("worker {} has no source", worker.index()))?;
    let fault = Fault::new();
    let from = shared.setup.checkpoints.as_ref().map_or(0, thalweg::checkpoint::Checkpoints::epoch);
    let notes =
        Rc::new(RefCell::new(shared.notes.lock().ok().and_then(|mut notes| notes.take_if(|_| worker.index() == 0))));
    let mut inputs = build(worker, shared, &fault, &notes, from)?;
    inputs.events.advance_to(from);
    loop {
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
                    shared.step_while(worker, &fault, behind)?;
                    note(&notes, |notes| notes.settle(|epoch| !inputs.probe.less_equal(&epoch.saturating_add(1))));
                }
            }
            Ok(Feed::End) => break,
            Ok(Feed::Failed) | Err(TryRecvError::Disconnected) => bail!("the source has failed"),
            Err(TryRecvError::Empty) => {
                shared.step(worker, &fault)?;
            }
        }
    }
    let Inputs { events, twin, probe, durable } = inputs;
    note(&notes, |notes| notes.epoch_is_in(END));
    drop((events, twin));
    drop((probe, durable));
    // Until all of the dataflow is done, what writes the last checkpoint included.
    while shared.step(worker, &fault)? {}
    if let (Some(taken), Ok(mut kept)) = (notes.borrow_mut().take(), shared.notes.lock()) {
        *kept = Some(taken);
    }
    Ok(())
}

type SharedNotes = Rc<RefCell<Option<Notes>>>;

fn note(notes: &SharedNotes, note: impl FnOnce(&mut Notes)) {
    if let Some(notes) = notes.borrow_mut().as_mut() {
        note(notes);
    }
}

fn build(worker: &mut Worker, shared: &Arc<Shared>, fault: &Fault, notes: &SharedNotes, from: u64) -> Result<Inputs> {
    let (mut events, mut twin) = (InputHandle::new(), InputHandle::new());
    let (probe, durable_probe) = (ProbeHandle::new(), ProbeHandle::new());
    worker.dataflow::<u64, _, _>(|scope| {
        let noting = Rc::clone(notes);
        let observe = move |event: &thalweg::observe::Event| note(&noting, |notes| notes.event(event));
        let Adaptive { rows, durable } = adaptive(scope.input_from(&mut events), &shared.setup, fault, observe)?;
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
