//! Saving snapshots: a worker's parts into the store.
//!
//! *Emits* at each snapshot's boundary, once all of this worker's objects of it are durable or have failed, what they
//! are. *Waits* for all parts of the snapshot, and for the thread that writes. *Holds* what each part says but for its
//! chunks, which the thread has.
//!
//! | port  |     | connected to |
//! |-------|-----|--------------|
//! | parts | in  | saved        |
//! | saved | out |              |

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use super::writer::{Done, Job, Load, Packed, Writer, Written};
use super::{Checkpoints, ObjectRef};
use crate::epoch::{Epochs, Ticks};
use crate::error::Error;
use crate::keyed::{Backlog, SnapshotContent, SnapshotPart};
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
        /// Keys in the shards.
        keys: u64,
        /// Whether all of them are saved, and not only those that have changed since the snapshot before.
        whole: bool,
    },
    /// These objects are durable.
    Objects(Vec<ObjectRef>),
    /// Something could not be written: the checkpoint is to be abandoned.
    Failed(String),
    /// All is done, so many seconds after the worker's first part.
    Done(f64),
}

impl Saved {
    /// Whether it says that all keys are saved. All workers say the same, as they have the same commands.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Saved::Shards { whole: true, .. })
    }
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
        let mut saver = Saver { writer, backlog: Arc::clone(checkpoints.backlog()), closed: VecDeque::new() };
        let mut pending: Pending<T, Saving> = Pending::new();
        move |(input, frontier), output| {
            input.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                let (at, epoch) = (capability.time().clone(), epochs.number(capability.time()));
                let saving = pending.entry(&at, || capability);
                batches.flat_map(|batch| batch.drain(..)).for_each(|part| saver.take(epoch, part, saving));
            });
            saver.note_completed(&mut pending);
            for (at, saving) in pending.iter_mut().filter(|(at, _)| !frontier.less_equal(at)) {
                saver.close(at, epochs.number(at), saving);
            }
            while pending.iter().next().is_some_and(|(_, saving)| saving.is_durable) {
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
    saved: Vec<Saved>,
    /// No part can come any more, and the thread knows.
    is_closed: bool,
    /// The thread has answered.
    is_durable: bool,
}

impl Saving {
    fn finish(mut self) -> impl Iterator<Item = Saved> {
        let seconds = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        self.saved.push(Saved::Done(seconds));
        self.saved.into_iter()
    }
}

/// The thread that writes, and the snapshots that it is to answer.
struct Saver<T> {
    writer: Result<Writer, Error>,
    backlog: Arc<Backlog>,
    closed: VecDeque<T>,
}

impl<T: Ticks> Saver<T> {
    /// Takes a part of a snapshot.
    fn take(&mut self, epoch: u64, part: SnapshotPart, saving: &mut Saving) {
        saving.started.get_or_insert_with(Instant::now);
        let SnapshotPart { operator, worker, codec, content } = part;
        match (content, &mut self.writer) {
            (SnapshotContent::Shards { ranges, folded, keys, whole }, _) => {
                saving.saved.push(Saved::Shards { operator, worker, ranges, folded, keys, whole });
            }
            (SnapshotContent::Chunk(chunk), Ok(writer)) => {
                let load = Load::new(&self.backlog, chunk.bytes.len());
                writer.submit(Job::Chunk(Packed { at: epoch, worker, operator, codec, chunk, load }));
            }
            // Without a thread nothing can be saved, and closing says so.
            (SnapshotContent::Chunk(_), Err(_)) => {}
        }
    }

    /// Lets the thread know that it has all of a snapshot.
    fn close(&mut self, at: &T, epoch: u64, saving: &mut Saving) {
        if std::mem::replace(&mut saving.is_closed, true) {
            return;
        }
        match &mut self.writer {
            Ok(writer) => {
                writer.submit(Job::Close(epoch));
                self.closed.push_back(at.clone());
            }
            Err(error) => {
                saving.saved.push(Saved::Failed(error.with_causes()));
                saving.is_durable = true;
            }
        }
    }

    /// Notes what the thread has answered since the last time: it works in the order of submission.
    fn note_completed(&mut self, pending: &mut Pending<T, Saving>) {
        let Ok(writer) = &mut self.writer else { return };
        for Done { outcome, .. } in writer.completed() {
            let Some((_, saving)) = self.closed.pop_front().and_then(|at| pending.get_mut(&at)) else { continue };
            saving.is_durable = true;
            match outcome {
                Ok(Written::Objects(objects)) => saving.saved.push(Saved::Objects(objects)),
                Ok(Written::Manifest { .. }) => {}
                Err(error) => saving.saved.push(Saved::Failed(error.with_causes())),
            }
        }
    }
}
