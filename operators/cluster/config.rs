use std::time::Duration;

use crate::error::Error;

/// Longer than it takes to start a machine's worth of processes one after the other, or to pull an image.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// What a busy machine may take to hand over the last messages of a run.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// A network that is away for less is often back before a restart would have helped.
pub const DEFAULT_SILENCE: Duration = Duration::from_secs(30);

/// The processes that run a program together, and which of them this one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Worker threads of each process, at least 1.
    pub workers: usize,
    /// Which of the processes this is, from 0.
    pub process: usize,
    /// `HOST:PORT` of each process, the same list for all; nothing is listened on if there is just one.
    pub addresses: Vec<String>,
    /// How long to wait for the other processes to come up.
    pub connect_timeout: Duration,
    /// How long this process may go on after another one has ended well.
    pub grace: Duration,
    /// How long another machine may not answer before it counts as gone.
    pub silence: Duration,
    /// What all processes must have found alike before they start, such as the checkpoint they resume from: they refuse
    /// to work with one that says something else.
    pub agreement: String,
}

impl Cluster {
    /// A single process with so many workers.
    pub fn of_threads(workers: usize) -> Self {
        Self::new(workers, 0, vec![String::new()])
    }

    /// Process number `process` of those at these addresses, each with so many workers.
    pub fn new(workers: usize, process: usize, addresses: Vec<String>) -> Self {
        Cluster {
            workers,
            process,
            addresses,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            grace: DEFAULT_GRACE,
            silence: DEFAULT_SILENCE,
            agreement: String::new(),
        }
    }

    /// How many processes there are.
    pub fn processes(&self) -> usize {
        self.addresses.len()
    }

    /// Refuses what no cluster can be made of.
    pub fn validate(&self) -> Result<(), Error> {
        if self.workers == 0 {
            return Err(Error::usage("a process has 0 workers: expected at least 1"));
        }
        if self.process >= self.processes() {
            let (process, processes) = (self.process, self.processes());
            return Err(Error::usage(format!("there is no process {process} among {processes}, counted from 0")));
        }
        Ok(())
    }
}
