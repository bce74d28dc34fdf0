use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::background;
use super::compact::InUse;
use super::manifest::Manifest;
use super::object::Object;
use super::packing::Packing;
use super::reference::ObjectRef;
use super::retain::{Retained, retain};
use super::store::Store;
use crate::error::Error;
use crate::fault::point;
use crate::keyed::{Backlog, Chunk};

/// Something to be written.
#[derive(Debug)]
pub enum Job {
    /// A chunk of the snapshot at a boundary: to be packed into an object, and put with it.
    Chunk(Packed),
    /// The snapshot at this boundary has no more chunks: all that is left of it is to be put.
    Close(u64),
    /// Put a manifest, all of whose objects are durable: with that the checkpoint is complete. Then remove the
    /// checkpoints before the newest `keep`, and nothing that is in use.
    Manifest {
        /// The manifest.
        manifest: Box<Manifest>,
        /// Whether it is to take the place of one that was passed over.
        replaces: bool,
        /// Checkpoints to keep.
        keep: usize,
        /// Objects that no manifest refers to yet.
        in_use: InUse,
    },
}

/// A chunk on its way to the store.
#[derive(Debug)]
pub struct Packed {
    /// The boundary.
    pub at: u64,
    /// The worker.
    pub worker: usize,
    /// The operator.
    pub operator: String,
    /// The codec.
    pub codec: u16,
    /// The chunk.
    pub chunk: Chunk,
    /// Counts it until it is packed, or given up.
    pub load: Load,
}

/// Bytes that a backlog counts for as long as this lives.
#[derive(Debug)]
pub struct Load {
    backlog: Arc<Backlog>,
    bytes: usize,
}

impl Load {
    /// Counts so many bytes.
    pub fn new(backlog: &Arc<Backlog>, bytes: usize) -> Self {
        backlog.add(bytes);
        Load { backlog: Arc::clone(backlog), bytes }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.backlog.take_off(self.bytes);
    }
}

/// What has become of a snapshot that was closed, or of a manifest.
#[derive(Debug)]
pub struct Done {
    /// Wall time that writing took, since it was submitted.
    pub seconds: f64,
    /// What is durable now, or why it is not. After an error the checkpoint is to be abandoned.
    pub outcome: Result<Written, Error>,
}

/// What is durable.
#[derive(Debug)]
pub enum Written {
    /// The objects of a snapshot.
    Objects(Vec<ObjectRef>),
    /// A checkpoint.
    Manifest {
        /// Which earlier ones were removed. An error here does not touch the checkpoint.
        retained: Result<Retained, Error>,
    },
}

/// Packs, compresses, checksums and writes to a store on a thread of its own, so that no activation of an operator
/// waits for one. Jobs are done in the order in which they are submitted; neither a failing nor a panicking store ends
/// the thread. How much waits is for a [`Backlog`] to bound.
///
/// When it is dropped, what is queued is still written, and the thread has ended.
#[derive(Debug)]
pub struct Writer {
    jobs: Option<Sender<Job>>,
    results: Receiver<Done>,
    /// What has been submitted and is to be answered, in order.
    pending: VecDeque<String>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. It calls `wake` when there is something for [`completed`](Self::completed).
    pub fn new(store: Arc<dyn Store>, wake: impl Fn() + Send + 'static) -> Result<Self, Error> {
        let (jobs, queue) = channel();
        let (report, results) = channel();
        let thread = thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || {
                background::begin();
                run(&*store, &queue, &report, wake);
            })
            .map_err(|e| Error::store("start the thread that writes to", "the store", e))?;
        Ok(Writer { jobs: Some(jobs), results, pending: VecDeque::new(), thread: Some(thread) })
    }

    /// Queues a job. Snapshots that are closed, and manifests, are answered by [`completed`](Self::completed).
    pub fn submit(&mut self, job: Job) {
        self.pending.extend(job.answered());
        // With a dead thread the job is gone, and `completed` reports the failure.
        _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
    }

    /// What has become of the jobs done since the last call.
    pub fn completed(&mut self) -> impl Iterator<Item = Done> + '_ {
        std::iter::from_fn(|| match self.results.try_recv() {
            Ok(done) => {
                self.pending.pop_front();
                Some(done)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => self.pending.pop_front().map(lost),
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Whatever the thread's end was, there is nobody left to tell.
            drop(thread.join());
        }
    }
}

