use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, TrySendError, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::manifest::Manifest;
use super::object::Object;
use super::reference::ObjectRef;
use super::retain::{Retained, retain};
use super::store::Store;
use crate::error::Error;

/// Jobs that wait for the store. While one is being written, the next is ready, and one more is being filled; more
/// would only take memory.
pub const QUEUED_JOBS: usize = 2;

/// Something to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// Put an object.
    Object(Object),
    /// Put a manifest, all of whose objects are durable: with that the checkpoint is complete. Then remove the
    /// checkpoints before the newest `keep`.
    Manifest {
        /// The manifest.
        manifest: Box<Manifest>,
        /// Whether it is to take the place of one that was passed over.
        replaces: bool,
        /// Checkpoints to keep.
        keep: usize,
    },
}

/// What has become of a job.
#[derive(Debug)]
pub struct Done {
    /// Wall time that writing took.
    pub seconds: f64,
    /// What is durable now, or why it is not. After an error the job is gone: its checkpoint is to be abandoned.
    pub outcome: Result<Written, Error>,
}

/// What is durable.
#[derive(Debug)]
pub enum Written {
    /// An object.
    Object(ObjectRef),
    /// A checkpoint.
    Manifest {
        /// Its epoch.
        epoch: u64,
        /// Which earlier ones were removed. An error here does not touch the checkpoint.
        retained: Result<Retained, Error>,
    },
}

/// Writes to a store on a thread of its own, so that no activation of an operator waits for one. Jobs are done in the
/// order in which they are submitted; neither a failing nor a panicking store ends the thread.
///
/// When it is dropped, what is queued is still written, and the thread has ended.
#[derive(Debug)]
pub struct Writer {
    jobs: Option<SyncSender<Job>>,
    results: Receiver<Done>,
    /// The names of the jobs whose results have not been taken, in order.
    pending: VecDeque<String>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. It calls `wake` after each job, when there is something for [`completed`](Self::completed).
    pub fn new(store: Arc<dyn Store>, wake: impl Fn() + Send + 'static) -> Result<Self, Error> {
        let (jobs, queue) = sync_channel(QUEUED_JOBS);
        let (report, results) = channel();
        let thread = thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || run(&*store, &queue, &report, wake))
            .map_err(|e| Error::store("start the thread that writes to", "the store", e))?;
        Ok(Writer { jobs: Some(jobs), results, pending: VecDeque::new(), thread: Some(thread) })
    }

    /// Queues a job, or gives it back while the queue is full: try again after the next call of `wake`.
    pub fn try_submit(&mut self, job: Job) -> Result<(), Job> {
        let name = job.name();
        let sent = match &self.jobs {
            Some(jobs) => jobs.try_send(job),
            None => Err(TrySendError::Disconnected(job)),
        };
        if let Err(TrySendError::Full(job)) = sent {
            return Err(job);
        }
        // With a dead thread as well: so nobody waits for room, and `completed` reports the failure.
        self.pending.push_back(name);
        Ok(())
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
    /// The name of the object that is to be written.
    pub fn name(&self) -> String {
        match self {
            Job::Object(object) => object.reference.name.clone(),
            Job::Manifest { manifest, .. } => manifest.name(),
        }
    }

    fn write(self, store: &dyn Store) -> Result<Written, Error> {
        match self {
            Job::Object(Object { reference, bytes }) => {
                store.put(&reference.name, &bytes)?;
                Ok(Written::Object(reference))
            }
            Job::Manifest { manifest, replaces, keep } => {
                if replaces { manifest.replace(store) } else { manifest.write(store) }?;
                // Caught by itself: the checkpoint stands, whatever becomes of the old ones.
                let retained = catching("the checkpoints before it", || retain(store, keep, manifest.epoch));
                Ok(Written::Manifest { epoch: manifest.epoch, retained })
            }
        }
    }
}

fn run(store: &dyn Store, queue: &Receiver<Job>, report: &Sender<Done>, wake: impl Fn()) {
    for job in queue {
        let (name, begin) = (job.name(), Instant::now());
        let outcome = catching(&name, || job.write(store));
        let done = Done { seconds: begin.elapsed().as_secs_f64(), outcome };
        if report.send(done).is_err() {
            return;
        }
        drop(catch_unwind(AssertUnwindSafe(&wake)));
    }
}

