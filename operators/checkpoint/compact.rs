//! Merging snapshots, so that a checkpoint consists of few: on a thread of its own, a part of the key space at a time.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::background;
use super::chain::ToMerge;
use super::object::Object;
use super::packing::Packing;
use super::read::{Chunks, Wanted};
use super::reference::ObjectRef;
use super::store::Store;
use super::writer::catching;
use crate::error::Error;
use crate::fault::point;
use crate::keyed::{Merge, Merging};
use crate::keyspace::KeyRange;

/// Compressed bytes whose keys are remembered at once: some tens of MiB of keys.
const PART_BYTES: u64 = 32 << 20;

/// Length of a merged chunk: the default of those that are saved.
const CHUNK_BYTES: usize = 64 << 10;

/// How the states of operators are merged, by their names.
pub(super) type Merges = BTreeMap<String, Merge>;

/// Names of objects to which no manifest refers yet, and which are to stay nevertheless.
#[derive(Clone, Debug, Default)]
pub struct InUse(Arc<Mutex<BTreeSet<String>>>);

impl InUse {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an object is.
    pub fn has(&self, name: &str) -> bool {
        self.lock().contains(name)
    }
}

/// Merges snapshots, one after the other.
pub(super) struct Compactor {
    store: Arc<dyn Store>,
    running: Option<Running>,
    pub in_use: InUse,
}

struct Running {
    of: ToMerge,
    stop: Arc<AtomicBool>,
    result: Receiver<Result<Vec<ObjectRef>, Error>>,
    thread: Option<JoinHandle<()>>,
}

/// What has been merged of what.
pub(super) type Compacted = (ToMerge, Result<Vec<ObjectRef>, Error>);

impl Compactor {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Compactor { store, running: None, in_use: InUse::default() }
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Gives up merging, unless what is merged is still needed.
    pub fn stop_unless(&self, is_needed: impl FnOnce(&ToMerge) -> bool) {
        if let Some(running) = self.running.as_ref().filter(|running| !is_needed(&running.of)) {
            running.stop.store(true, Ordering::Relaxed);
        }
    }

    /// What has been merged so far is referred to by a manifest now, or of no use.
    pub fn let_go(&self) {
        self.in_use.lock().clear();
    }

    /// Begins to merge; calls `wake` at the end. None may be running.
    pub fn start(&mut self, of: ToMerge, merges: Merges, wake: impl Fn() + Send + 'static) -> Result<(), Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let (send, result) = channel();
        let work = Work {
            store: Arc::clone(&self.store),
            of: of.clone(),
            merges,
            in_use: self.in_use.clone(),
            stop: Arc::clone(&stop),
        };
        let thread = thread::Builder::new().name("compaction".into()).spawn(move || {
            background::begin();
            _ = send.send(catching("merged snapshots", || work.merge()));
            wake();
        });
        let thread = thread.map_err(|e| Error::store("start the thread that merges in", "the store", e))?;
        self.running = Some(Running { of, stop, result, thread: Some(thread) });
        Ok(())
    }

    /// What has been merged since the last call.
    pub fn completed(&mut self) -> Option<Compacted> {
        let running = self.running.as_ref()?;
        let result = match running.result.try_recv() {
            Ok(result) => result,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(Error::usage("the thread that merges snapshots has ended")),
        };
        self.running.take().map(|running| (running.of.clone(), result))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Work {
    store: Arc<dyn Store>,
    of: ToMerge,
    merges: Merges,
    in_use: InUse,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn merge(&self) -> Result<Vec<ObjectRef>, Error> {
        let at = self.of.objects.iter().map(|object| object.epoch).max().unwrap_or(0);
        let packing = RefCell::new(Packing::new(at, "merged"));
        let mut by_operator: BTreeMap<&str, Vec<Arc<ObjectRef>>> = BTreeMap::new();
        for object in &self.of.objects {
            by_operator.entry(&object.operator).or_default().push(Arc::new(object.clone()));
        }
        for (operator, mut objects) in by_operator {
            objects.sort_by_key(|object| std::cmp::Reverse(object.epoch));
            self.merge_operator(operator, &objects, &packing)?;
        }
        packing.into_inner().finish(&|object| self.put(object))
    }

    /// Merges the snapshots of one operator, the latest ones first.
    fn merge_operator(
        &self,
        operator: &str,
        objects: &[Arc<ObjectRef>],
        packing: &RefCell<Packing>,
    ) -> Result<(), Error> {
        let merge = self.merges.get(operator);
        let merge = merge.ok_or_else(|| Error::usage(format!("no operator {operator:?} runs that could merge")))?;
        let codec = objects.first().map_or(0, |object| object.codec);
        for range in parts(objects) {
            let wanted = objects.iter().filter_map(|o| Wanted::of(o, |r| r.intersection(&range).is_some()));
            let chunks = Chunks::new(Arc::clone(&self.store), wanted);
            let mut chunks = chunks.map(|chunk| self.check_running().and(chunk));
            let merging =
                Merging { operator: operator.to_owned(), range, oldest: self.of.oldest, chunk_bytes: CHUNK_BYTES };
            merge(&merging, &mut chunks, &mut |chunk| {
                packing.borrow_mut().push(operator, codec, &chunk, &|object| self.put(object))
            })?;
        }
        Ok(())
    }

    /// Puts an object that no manifest refers to before the next one.
    fn put(&self, object: &Object) -> Result<(), Error> {
        self.in_use.lock().insert(object.reference.name.clone());
        point("compact.object.before");
        self.store.put(&object.reference.name, &object.bytes)?;
        point("compact.object.after");
        Ok(())
    }

    fn check_running(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::usage("merging has been given up")) } else { Ok(()) }
    }
}