impl Job {
    /// What it is called when it is to be answered.
    fn answered(&self) -> Option<String> {
        match self {
            Job::Chunk(_) => None,
            Job::Close(at) => Some(format!("the snapshot at epoch {at}")),
            Job::Manifest { manifest, .. } => Some(manifest.name()),
        }
    }
}

/// Writes what is submitted.
struct Writing<'a> {
    store: &'a dyn Store,
    /// The snapshots that have not been closed, by their boundaries, or why they can't be written.
    packings: BTreeMap<u64, Result<Packing, Error>>,
}

impl Writing<'_> {
    /// Does a job; what has become of it, if that is to be told.
    fn perform(&mut self, job: Job) -> Option<Result<Written, Error>> {
        match job {
            Job::Chunk(packed) => {
                self.pack(packed);
                None
            }
            Job::Close(at) => Some(self.close(at)),
            Job::Manifest { manifest, replaces, keep, in_use } => {
                let written = self.write_manifest(&manifest, replaces);
                // Caught by itself: the checkpoint stands, whatever becomes of the old ones.
                let retain = || retain(self.store, keep, manifest.epoch, &|name| in_use.has(name));
                Some(written.map(|()| Written::Manifest { retained: catching("the checkpoints before it", retain) }))
            }
        }
    }

    fn pack(&mut self, Packed { at, worker, operator, codec, chunk, load }: Packed) {
        let packing = self.packings.entry(at).or_insert_with(|| Ok(Packing::new(at, worker)));
        let store = self.store;
        if let Ok(open) = packing
            && let Err(error) = catching(&operator, || open.push(&operator, codec, &chunk, &|o| put(store, o)))
        {
            *packing = Err(error);
        }
        drop(load);
    }

    fn close(&mut self, at: u64) -> Result<Written, Error> {
        let packing = self.packings.remove(&at).transpose()?;
        let store = self.store;
        let finish = |packing: Packing| catching("the end of a snapshot", || packing.finish(&|o| put(store, o)));
        packing.map_or(Ok(Vec::new()), finish).map(Written::Objects)
    }

    fn write_manifest(&self, manifest: &Manifest, replaces: bool) -> Result<(), Error> {
        point("checkpoint.manifest.before");
        let write = if replaces { Manifest::replace } else { Manifest::write };
        catching(&manifest.name(), || write(manifest, self.store))?;
        point("checkpoint.manifest.after");
        Ok(())
    }
}

fn put(store: &dyn Store, object: &Object) -> Result<(), Error> {
    point("checkpoint.object.before");
    store.put(&object.reference.name, &object.bytes)?;
    point("checkpoint.object.after");
    Ok(())
}

fn run(store: &dyn Store, queue: &Receiver<Job>, report: &Sender<Done>, wake: impl Fn()) {
    let mut writing = Writing { store, packings: BTreeMap::new() };
    for job in queue {
        let begin = Instant::now();
        let Some(outcome) = writing.perform(job) else { continue };
        let done = Done { seconds: begin.elapsed().as_secs_f64(), outcome };
        if report.send(done).is_err() {
            return;
        }
        drop(catch_unwind(AssertUnwindSafe(&wake)));
    }
}

/// A panic as an error. Nothing that the panic may have left half changed is looked at afterwards, but for the store,
/// whose objects are whole or absent.
pub(super) fn catching<R>(name: &str, work: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or(panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        Err(Error::store("write", name, std::io::Error::other(format!("the store panicked: {text}"))))
    })
}