/// A panic as an error. Nothing that the panic may have left half changed is looked at afterwards, but for the store,
/// whose objects are whole or absent.
fn catching<R>(name: &str, work: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
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
    use crate::checkpoint::manifest::example;
    use crate::checkpoint::{Memory, ObjectWriter};
    use crate::keyed::Chunk;
    use crate::keyspace::KeyRange;

    fn object(sequence: u8) -> Object {
        let mut writer = ObjectWriter::new(7, usize::from(sequence), 0);
        let chunk = Chunk { range: KeyRange::ALL, last: true, keys: 1, bytes: vec![sequence; 10] };
        writer.push("count", &chunk).unwrap();
        writer.finish().remove(0)
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

    /// Writes once it may, and fails or panics at the names that say so.
    struct Gated(Memory, Arc<Mutex<()>>);

    impl Store for Gated {
        fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
            drop(self.1.lock().unwrap());
            assert!(!name.contains("-2-0-"), "boom");
            self.0.put(name, bytes)
        }
        fn create(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
            self.0.create(name, bytes)
        }
        fn get(&self, name: &str) -> Result<Vec<u8>, Error> {
            self.0.get(name)
        }
        fn get_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
            self.0.get_range(name, offset, length)
        }
        fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
            assert!(prefix != "objects/", "no list today");
            self.0.list(prefix)
        }
        fn delete(&self, name: &str) -> Result<(), Error> {
            self.0.delete(name)
        }
    }

    #[test]
    fn what_is_submitted_is_durable_when_it_is_reported() {
        let store = Memory::default();
        let (woken, wakes) = channel();
        let mut writer = Writer::new(Arc::new(store.clone()), move || woken.send(()).unwrap_or(())).unwrap();
        writer.try_submit(Job::Object(object(1))).unwrap();
        let manifest = Box::new(example(7, None, vec![object(1).reference]));
        writer.try_submit(Job::Manifest { manifest, replaces: false, keep: 1 }).unwrap();
        let done = take(&mut writer, 2);
        assert!(matches!(&done[0].outcome, Ok(Written::Object(reference)) if *reference == object(1).reference));
        assert!(matches!(&done[1].outcome, Ok(Written::Manifest { epoch: 7, retained: Ok(_) })));
        assert_eq!(store.list("").unwrap().len(), 2);
        drop(writer);
        assert_eq!(wakes.iter().count(), 2);
    }

    #[test]
    fn a_full_queue_gives_the_job_back_and_dropping_writes_what_is_queued() {
        let (memory, gate) = (Memory::default(), Arc::new(Mutex::new(())));
        let closed = gate.lock().unwrap();
        let mut writer = Writer::new(Arc::new(Gated(memory.clone(), gate.clone())), || ()).unwrap();
        let taken = (10..20).take_while(|i| writer.try_submit(Job::Object(object(*i))).is_ok()).count();
        assert!((QUEUED_JOBS..=QUEUED_JOBS + 1).contains(&taken), "{taken}");
        assert_eq!(writer.try_submit(Job::Object(object(9))), Err(Job::Object(object(9))));
        drop(closed);
        drop(writer);
        assert_eq!(memory.list("objects/").unwrap().len(), taken);
    }

    #[test]
    fn a_panic_is_an_error_and_the_next_job_is_done() {
        let mut writer = Writer::new(Arc::new(Gated(Memory::default(), Arc::default())), || panic!("no wake")).unwrap();
        writer.try_submit(Job::Object(object(2))).unwrap();
        writer
            .try_submit(Job::Manifest { manifest: Box::new(example(7, None, vec![])), replaces: false, keep: 1 })
            .unwrap();
        let done = take(&mut writer, 2);
        let error = done[0].outcome.as_ref().unwrap_err();
        let object_2 = object(2).reference.name;
        assert!(matches!(error, Error::Store { object, source, .. }
            if *object == object_2 && source.to_string().contains("boom")));
        assert!(matches!(&done[1].outcome, Ok(Written::Manifest { retained: Err(Error::Store { .. }), .. })));
    }

    #[test]
    fn a_dead_thread_is_an_error_for_every_job() {
        let (jobs, results) = (sync_channel(1).0, channel().1);
        let mut writer = Writer { jobs: Some(jobs), results, pending: VecDeque::new(), thread: None };
        for sequence in 0..5 {
            writer.try_submit(Job::Object(object(sequence))).unwrap();
        }
        assert_eq!(writer.completed().filter(|done| done.outcome.is_err()).count(), 5);
    }
}
