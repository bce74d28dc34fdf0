use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// How long it may take until all losses of one instant are known: those that follow from the first are told with it.
const SETTLING: Duration = Duration::from_millis(100);

/// What is known of the other processes, and of the workers of this one.
///
/// A worker asks between steps whether it is still worth going on, as it asks a [`Fault`](crate::keyed::Fault). It is
/// woken if it is parked when the answer changes.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Whether there is a cause: what `check` looks at.
    ending: AtomicBool,
    known: Mutex<Known>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Known {
    /// Why the run ends before its time: only the first reason counts, the others follow from it.
    cause: Option<Cause>,
    /// The processes that are lost, and what tells it.
    lost: BTreeMap<usize, String>,
    /// All workers of this process have ended.
    over: bool,
    workers: Vec<Thread>,
    connections: Vec<TcpStream>,
}

/// Why a run ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Another process is lost.
    Lost,
    /// A worker of this process has failed.
    Failed(usize),
}

impl Peers {
    /// An error once the run can't be finished: another process is lost, or another worker of this one has failed.
    pub fn check(&self) -> Result<(), Error> {
        if !self.shared.ending.load(Ordering::Acquire) {
            return Ok(());
        }
        let known = self.known();
        match known.cause {
            None => Ok(()),
            Some(Cause::Failed(worker)) => Err(Error::usage(format!("worker {worker} has given up"))),
            Some(Cause::Lost) => Err(lost(&known)),
        }
    }

    pub(super) fn watch_worker(&self) {
        self.known().workers.push(std::thread::current());
    }

    pub(super) fn watch_connection(&self, connection: TcpStream) {
        self.known().connections.push(connection);
    }

    /// Notes that another process is lost. Once this process is over, that is of no interest.
    pub(super) fn lose(&self, process: usize, what: String) {
        let mut known = self.known();
        if !known.over {
            known.lost.entry(process).or_insert(what);
            self.end(known, Cause::Lost);
        }
    }

    /// Notes that another process has ended well: this one should be over as well, in no longer than `grace`.
    pub(super) fn expect_end(&self, process: usize, grace: Duration) {
        let peers = self.clone();
        let waiting = std::thread::Builder::new().name(format!("grace-{process}")).spawn(move || {
            if !peers.wait_until_over(Some(grace)) {
                peers.lose(process, format!("process {process} has ended, and this one goes on {grace:?} later"));
            }
        });
        if let Err(error) = waiting {
            self.lose(process, format!("process {process} has ended, and no thread can wait for this one: {error}"));
        }
    }

    /// Notes that a worker of this process has failed. The other processes are told, in that their connections close
    /// without a farewell.
    pub(super) fn fail(&self, worker: usize) {
        self.end(self.known(), Cause::Failed(worker));
    }

    fn end(&self, mut known: MutexGuard<'_, Known>, cause: Cause) {
        known.cause.get_or_insert(cause);
        self.shared.ending.store(true, Ordering::Release);
        known.workers.iter().for_each(Thread::unpark);
        drop(known);
        self.shared.changed.notify_all();
    }

    /// Whether nothing that is still sent is of any use.
    pub(super) fn is_ending(&self) -> bool {
        self.shared.ending.load(Ordering::Acquire)
    }

    /// Notes that all workers of this process have ended; gives why, if they ended before their time.
    pub(super) fn finish(&self) -> Option<Cause> {
        let lost_others = self.known().cause == Some(Cause::Lost);
        if lost_others {
            std::thread::sleep(SETTLING);
        }
        let mut known = self.known();
        known.over = true;
        if known.cause.is_some() {
            // A connection that is closed already is as it should be.
            known.connections.iter().for_each(|connection| _ = connection.shutdown(Shutdown::Both));
        }
        self.shared.changed.notify_all();
        known.cause
    }

    pub(super) fn lost(&self) -> Error {
        lost(&self.known())
    }

    /// Waits until this process is over, for no longer than `timeout` if there is one; whether it is.
    pub(super) fn wait_until_over(&self, timeout: Option<Duration>) -> bool {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut known = self.known();
        while !known.over {
            known = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.shared.changed.wait(known).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return false,
                Some(left) => self.shared.changed.wait_timeout(known, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        true
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost(known: &Known) -> Error {
    let what: Vec<&str> = known.lost.values().map(String::as_str).collect();
    Error::Lost { processes: known.lost.keys().copied().collect(), what: what.join("; ") }
}
