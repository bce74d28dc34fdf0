//! Saving snapshots: a worker's parts into the store.
//!
//! *Emits* at each snapshot's boundary, once all of this worker's objects of it are durable or have failed, what they
//! are. *Waits* for all parts of the snapshot, and for the thread that writes. *Holds* chunks until they fill an
//! object, and objects until the thread takes them.
//!
//! | port  |     | connected to |
//! |-------|-----|--------------|
//! | parts | in  | saved        |
//! | saved | out |              |

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use super::writer::{Done, Job, Writer, Written};
use super::{Checkpoints, Object, ObjectRef, ObjectWriter};
use crate::epoch::{Epochs, Ticks};
use crate::error::Error;
use crate::keyed::{SnapshotContent, SnapshotPart};
use crate::keyspace::KeyRange;
use crate::pending::Pending;

/// What has become of one worker's part of a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Saved {
    /// What the worker owns from the boundary on: one part of each worker and operator.
    Shards {
        /// The operator.
        operator: String,
        /// The worker.
        worker: usize,
        /// The ranges of the worker's shards.
        ranges: Vec<KeyRange>,
        /// The routing keys of the key space that are folded, whoever owns them: the same on all workers.
        folded: Vec<u64>,
    },
    /// An object is durable.
    Object(ObjectRef),
    /// Something could not be written: the checkpoint is to be abandoned.
    Failed(String),
    /// All is done, so many seconds after the worker's first part.
    Done(f64),
}

/// Writes parts of snapshots into the store, on a thread of its own, and says what became of them.
pub fn save<'scope, T: Ticks>(
    parts: StreamVec<'scope, T, SnapshotPart>,
    checkpoints: &Checkpoints,
    epochs: Epochs,
) -> StreamVec<'scope, T, Saved> {
    let scope = parts.scope();
    parts.unary_frontier(Pipeline, "Save", |initial, info| {
        drop(initial);
        let activator = scope.worker().sync_activator_for(info.address.to_vec());
        // An activation can fail only when the worker has gone, and then nobody waits for it.
        let writer = checkpoints.writer(move || _ = activator.activate());
        let mut saver = Saver { writer, submitted: VecDeque::new() };
        let mut pending: Pending<T, Saving> = Pending::new();
        move |(input, frontier), output| {
            input.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                let at = capability.time().clone();
                let saving = pending.entry(&at, || capability);
                batches.flat_map(|batch| batch.drain(..)).for_each(|part| saving.push(epochs.number(&at), part));
            });
            saver.note_completed(&mut pending);
            for (at, saving) in pending.iter_mut() {
                if !frontier.less_equal(at) {
                    saving.close();
                    saver.fail_without_writer(saving);
                }
                saver.submit(at, saving);
            }
            while pending.iter().next().is_some_and(|(_, saving)| saving.is_done()) {
                let Some((_, capability, saving)) = pending.release(frontier) else { break };
                output.session(&capability).give_iterator(saving.finish());
            }
        }
    })
}

/// One worker's part of one snapshot.
#[derive(Default)]
struct Saving {
    started: Option<Instant>,
    /// By codec.
    writers: BTreeMap<u16, ObjectWriter>,
    /// Objects that the thread has not taken yet.
    queue: VecDeque<Object>,
    /// Objects that it has taken, and not reported on.
    outstanding: usize,
    saved: Vec<Saved>,
}

impl Saving {
    fn push(&mut self, at: u64, part: SnapshotPart) {
        self.started.get_or_insert_with(Instant::now);
        let SnapshotPart { operator, worker, codec, content } = part;
        match content {
            SnapshotContent::Shards { ranges, folded } => {
                self.saved.push(Saved::Shards { operator, worker, ranges, folded });
            }
            SnapshotContent::Chunk(chunk) => {
                let writer = self.writers.entry(codec).or_insert_with(|| ObjectWriter::new(at, worker, codec));
                match writer.push(&operator, &chunk) {
                    Ok(object) => self.queue.extend(object),
                    Err(error) => self.fail(&error),
                }
            }
        }
    }

    /// No part can come any more: what has been gathered is all.
    fn close(&mut self) {
        let writers = std::mem::take(&mut self.writers);
        self.queue.extend(writers.into_values().flat_map(ObjectWriter::finish));
    }

    fn fail(&mut self, error: &Error) {
        self.saved.push(Saved::Failed(error.with_causes()));
    }

    fn is_done(&self) -> bool {
        self.queue.is_empty() && self.outstanding == 0
    }

    fn finish(mut self) -> impl Iterator<Item = Saved> {
        let seconds = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        self.saved.push(Saved::Done(seconds));
        self.saved.into_iter()
    }
}

/// The thread that writes, and whose objects it has.
struct Saver<T> {
    writer: Result<Writer, Error>,
    submitted: VecDeque<T>,
}

impl<T: Ticks> Saver<T> {
    /// Hands the thread as many objects as it takes.
    fn submit(&mut self, at: &T, saving: &mut Saving) {
        let Ok(writer) = &mut self.writer else { return };
        while let Some(object) = saving.queue.pop_front() {
            if let Err(Job::Object(object)) = writer.try_submit(Job::Object(object)) {
                saving.queue.push_front(object);
                break;
            }
            saving.outstanding += 1;
            self.submitted.push_back(at.clone());
        }
    }

    /// Notes what the thread has reported since the last time: it works in the order of submission.
    fn note_completed(&mut self, pending: &mut Pending<T, Saving>) {
        let Ok(writer) = &mut self.writer else { return };
        for Done { outcome, .. } in writer.completed() {
            let Some((_, saving)) = self.submitted.pop_front().and_then(|at| pending.get_mut(&at)) else { continue };
            saving.outstanding -= 1;
            match outcome {
                Ok(Written::Object(object)) => saving.saved.push(Saved::Object(object)),
                Ok(Written::Manifest { .. }) => {}
                Err(error) => saving.fail(&error),
            }
        }
    }

    /// Without a thread nothing can be saved.
    fn fail_without_writer(&self, saving: &mut Saving) {
        if let Err(error) = &self.writer {
            saving.queue.clear();
            saving.fail(error);
        }
    }
}