fn lost(name: String) -> Done {
    let source = std::io::Error::other("the thread that writes to the store has ended");
    Done { seconds: 0.0, outcome: Err(Error::store("write", name, source)) }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::checkpoint::Memory;
    use crate::checkpoint::hooked::{Hooked, Operation};
    use crate::checkpoint::manifest::example;
    use crate::keyspace::KeyRange;

    fn chunk(worker: usize, backlog: &Arc<Backlog>) -> Job {
        let chunk = Chunk { range: KeyRange::ALL, last: true, keys: 1, bytes: vec![7; 10] };
        let load = Load::new(backlog, chunk.bytes.len());
        Job::Chunk(Packed { at: worker as u64, worker, operator: "count".into(), codec: 0, chunk, load })
    }

    fn backlog() -> Arc<Backlog> {
        Arc::new(Backlog::new(19))
    }

    fn manifest(objects: Vec<ObjectRef>) -> Job {
        Job::Manifest {
            manifest: Box::new(example(7, None, objects)),
            replaces: false,
            keep: 1,
            in_use: InUse::default(),
        }
    }

    /// Waits for so many results.
    fn take(writer: &mut Writer, count: usize) -> Vec<Done> {
        let begin = Instant::now();
        let mut done = Vec::new();
        while done.len() < count {
            assert!(begin.elapsed() < Duration::from_secs(30), "{} of {count} results came", done.len());
            done.extend(writer.completed());
            thread::sleep(Duration::from_millis(1));
        }
        done
    }

    /// A store that writes once it may, and panics at the names that say so.
    fn gated(inner: Memory, gate: Arc<Mutex<()>>) -> Arc<dyn Store> {
        Arc::new(Hooked::new(inner, move |_: &Memory, operation: Operation<'_>, name: &str| {
            match operation {
                Operation::Write(_) => {
                    drop(gate.lock().unwrap());
                    assert!(!name.contains("-2-0-"), "boom");
                }
                Operation::List => assert!(name != "objects/", "no list today"),
                Operation::Read | Operation::Delete => {}
            }
            Ok(())
        }))
    }

    #[test]
    fn what_is_closed_is_durable_when_it_is_answered() {
        let store = Memory::default();
        let (woken, wakes) = channel();
        let mut writer = Writer::new(Arc::new(store.clone()), move || woken.send(()).unwrap_or(())).unwrap();
        for job in [chunk(9, &backlog()), Job::Close(9), Job::Close(5), manifest(Vec::new())] {
            writer.submit(job);
        }
        let done = take(&mut writer, 3);
        let Ok(Written::Objects(objects)) = &done[0].outcome else { panic!("{:?}", done[0]) };
        assert_eq!(objects.len(), 1);
        assert!(matches!(&done[1].outcome, Ok(Written::Objects(none)) if none.is_empty()));
        assert!(matches!(&done[2].outcome, Ok(Written::Manifest { retained: Ok(_) })));
        assert!(store.get(&objects[0].name).is_ok() && Manifest::read(&store, 7).is_ok());
        drop(writer);
        assert_eq!(wakes.iter().count(), 3);
    }

    #[test]
    fn a_slow_store_fills_the_backlog_and_dropping_writes_what_is_queued() {
        let (memory, gate, backlog) = (Memory::default(), Arc::new(Mutex::new(())), backlog());
        let closed = gate.lock().unwrap();
        let mut writer = Writer::new(gated(memory.clone(), gate.clone()), || ()).unwrap();
        for job in [chunk(3, &backlog), Job::Close(3)] {
            writer.submit(job);
        }
        while backlog.is_half_full() {
            thread::sleep(Duration::from_millis(1));
        }
        // The thread waits for the store.
        writer.submit(chunk(4, &backlog));
        assert!(backlog.is_half_full() && !backlog.is_full());
        for job in [chunk(5, &backlog), Job::Close(4), Job::Close(5)] {
            writer.submit(job);
        }
        assert!(backlog.is_full());
        drop(closed);
        drop(writer);
        assert!(!backlog.is_half_full());
        assert_eq!(memory.list("objects/").unwrap().len(), 3);
    }

    #[test]
    fn a_panic_is_an_error_and_the_next_job_is_done() {
        let mut writer = Writer::new(gated(Memory::default(), Arc::default()), || panic!("no wake")).unwrap();
        for job in [chunk(2, &backlog()), Job::Close(2), manifest(Vec::new())] {
            writer.submit(job);
        }
        let done = take(&mut writer, 2);
        let error = done[0].outcome.as_ref().unwrap_err();
        assert!(matches!(error, Error::Store { source, .. } if source.to_string().contains("boom")), "{error}");
        assert!(matches!(&done[1].outcome, Ok(Written::Manifest { retained: Err(Error::Store { .. }) })));
    }

    #[test]
    fn with_a_dead_thread_every_answer_is_an_error_and_nothing_stays_in_the_backlog() {
        let (jobs, results, backlog) = (channel().0, channel().1, backlog());
        let mut writer = Writer { jobs: Some(jobs), results, pending: VecDeque::new(), thread: None };
        for at in 0..5 {
            for job in [chunk(at, &backlog), Job::Close(at as u64)] {
                writer.submit(job);
            }
        }
        assert_eq!(writer.completed().filter(|done| done.outcome.is_err()).count(), 5);
        assert!(!backlog.is_half_full());
    }
}
