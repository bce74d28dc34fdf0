//! A sink: the output of complete epochs to the thread that writes it.
//!
//! *Emits* nothing; the frontier of its stream says what is durable. *Waits* for an epoch to be complete, and for the
//! thread. *Holds* the rows of epochs that are not complete, and of those that the thread has not taken. It is done
//! when all has been published.
//!
//! | port     |     | connected to | carries                                         |
//! |----------|-----|--------------|-------------------------------------------------|
//! | rows     | in  | covered      | rows, on the worker that writes their part      |
//! | outcomes | in  |              | which checkpoints there are, on each worker     |
//! | covered  | out |              | nothing: its frontier is that of what is durable |

use std::collections::VecDeque;
use std::rc::Rc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator as _;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Antichain;
use timely::progress::frontier::MutableAntichain;

use super::rows::Rows;
use super::thread::{Job, SinkThread};
use super::{EpochSink, Share, When};
use crate::checkpoint::Covered;
use crate::epoch::{Epochs, Ticks};
use crate::error::Error;
use crate::keyed::Fault;
use crate::observe::CheckpointEvent;
use crate::pending::Pending;

/// What a sink is given besides the dataflow.
#[derive(Clone, Debug)]
pub struct SinkSettings {
    /// Its name in checkpoints.
    pub name: String,
    /// How time makes epochs.
    pub epochs: Epochs,
    /// The epoch from which the run goes on.
    pub from: u64,
    /// Whether the run goes on with an earlier one.
    pub is_resuming: bool,
    /// Where errors are put that end its work.
    pub fault: Fault,
}

/// Gives the output of each epoch to a sink. Up to the frontier of the stream that comes back, it is durable.
///
/// `outcomes` tells on each worker what becomes of checkpoints. An error if the sink can't be opened; those that come
/// later are put where the fault is asked for.
pub fn write<'scope, T: Ticks, S: EpochSink>(
    output: StreamVec<'scope, T, S::Record>,
    outcomes: StreamVec<'scope, T, CheckpointEvent>,
    sink: S,
    settings: SinkSettings,
) -> Result<StreamVec<'scope, T, Covered>, Error> {
    let scope = output.scope();
    let SinkSettings { name, epochs, from, is_resuming, fault } = settings;
    let share = Share { worker: scope.index(), workers: scope.peers(), from, is_resuming };
    let (writer, when, part) = (sink.open(share)?, sink.when(), sink.epochs_per_part().max(1));
    let rows = encode(output, sink, epochs, fault.clone());
    let mut builder = OperatorBuilder::new("Sink".to_owned(), scope);
    let activator = scope.worker().sync_activator_for(builder.operator_info().address.to_vec());
    // An activation can fail only when the worker has gone, and then nobody waits for it.
    let thread = SinkThread::new(&name, writer, move || _ = activator.activate())?;
    // Only its frontier counts.
    let (_, stream) = builder.new_output();
    let pact = Exchange::new(move |rows: &Rows| rows.epoch / part);
    let mut rows = builder.new_input_connection(rows, pact, [(0, Antichain::from_elem(T::Summary::default()))]);
    let mut outcomes = builder.new_input_connection(outcomes, Pipeline, []);
    builder.build_reschedule(move |initial| {
        drop(initial);
        let mut sinking = Sinking::new(thread, when, from, epochs);
        move |frontiers: &[MutableAntichain<T>]| {
            let [frontier, _] = frontiers else { unreachable!("there are two inputs") };
            outcomes.for_each(|_, batch| batch.drain(..).for_each(|outcome| sinking.note_checkpoint(&outcome)));
            rows.for_each_stamp(|capability, batches| {
                let Some(at) = capability.least() else { return };
                let (_, last) = epochs.around(at);
                let held = sinking.open.entry(&last, || capability.delayed(&last, 0));
                held.extend(batches.flat_map(|batch| batch.drain(..)));
            });
            if !fault.is_set() {
                sinking.work(frontier).unwrap_or_else(|error| fault.set(error));
            }
            !sinking.is_done()
        }
    });
    Ok(stream)
}

