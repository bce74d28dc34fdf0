//! Reading chunks back: few requests, and little memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use super::format::decode;
use super::object::OBJECT_BYTES;
use super::reference::{ChunkRef, ObjectRef};
use super::store::{Store, damage, part};
use super::writer::catching;
use crate::error::Error;
use crate::keyed::Chunk;
use crate::keyspace::KeyRange;

/// Chunks that are read before they are wanted.
const AHEAD: usize = 16;

/// How long a worker waits for the store before it sees to other things.
const PATIENCE: Duration = Duration::from_millis(1);

/// The chunks of an object whose keys may be wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub object: Arc<ObjectRef>,
    /// The indices of the chunks, ascending.
    pub chunks: Vec<usize>,
}

impl Wanted {
    /// Those whose ranges are wanted, if there are any.
    pub fn of(object: &Arc<ObjectRef>, is_wanted: impl Fn(KeyRange) -> bool) -> Option<Self> {
        let chunks = object.chunks.iter().enumerate().filter(|(_, chunk)| is_wanted(chunk.range));
        let chunks: Vec<usize> = chunks.map(|(index, _)| index).collect();
        (!chunks.is_empty()).then(|| Wanted { object: Arc::clone(object), chunks })
    }

    /// Takes the next chunks that lie one behind the other in the object, an object's length at the most.
    fn take_run(&mut self) -> Vec<usize> {
        let chunks = &self.object.chunks;
        let end = |index: usize| chunks[index].offset.saturating_add(chunks[index].length);
        let Some(first) = self.chunks.first().copied() else { return Vec::new() };
        let fits = |pair: &[usize]| {
            let length = end(pair[1]).saturating_sub(chunks[first].offset);
            end(pair[0]) == chunks[pair[1]].offset && length <= OBJECT_BYTES as u64
        };
        let run = 1 + self.chunks.windows(2).take_while(|pair| fits(pair)).count();
        self.chunks.drain(..run).collect()
    }
}

/// Reads chunks in the order in which they are wanted, and checks them.
pub(super) struct Chunks {
    store: Arc<dyn Store>,
    wanted: VecDeque<Wanted>,
    /// What has been read, in reverse.
    read: Vec<Result<Chunk, Error>>,
}

impl Chunks {
    pub fn new(store: Arc<dyn Store>, wanted: impl IntoIterator<Item = Wanted>) -> Self {
        Chunks { store, wanted: wanted.into_iter().collect(), read: Vec::new() }
    }

    /// The same, read on a thread of its own before they are wanted.
    pub fn ahead(self) -> Result<Ahead, Error> {
        let (chunks, read) = sync_channel(AHEAD);
        let send = move || {
            // When nobody wants any more, that is no failure.
            let mut all = self;
            let read = catching("what is restored", || Ok(all.try_for_each(|chunk| chunks.send(chunk).ok())));
            if let Err(error) = read {
                _ = chunks.send(Err(error));
            }
        };
        let started = thread::Builder::new().name("restore".into()).spawn(send);
        started.map_err(|e| Error::store("start the thread that reads from", "the store", e))?;
        Ok(Ahead(read))
    }

    fn read_run(&self, object: &ObjectRef, run: &[usize]) -> Result<Vec<Chunk>, Error> {
        let chunks: Vec<&ChunkRef> = run.iter().map(|index| &object.chunks[*index]).collect();
        let Some(first) = chunks.first() else { return Ok(Vec::new()) };
        let length = chunks.iter().fold(0u64, |sum, chunk| sum.saturating_add(chunk.length));
        let bytes = self.store.get_range(&object.name, first.offset, length).map_err(damage)?;
        let frame = |chunk: &ChunkRef| part(&bytes, chunk.offset - first.offset, chunk.length).unwrap_or(&[]);
        chunks.iter().map(|chunk| decode(object, chunk, frame(chunk))).collect()
    }
}

impl Iterator for Chunks {
    type Item = Result<Chunk, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.read.is_empty() {
            let wanted = self.wanted.front_mut()?;
            let (object, run) = (Arc::clone(&wanted.object), wanted.take_run());
            if run.is_empty() {
                self.wanted.pop_front();
            }
            match self.read_run(&object, &run) {
                Ok(chunks) => self.read.extend(chunks.into_iter().rev().map(Ok)),
                Err(error) => self.read.push(Err(error)),
            }
        }
        self.read.pop()
    }
}

/// Chunks that are read before they are wanted.
pub(super) struct Ahead(Receiver<Result<Chunk, Error>>);

impl Iterator for Ahead {
    type Item = Poll<Result<Chunk, Error>>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.recv_timeout(PATIENCE) {
            Ok(chunk) => Some(Poll::Ready(chunk)),
            Err(RecvTimeoutError::Timeout) => Some(Poll::Pending),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }
}
