//! Committing checkpoints: what all workers have saved becomes a manifest. It acts on worker 0.
//!
//! *Emits* at a checkpoint's boundary, once it is durable or abandoned, what became of it. *Waits* for what all workers
//! have saved at the boundary; for all epochs before it to be complete, so that their records are known; for sources
//! and sinks to have covered them; for the thread that writes. *Holds* what has been saved until then.
//!
//! | port     |     | connected to |
//! |----------|-----|--------------|
//! | saved    | in  | outcomes     |
//! | events   | in  |              |
//! | covered  | in  |              |
//! | outcomes | out |              |

use std::collections::BTreeMap;
use std::sync::Arc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Antichain;
use timely::progress::frontier::MutableAntichain;

use super::chain::Chain;
use super::compact::Compactor;
use super::covered::{Covered, Positions};
use super::gather::Gathered;
use super::save::Saved;
use super::writer::{Done, Job, Writer, Written};
use super::{Checkpoints, MANIFEST_FORMAT, Manifest, ObjectRef, Operators};
use crate::epoch::{Epochs, Ticks};
use crate::error::Error;
use crate::observe::{CheckpointEvent, EpochEvent};
use crate::pending::Pending;

/// Makes what all workers have saved at a boundary a checkpoint, by a manifest that is written last.
///
/// `saved` is of all `operators`. A checkpoint is abandoned if one of them has not taken part, or one that is not among
/// them has, or if those of one key space have different assignments. `events` tell the records of each complete epoch,
/// on worker 0. `covered` comes from all sources and sinks.
pub fn commit<'scope, T: Ticks>(
    saved: StreamVec<'scope, T, Saved>,
    events: StreamVec<'scope, T, EpochEvent>,
    covered: StreamVec<'scope, T, Covered>,
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
    let mut covered = builder.new_input_connection(covered, Exchange::new(|_: &Covered| 0), []);
    // An activation can fail only when the worker has gone, and then nobody waits for it.
    let wake: Wake = Arc::new(move || _ = activator.activate());
    let waking = Arc::clone(&wake);
    let writer = (scope.index() == 0).then(|| checkpoints.writer(move || waking()));
    let mut committer = Committer::new(checkpoints, operators, scope.peers(), epochs, writer, wake);
    builder.build(move |initial| {
        drop(initial);
        let mut gathering: Pending<T, Vec<Saved>> = Pending::new();
        move |frontiers: &[MutableAntichain<T>]| {
            let [saved_frontier, events_frontier, covered_frontier] = frontiers else {
                unreachable!("there are three inputs")
            };
            let mut outcomes = outcomes.activate();
            events.for_each(|_, batch| batch.drain(..).for_each(|epoch| committer.note_epoch(&epoch)));
            covered.for_each(|capability, batch| {
                let Some(at) = capability.least() else { return };
                batch.drain(..).for_each(|covered| committer.positions.note(epochs.number(at), &covered));
            });
            saved.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(0) else { return };
                let at = capability.time().clone();
                gathering.entry(&at, || capability).extend(batches.flat_map(|batch| batch.drain(..)));
            });
            while let Some((capability, event)) = committer.take_outcome() {
                outcomes.session(&capability).give(event);
            }
            committer.take_compacted();
            let is_open = |at: &T| events_frontier.less_than(at) || covered_frontier.less_than(at);
            // One manifest at a time: the next one refers to the one before it.
            while gathering.iter().next().is_some_and(|(at, parts)| !is_open(at) && committer.is_ready_for(parts)) {
                let Some((at, capability, parts)) = gathering.release(saved_frontier) else { break };
                if let Some((capability, event)) = committer.begin(epochs.number(&at), capability, parts) {
                    outcomes.session(&capability).give(event);
                }
            }
        }
    });
    stream
}

type Wake = Arc<dyn Fn() + Send + Sync>;

/// A manifest that is being written, with what is held for telling its outcome.
struct Committing<H> {
    hold: H,
    event: CheckpointEvent,
    objects: Vec<ObjectRef>,
}