/// Makes rows of records, many at a time.
fn encode<'scope, T: Ticks, S: EpochSink>(
    output: StreamVec<'scope, T, S::Record>,
    sink: S,
    epochs: Epochs,
    fault: Fault,
) -> StreamVec<'scope, T, Rows> {
    let sink = Rc::new(sink);
    output.unary(Pipeline, "Encode", |initial, _| {
        drop(initial);
        // Where a record could not be encoded: what is missing a row must not become complete.
        let mut failed = None;
        move |input, output| {
            input.for_each_stamp(|capability, batches| {
                let Some(epoch) = capability.least().map(|at| epochs.number(at)).filter(|_| failed.is_none()) else {
                    return;
                };
                let mut rows = Rows::new(epoch);
                let mut records = batches.flat_map(|batch| batch.drain(..));
                if let Err(error) = records.try_for_each(|record| rows.push(|row| sink.encode(epoch, &record, row))) {
                    fault.set(error);
                    failed = capability.retain_least(output.output_index());
                } else if !rows.is_empty() {
                    output.session(&capability).give(rows);
                }
            });
        }
    })
}

/// Up to an epoch, or all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    Before(u64),
    All,
}

/// What a worker writes.
struct Sinking<T: Ticks> {
    thread: SinkThread,
    when: When,
    from: u64,
    epochs: Epochs,
    /// The rows of epochs, by their last times.
    open: Pending<T, Vec<Rows>>,
    /// What the thread has no place for yet, with what holds back its epoch.
    next: Option<(Job, Option<Capability<T>>)>,
    /// The same for what the thread has taken and not done.
    taken: VecDeque<Option<Capability<T>>>,
    /// All epochs before this one have been covered by a checkpoint.
    covered: u64,
    /// What the thread has been asked to publish.
    published: Bound,
}

impl<T: Ticks> Sinking<T> {
    fn new(thread: SinkThread, when: When, from: u64, epochs: Epochs) -> Self {
        Sinking {
            thread,
            when,
            from,
            epochs,
            open: Pending::new(),
            next: None,
            taken: VecDeque::new(),
            covered: from,
            published: Bound::Before(0),
        }
    }

    fn note_checkpoint(&mut self, outcome: &CheckpointEvent) {
        if outcome.error.is_none() {
            self.covered = self.covered.max(outcome.epoch);
        }
    }

    /// Notes what the thread has done, and gives it as much as it takes.
    fn work(&mut self, frontier: &MutableAntichain<T>) -> Result<(), Error> {
        while !self.taken.is_empty() {
            let Some(result) = self.thread.completed() else { break };
            // Its epoch is durable only if this is no error: else it is held back for ever.
            result?;
            self.taken.pop_front();
        }
        while let Some((job, held)) = self.next.take().or_else(|| self.ready(frontier)) {
            match self.thread.try_submit(job) {
                Ok(()) => self.taken.push_back(held),
                Err(job) => {
                    self.next = Some((job, held));
                    break;
                }
            }
        }
        Ok(())
    }

    /// What is to be done next: complete epochs are written, then published.
    fn ready(&mut self, frontier: &MutableAntichain<T>) -> Option<(Job, Option<Capability<T>>)> {
        if let Some((last, capability, rows)) = self.open.release(frontier) {
            let epoch = self.epochs.number(&last);
            return Some((Job::Write { epoch, rows }, Some(capability)));
        }
        let complete =
            frontier.frontier().iter().next().map_or(Bound::All, |first| Bound::Before(self.epochs.number(first)));
        // Before the run has begun, another worker may not have been let in.
        if complete < Bound::Before(self.from) {
            return None;
        }
        let wanted = match (self.when, complete) {
            (When::EpochComplete, complete) => complete,
            (When::Checkpointed, Bound::All) => Bound::All,
            (When::Checkpointed, Bound::Before(_)) => Bound::Before(self.covered),
        };
        if wanted <= self.published {
            return None;
        }
        self.published = wanted;
        let before = if let Bound::Before(before) = wanted { Some(before) } else { None };
        Some((Job::Publish { before }, None))
    }

    fn is_done(&self) -> bool {
        self.published == Bound::All && self.next.is_none() && self.taken.is_empty()
    }
}
