//! Committing checkpoints: what all workers have saved becomes a manifest. It acts on worker 0.
//!
//! *Emits* at a checkpoint's boundary, once it is durable or abandoned, what became of it. *Waits* for what all workers
//! have saved at the boundary; for all epochs before it to be complete, so that the source's position is known; for the
//! thread that writes. *Holds* what has been saved until then.
//!
//! | port     |     | connected to |
//! |----------|-----|--------------|
//! | saved    | in  | outcomes     |
//! | events   | in  |              |
//! | outcomes | out |              |

use std::collections::BTreeMap;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Antichain;
use timely::progress::frontier::MutableAntichain;

use super::gather::Gathered;
use super::save::Saved;
use super::writer::{Done, Job, Writer, Written};
use super::{Checkpoints, MANIFEST_FORMAT, Manifest, Operators};
use crate::epoch::{Epochs, Ticks};
use crate::error::Error;
use crate::observe::{CheckpointEvent, EpochEvent};
use crate::pending::Pending;

/// Makes what all workers have saved at a boundary a checkpoint, by a manifest that is written last.
///
/// `saved` is of all `operators`. A checkpoint is abandoned if one of them has not taken part, or one that is not among
/// them has, or if those of one key space have different assignments. `events` tell the records of each complete epoch,
/// on worker 0.
pub fn commit<'scope, T: Ticks>(
    saved: StreamVec<'scope, T, Saved>,
    events: StreamVec<'scope, T, EpochEvent>,
    checkpoints: &Checkpoints,
    operators: &Operators,
    epochs: Epochs,
) -> StreamVec<'scope, T, CheckpointEvent> {
    let scope = saved.scope();
    let mut builder = OperatorBuilder::new("Commit".to_owned(), scope);
    let activator = scope.worker().sync_activator_for(builder.operator_info().address.to_vec());
    let (outcomes, stream) = builder.new_output();
    let mut outcomes = OutputBuilder::from(outcomes);
    let pact = Exchange::new(|_: &Saved| 0);
    let mut saved = builder.new_input_connection(saved, pact, [(0, Antichain::from_elem(T::Summary::default()))]);
    let mut events = builder.new_input_connection(events, Pipeline, []);
    let writer = (scope.index() == 0).then(|| checkpoints.writer(move || _ = activator.activate()));
    let mut committer = Committer::new(checkpoints, operators, scope.peers(), epochs, writer);
    builder.build(move |initial| {
        drop(initial);
        let mut gathering: Pending<T, Vec<Saved>> = Pending::new();
        move |frontiers: &[MutableAntichain<T>]| {
            let [saved_frontier, events_frontier] = frontiers else { unreachable!("there are two inputs") };
            let mut outcomes = outcomes.activate();
            events.for_each(|_, batch| batch.drain(..).for_each(|epoch| committer.note_epoch(&epoch)));
            saved.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(0) else { return };
                let at = capability.time().clone();
                gathering.entry(&at, || capability).extend(batches.flat_map(|batch| batch.drain(..)));
            });
            while let Some((capability, event)) = committer.take_outcome() {
                outcomes.session(&capability).give(event);
            }
            // One manifest at a time: the next one refers to the one before it.
            while committer.is_idle() && gathering.first().is_some_and(|at| !events_frontier.less_than(at)) {
                let Some((at, capability, parts)) = gathering.release(saved_frontier) else { break };
                if let Some((capability, event)) = committer.begin(epochs.number(&at), capability, parts) {
                    outcomes.session(&capability).give(event);
                }
            }
        }
    });
    stream
}

/// Writes manifests, and knows what they need besides what has been saved.
struct Committer<H> {
    /// On worker 0. Before the checkpoints: what is queued is written before they let go of the store's lock.
    writer: Option<Result<Writer, Error>>,
    checkpoints: Checkpoints,
    operators: Operators,
    workers: usize,
    /// The manifest being written, with what is held for telling its outcome.
    writing: Option<(H, CheckpointEvent)>,
    /// Records of complete epochs that no boundary has passed yet.
    epochs: BTreeMap<u64, u64>,
    /// Records before them.
    records: u64,
    epoch_ticks: u64,
    /// Why checkpoints were commanded, by boundary.
    reasons: BTreeMap<u64, String>,
    previous: Option<u64>,
}

