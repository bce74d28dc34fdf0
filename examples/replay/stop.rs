//! Stopping when asked to: at SIGTERM a last checkpoint is taken, and then the run ends, to be resumed.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::SIGTERM;
use signal_hook::flag;
use thalweg::checkpoint::{Checkpoints, REQUESTED};
use thalweg::observe::CheckpointEvent;

/// The exit code of a program that was ended by SIGTERM, as shells have it.
const TERMINATED: i32 = 128 + SIGTERM;

/// Whether the program has been asked to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    /// Nobody has acted on it.
    unheard: Arc<AtomicBool>,
}

impl Stop {
    /// Takes note of SIGTERM from now on. A second one ends the program at once.
    pub fn on_signal() -> io::Result<Self> {
        let stop = Stop::default();
        // In this order: at the first signal, nobody has been asked yet.
        flag::register_conditional_shutdown(SIGTERM, TERMINATED, Arc::clone(&stop.asked))?;
        flag::register(SIGTERM, Arc::clone(&stop.asked))?;
        flag::register(SIGTERM, Arc::clone(&stop.unheard))?;
        Ok(stop)
    }

    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

/// One worker's part in stopping.
#[derive(Debug)]
pub struct Stopping {
    stop: Stop,
    checkpoints: Option<Checkpoints>,
    /// The epoch before which the run stops.
    at: Cell<Option<u64>>,
}

impl Stopping {
    pub fn new(stop: Stop, checkpoints: Option<Checkpoints>) -> Self {
        Stopping { stop, checkpoints, at: Cell::new(None) }
    }

    /// Takes what has become of a checkpoint. All workers are told the same, and so all stop or none.
    pub fn note(&self, outcome: &CheckpointEvent) {
        match &outcome.error {
            None if outcome.reason == REQUESTED => self.at.set(Some(outcome.epoch)),
            Some(_) if outcome.reason == REQUESTED => self.ask(),
            _ => {}
        }
    }

    /// The epoch before which to stop, now that it is in a checkpoint.
    pub fn epoch(&self) -> Option<u64> {
        // Whichever worker sees it first asks for all.
        if self.stop.unheard.swap(false, Ordering::Relaxed) {
            self.ask();
        }
        self.at.get()
    }

    fn ask(&self) {
        self.checkpoints.iter().for_each(Checkpoints::request);
    }
}
