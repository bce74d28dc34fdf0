//! State that comes to a worker: from other workers, and from the store.

use std::task::Poll;
use std::time::Instant;

use super::Worker;
use crate::epoch::Ticks;
use crate::error::{Cause, Error};
use crate::fault::point;
use crate::keyed::apply::nanos_since;
use crate::keyed::chunk::{Chunk, Transfer};
use crate::keyed::codec::Codec;
use crate::keyed::logic::Logic;
use crate::keyed::ports::{DataCapabilities, Ports};
use crate::keyed::shards::{Arrived, Origin};
use crate::keyed::{Report, Restored};
use crate::keyspace::KeyRange;

/// Chunks that come from the store.
pub(super) struct Restoring<T: Ticks> {
    pub chunks: Restored,
    /// How many are still to come.
    pub left: usize,
    pub capabilities: DataCapabilities<T>,
}

impl<T, L, C> Worker<T, L, C>
where
    T: Ticks,
    L: Logic<T>,
    C: Codec<L::Key, L::State>,
{
    /// Takes in about a chunk of what has come and can be taken in; whether there was any.
    pub(super) fn take_arrivals(&mut self) -> bool {
        let mut bytes = 0;
        while bytes < self.chunk_bytes
            && let Some(at) = self.arrivals.first().cloned()
            && let Some(origin) = self.takes_at(&at)
            && let Some((capabilities, transfers)) = self.arrivals.get_mut(&at)
            && transfers.front().is_some_and(|transfer| transfer.ahead || origin == Origin::Worker)
            && let Some(Transfer { chunk, .. }) = transfers.pop_front()
        {
            if transfers.is_empty() {
                self.arrivals.release_first();
            }
            bytes += chunk.bytes.len().max(1);
            self.take_in(chunk, origin, &capabilities);
            point("migrate.taken");
        }
        bytes > 0
    }

    /// What can be taken in of what has come at a time.
    fn takes_at(&self, at: &T) -> Option<Origin> {
        let crossed = self.crossed.as_ref().is_some_and(|crossed| crossed >= at).then_some(Origin::Worker);
        crossed.or_else(|| (self.prepared.as_ref() == Some(at)).then_some(Origin::Ahead))
    }

    fn take_in(&mut self, chunk: Chunk, origin: Origin, capabilities: &DataCapabilities<T>) {
        match self.shards.arrive(chunk, origin) {
            Ok(Arrived { times, complete }) => {
                self.note_timers(times.into_iter(), capabilities);
                complete.into_iter().for_each(|shard| self.resume(shard));
            }
            Err(cause) => self.fault.set(undecodable(&self.name, origin, cause)),
        }
    }

    /// Puts back the records that waited for a shard.
    fn resume(&mut self, shard: KeyRange) {
        if let Some(stash) = self.stashes.remove(&shard.start()) {
            for (at, batch) in stash.batches {
                self.due.entry(&at, || stash.capability.delayed(&at)).batches.push(batch);
            }
        }
    }

    /// Takes in one chunk from the store; `true` if more are left: while the store has not given the next one, it is
    /// asked again and again.
    pub(super) fn restore_chunk(&mut self, ports: &mut Ports<'_, T, L::Output>) -> bool {
        let Some(Restoring { mut chunks, mut left, capabilities }) = self.restoring.take() else { return false };
        let started = Instant::now();
        match chunks.next() {
            Some(Poll::Ready(Ok(chunk))) => {
                left = left.saturating_sub(1);
                let (worker, bytes) = (self.worker, chunk.bytes.len() as u64);
                // Each is a part of the key space by itself.
                self.take_in(Chunk { last: true, ..chunk }, Origin::Store, &capabilities);
                point("restore.chunk");
                let nanos = nanos_since(started);
                let reports = capabilities.reports.delayed(&self.epochs.around(capabilities.reports.time()).1);
                ports.reports.session(&reports).give(Report::Restored { worker, bytes, nanos });
            }
            Some(Poll::Ready(Err(error))) => self.fault.set(error),
            Some(Poll::Pending) => {}
            None if left == 0 => {
                // What is held is told even if no records come.
                let (_, last) = self.epochs.around(capabilities.reports.time());
                self.unreported.entry(&last, || capabilities.reports.delayed(&last));
                return true;
            }
            None => self.fault.set(incomplete(&self.name)),
        }
        self.restoring = Some(Restoring { chunks, left, capabilities });
        true
    }
}

fn incomplete(name: &str) -> Error {
    Error::corrupt(format!("the states of {name}"), "the store has given fewer chunks than there are: try again")
}

fn undecodable(name: &str, origin: Origin, cause: Cause) -> Error {
    let what = if origin == Origin::Store {
        "its keys or states are of another type: resume with the types that it was written with"
    } else {
        "the codec does not read what it has written"
    };
    Error::incompatible(format!("a chunk of {name}"), format!("{what} ({cause})"))
}