impl<H> Committer<H> {
    fn new(
        checkpoints: &Checkpoints,
        operators: &Operators,
        workers: usize,
        epochs: Epochs,
        writer: Option<Result<Writer, Error>>,
    ) -> Self {
        let resumed = checkpoints.resumed();
        Committer {
            writer,
            checkpoints: checkpoints.clone(),
            operators: operators.clone(),
            workers,
            writing: None,
            epochs: BTreeMap::new(),
            records: resumed.and_then(|manifest| manifest.records).unwrap_or(0),
            epoch_ticks: epochs.ticks(),
            reasons: BTreeMap::new(),
            previous: resumed.map(|manifest| manifest.epoch),
        }
    }

    fn note_epoch(&mut self, event: &EpochEvent) {
        *self.epochs.entry(event.epoch).or_default() += event.records;
        if let Some(reason) = &event.checkpoint {
            self.reasons.insert(event.boundary, reason.clone());
        }
    }

    fn is_idle(&self) -> bool {
        self.writing.is_none()
    }

    /// Begins to make a checkpoint durable; what became of it, if there can't be one.
    fn begin(&mut self, epoch: u64, hold: H, parts: Vec<Saved>) -> Option<(H, CheckpointEvent)> {
        let (event, job) = self.checkpoint(epoch, parts);
        let submitted = job.and_then(|job| match &mut self.writer {
            Some(Ok(writer)) => writer.try_submit(job).map_err(|_| "the thread that writes is busy".to_owned()),
            Some(Err(error)) => Err(error.with_causes()),
            None => Err("only worker 0 writes manifests".to_owned()),
        });
        match submitted {
            Ok(()) => {
                self.writing = Some((hold, event));
                None
            }
            Err(error) => Some((hold, CheckpointEvent { error: Some(error), ..event })),
        }
    }

    /// What became of the manifest that was being written, once that is known.
    fn take_outcome(&mut self) -> Option<(H, CheckpointEvent)> {
        let Some(Ok(writer)) = &mut self.writer else { return None };
        let Done { outcome, seconds, .. } = writer.completed().next()?;
        let (hold, mut event) = self.writing.take()?;
        event.seconds += seconds;
        match outcome {
            Ok(Written::Manifest { epoch, retained }) => {
                self.previous = Some(epoch);
                event.retention_error = retained.err().map(|error| error.with_causes());
            }
            Ok(Written::Object(_)) => {}
            Err(error) => event.error = Some(error.with_causes()),
        }
        Some((hold, event))
    }

    /// The checkpoint at a boundary, from what all workers have saved at it: the job that makes it durable, or why
    /// there can't be one.
    fn checkpoint(&mut self, epoch: u64, parts: Vec<Saved>) -> (CheckpointEvent, Result<Job, String>) {
        let later = self.epochs.split_off(&epoch);
        self.records += std::mem::replace(&mut self.epochs, later).into_values().sum::<u64>();
        let reason = self.reasons.remove(&epoch).unwrap_or_else(|| "commanded".to_owned());
        self.reasons = self.reasons.split_off(&epoch);
        let gathered: Gathered = parts.into_iter().collect();
        let bytes = gathered.objects.iter().map(|object| object.length).sum();
        let event =
            CheckpointEvent { epoch, reason, bytes, seconds: gathered.seconds, error: None, retention_error: None };
        let job = self.manifest(&event, gathered).map(|manifest| Job::Manifest {
            manifest: Box::new(manifest),
            replaces: self.checkpoints.has_skipped(epoch),
            keep: self.checkpoints.config().keep,
        });
        (event, job)
    }

    fn manifest(&self, event: &CheckpointEvent, gathered: Gathered) -> Result<Manifest, String> {
        if let Some(failure) = gathered.failure {
            return Err(failure);
        }
        Ok(Manifest {
            format: MANIFEST_FORMAT,
            epoch: event.epoch,
            previous: self.previous,
            epoch_ticks: self.epoch_ticks,
            records: self.operators.have_one_input().then_some(self.records),
            reason: event.reason.clone(),
            fingerprint: self.checkpoints.fingerprint().clone(),
            spaces: gathered.spaces(&self.operators, self.workers).map_err(|error| error.with_causes())?,
            objects: gathered.objects,
        })
    }
}