/// Parts of the key space whose chunks have about [`PART_BYTES`] each.
fn parts(objects: &[Arc<ObjectRef>]) -> Vec<KeyRange> {
    let chunks = objects.iter().flat_map(|object| &object.chunks);
    let mut starts: Vec<(u64, u64)> = chunks.map(|chunk| (chunk.range.start(), chunk.length)).collect();
    starts.sort_unstable();
    let (mut parts, mut rest, mut bytes) = (Vec::new(), KeyRange::ALL, 0);
    for (start, length) in starts {
        if bytes >= PART_BYTES
            && let Some((part, after)) = rest.split(start)
        {
            parts.push(part);
            (rest, bytes) = (after, 0);
        }
        bytes += length;
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::hooked::{Hooked, Operation};
    use crate::checkpoint::{Memory, ObjectWriter};
    use crate::keyed::{Chunk, Merged};

    fn pass(
        _: &Merging,
        chunks: &mut dyn Iterator<Item = Result<Chunk, Error>>,
        merged: &mut Merged<'_>,
    ) -> Result<(), Error> {
        for chunk in chunks {
            merged(chunk?)?;
        }
        Ok(())
    }

    /// What has come of merging a snapshot, if it turns out meanwhile whether that is needed.
    fn merged(is_needed: bool) -> (Compactor, Result<Vec<ObjectRef>, Error>) {
        let (store, gate) = (Memory::default(), Arc::new(Mutex::new(())));
        let mut writer = ObjectWriter::new(7, 0, 0).unwrap();
        writer.push("count", &Chunk { range: KeyRange::ALL, last: true, keys: 1, bytes: vec![7; 10] }).unwrap();
        let objects = writer.finish();
        objects.iter().for_each(|object| store.put(&object.reference.name, &object.bytes).unwrap());
        let of = ToMerge { objects: objects.into_iter().map(|object| object.reference).collect(), oldest: true };
        let closed = gate.lock().unwrap();
        let waiting = Arc::clone(&gate);
        let reads_once_it_may = move |_: &Memory, operation: Operation<'_>, _: &str| {
            if let Operation::Read = operation {
                drop(waiting.lock().unwrap());
            }
            Ok(())
        };
        let mut compactor = Compactor::new(Arc::new(Hooked::new(store, reads_once_it_may)));
        compactor.start(of.clone(), BTreeMap::from([("count".to_owned(), pass as Merge)]), || ()).unwrap();
        compactor.stop_unless(|running| *running == of && is_needed);
        drop(closed);
        let result = loop {
            match compactor.completed() {
                Some((_, result)) => break result,
                None => thread::yield_now(),
            }
        };
        (compactor, result)
    }

    #[test]
    fn what_is_merged_is_in_use_until_it_is_let_go_of() {
        let (compactor, result) = merged(true);
        let name = &result.unwrap()[0].name;
        assert!(compactor.in_use.has(name));
        compactor.let_go();
        assert!(!compactor.in_use.has(name) && !compactor.is_running());
    }

    #[test]
    fn merging_what_is_no_longer_needed_is_given_up() {
        let (_, result) = merged(false);
        assert!(result.unwrap_err().to_string().contains("given up"));
    }
}