/// Writes manifests, and knows what they need besides what has been saved.
struct Committer<H> {
    /// On worker 0. Before the checkpoints: what is queued is written before they let go of the store's lock.
    writer: Option<Result<Writer, Error>>,
    compactor: Compactor,
    checkpoints: Checkpoints,
    operators: Operators,
    workers: usize,
    committing: Option<Committing<H>>,
    chain: Chain,
    /// Why snapshots could not be merged, until that has been told.
    merge_error: Option<String>,
    wake: Wake,
    /// Records of complete epochs that no boundary has passed yet.
    epochs: BTreeMap<u64, u64>,
    /// Records before them.
    records: u64,
    /// Where the sources stand.
    positions: Positions,
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
        wake: Wake,
    ) -> Self {
        let resumed = checkpoints.resumed();
        let objects = resumed.filter(|_| writer.is_some()).map_or(Vec::new(), |manifest| manifest.objects.clone());
        Committer {
            writer,
            checkpoints: checkpoints.clone(),
            operators: operators.clone(),
            workers,
            compactor: checkpoints.compactor(),
            committing: None,
            chain: Chain::new(objects),
            merge_error: None,
            wake,
            epochs: BTreeMap::new(),
            records: resumed.and_then(|manifest| manifest.records).unwrap_or(0),
            positions: Positions::resumed(resumed),
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

    /// Whether the manifest of what workers have saved can be written.
    fn is_ready_for(&self, parts: &[Saved]) -> bool {
        let must_wait =
            || self.compactor.is_running() && self.chain.must_be_merged_before(parts.iter().any(Saved::is_whole));
        self.committing.is_none() && !must_wait()
    }

    /// Begins to make a checkpoint durable; what became of it, if there can't be one.
    fn begin(&mut self, epoch: u64, hold: H, parts: Vec<Saved>) -> Option<(H, CheckpointEvent)> {
        let (event, manifest) = self.checkpoint(epoch, parts);
        let submitted = manifest.and_then(|manifest| match &mut self.writer {
            Some(Ok(writer)) => {
                let (keep, in_use) = (self.checkpoints.config().keep, self.compactor.in_use.clone());
                let objects = manifest.objects.clone();
                let replaces = self.checkpoints.has_skipped(epoch);
                writer.submit(Job::Manifest { manifest: Box::new(manifest), replaces, keep, in_use });
                Ok(objects)
            }
            Some(Err(error)) => Err(error.with_causes()),
            None => Err("only worker 0 writes manifests".to_owned()),
        });
        match submitted {
            Ok(objects) => {
                self.committing = Some(Committing { hold, event, objects });
                None
            }
            Err(error) => {
                self.chain.abandoned(epoch);
                Some((hold, CheckpointEvent { error: Some(error), ..event }))
            }
        }
    }

    /// What became of the manifest that was being written, once that is known.
    fn take_outcome(&mut self) -> Option<(H, CheckpointEvent)> {
        let Some(Ok(writer)) = &mut self.writer else { return None };
        let Done { outcome, seconds } = writer.completed().next()?;
        let Committing { hold, mut event, objects } = self.committing.take()?;
        event.seconds += seconds;
        match outcome {
            Ok(Written::Manifest { retained }) => {
                self.previous = Some(event.epoch);
                event.retention_error = retained.err().map(|error| error.with_causes());
                self.chain.committed(objects);
                if self.compactor.is_running() {
                    self.compactor.stop_unless(|of| self.chain.has(of));
                } else {
                    self.compactor.let_go();
                    self.compact();
                }
            }
            Ok(Written::Objects(_)) => {}
            Err(error) => {
                event.error = Some(error.with_causes());
                self.chain.abandoned(event.epoch);
            }
        }
        Some((hold, event))
    }

    /// Begins to merge snapshots, if there are too many.
    fn compact(&mut self) {
        let Some(to_merge) = self.chain.to_merge() else { return };
        let wake = Arc::clone(&self.wake);
        let started = self.compactor.start(to_merge, self.checkpoints.merges(), move || wake());
        if let Err(error) = started {
            self.merge_error = Some(error.with_causes());
        }
    }

    /// Builds upon the merged snapshots from now on, but for a manifest that is being written.
    fn take_compacted(&mut self) {
        if self.committing.is_some() {
            return;
        }
        match self.compactor.completed() {
            Some((of, Ok(merged))) => _ = self.chain.replace(&of, merged),
            Some((of, Err(error))) if self.chain.has(&of) => self.merge_error = Some(error.with_causes()),
            // A checkpoint of everything has come in between.
            Some(_) | None => {}
        }
    }

    /// The checkpoint at a boundary, from what all workers have saved at it: its manifest, or why there can't be one.
    fn checkpoint(&mut self, epoch: u64, parts: Vec<Saved>) -> (CheckpointEvent, Result<Manifest, String>) {
        let later = self.epochs.split_off(&epoch);
        self.records += std::mem::replace(&mut self.epochs, later).into_values().sum::<u64>();
        let reason = self.reasons.remove(&epoch).unwrap_or_else(|| "commanded".to_owned());
        self.reasons = self.reasons.split_off(&epoch);
        let gathered: Gathered = parts.into_iter().collect();
        let saved_keys = |object: &ObjectRef| object.chunks.iter().map(|chunk| u64::from(chunk.keys)).sum::<u64>();
        let event = CheckpointEvent {
            epoch,
            reason,
            bytes: gathered.objects.iter().map(|object| object.length).sum(),
            saved_keys: gathered.objects.iter().map(saved_keys).sum(),
            keys: gathered.keys,
            generations: if gathered.whole { 0 } else { self.chain.generations() },
            seconds: gathered.seconds,
            error: None,
            retention_error: None,
            merge_error: self.merge_error.take(),
        };
        let manifest = self.manifest(&event, gathered);
        (event, manifest)
    }

    fn manifest(&mut self, event: &CheckpointEvent, gathered: Gathered) -> Result<Manifest, String> {
        let spaces = gathered.spaces(&self.operators, self.workers).map_err(|error| error.with_causes());
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
            spaces: spaces?,
            objects: self.chain.extended(gathered.whole, gathered.objects)?,
            sources: self.positions.at(event.epoch),
            sinks: self.operators.ends.sinks.iter().cloned().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{CheckpointConfig, Fingerprint, Memory};
    use crate::keyspace::KeyRange;

    fn object(epoch: u64) -> ObjectRef {
        let name = format!("objects/{epoch}");
        ObjectRef { name, length: 1, crc32: 0, operator: "count".into(), epoch, codec: 0, chunks: Vec::new() }
    }

    fn saved(whole: bool) -> Saved {
        let (ranges, folded) = (vec![KeyRange::ALL], Vec::new());
        Saved::Shards { operator: "count".into(), worker: 0, ranges, folded, keys: 1, whole }
    }

    #[test]
    fn only_a_checkpoint_of_changed_keys_waits_for_a_long_chain_to_be_merged() {
        let (store, config) = (Arc::new(Memory::default()), CheckpointConfig::default());
        let checkpoints = Checkpoints::begin(store, Fingerprint::default(), config).unwrap();
        let (operators, epochs) = (Operators::default(), Epochs::default());
        let mut committer: Committer<()> = Committer::new(&checkpoints, &operators, 1, epochs, None, Arc::new(|| ()));
        committer.chain = Chain::new((1..=32).map(object).collect());
        assert!(committer.is_ready_for(&[saved(false)]), "nothing is being merged");
        committer.compact();
        // Until what has come of it is taken.
        assert!(committer.compactor.is_running());
        assert!(!committer.is_ready_for(&[saved(false)]));
        assert!(committer.is_ready_for(&[saved(true)]));
    }
}
