use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, TrySendError, channel, sync_channel};
use std::thread::{self, JoinHandle};

use super::EpochWriter;
use super::rows::{Rows, sorted};
use crate::error::Error;

/// Epochs that wait for the thread that writes: while one is being written, the next is ready.
pub const QUEUED_EPOCHS: usize = 2;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Job {
    Write { epoch: u64, rows: Vec<Rows> },
    Publish { before: Option<u64> },
}

/// Writes on a thread of its own, so that no activation of an operator waits for a disk. Jobs are done in order, up to
/// the first that fails. When it is dropped, what is queued is still done, and the thread has ended.
#[derive(Debug)]
pub(super) struct SinkThread {
    jobs: Option<SyncSender<Job>>,
    results: Receiver<Result<(), Error>>,
    thread: Option<JoinHandle<()>>,
}

impl SinkThread {
    /// Starts the thread. It calls `wake` after each job.
    pub fn new(name: &str, writer: impl EpochWriter, wake: impl Fn() + Send + 'static) -> Result<Self, Error> {
        let (jobs, queue) = sync_channel(QUEUED_EPOCHS);
        let (report, results) = channel();
        let thread = thread::Builder::new()
            .name("sink".into())
            .spawn(move || run(writer, &queue, &report, wake))
            .map_err(|error| Error::store("start the thread that writes for the sink", name, error))?;
        Ok(SinkThread { jobs: Some(jobs), results, thread: Some(thread) })
    }

    /// Queues a job, or gives it back while the queue is full, or once the thread has ended.
    pub fn try_submit(&self, job: Job) -> Result<(), Job> {
        let Some(jobs) = &self.jobs else { return Err(job) };
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
        })
    }

    /// What has become of the next job: nothing as long as it is not done.
    pub fn completed(&self) -> Option<Result<(), Error>> {
        match self.results.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(Error::store(
                "write",
                "the output",
                std::io::Error::other("the thread that writes for the sink has ended"),
            ))),
        }
    }
}

impl Drop for SinkThread {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Whatever the thread's end was, there is nobody left to tell.
            drop(thread.join());
        }
    }
}

fn run(mut writer: impl EpochWriter, queue: &Receiver<Job>, report: &Sender<Result<(), Error>>, wake: impl Fn()) {
    for job in queue {
        let result = catch_unwind(AssertUnwindSafe(|| match job {
            Job::Write { epoch, rows } => writer.write(epoch, &sorted(&rows)),
            Job::Publish { before } => writer.publish(before),
        }));
        let result = result.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or(panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
            Err(Error::store("write", "the output", std::io::Error::other(format!("the sink panicked: {text}"))))
        });
        let failed = result.is_err();
        let told = report.send(result).is_ok();
        wake();
        if failed || !told {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use super::*;

    /// Epochs, with the bytes that were written, if any.
    type Noted = Vec<(u64, usize)>;

    /// Notes what it is asked for; fails in epoch 3, panics in epoch 4.
    struct Noting(Arc<Mutex<Noted>>);

    impl EpochWriter for Noting {
        fn write(&mut self, epoch: u64, rows: &[u8]) -> Result<(), Error> {
            assert!(epoch != 4, "boom");
            self.0.lock().unwrap().push((epoch, rows.len()));
            if epoch == 3 { Err(Error::usage("three")) } else { Ok(()) }
        }
        fn publish(&mut self, before: Option<u64>) -> Result<(), Error> {
            self.0.lock().unwrap().push((before.unwrap_or(99), 0));
            Ok(())
        }
    }

    /// What becomes of these jobs, and which of them have been begun.
    fn done(jobs: Vec<Job>) -> (Vec<Result<(), String>>, Noted) {
        let noted = Arc::default();
        let thread = SinkThread::new("x", Noting(Arc::clone(&noted)), || ()).unwrap();
        let (mut results, begin) = (Vec::new(), Instant::now());
        for mut job in jobs {
            while let Err(back) = thread.try_submit(job) {
                assert!(begin.elapsed() < Duration::from_secs(30), "the queue does not empty");
                if matches!(results.last(), Some(Err(_))) {
                    break;
                }
                results.extend(thread.completed().map(|result| result.map_err(|error| error.with_causes())));
                job = back;
            }
        }
        drop(thread);
        let noted = noted.lock().unwrap().clone();
        (results, noted)
    }

    #[test]
    fn what_is_queued_is_done_in_order_and_nothing_after_a_failure() {
        let write = |epoch| Job::Write { epoch, rows: vec![Rows::new(epoch)] };
        let (_, noted) =
            done(vec![write(1), Job::Publish { before: Some(2) }, write(2), Job::Publish { before: None }]);
        assert_eq!(noted, [(1, 0), (2, 0), (2, 0), (99, 0)]);
        let jobs = || (5..9).map(write);
        let (results, noted) = done([write(3)].into_iter().chain(jobs()).collect());
        assert_eq!((results.last().unwrap(), noted), (&Err("three".to_owned()), vec![(3, 0)]));
        let (results, noted) = done([write(4)].into_iter().chain(jobs()).collect());
        assert!(results.last().unwrap().as_ref().unwrap_err().contains("boom") && noted.is_empty(), "{results:?}");
    }
}
