//! When checkpoints are taken, and whether they save all. Pure.

use crate::checkpoint::{LOOK_AHEAD, Trigger};
use crate::forecast::{Blend, Forecaster};
use crate::observe::CheckpointEvent;

/// The share of the state that has changed from which on a checkpoint saves all: that is little more to write, and
/// nothing of it has to be merged with earlier snapshots afterwards.
const NEARLY_ALL: f64 = 0.95;

/// How long a key that changes must be, of the mean of all: else nearly all keys may be little of the bytes.
const ABOUT_AS_LONG: f64 = 0.9;

/// After so many checkpoints in a row that save all, one of changed keys is taken, which tells again how long those
/// are.
pub(super) const RELEARN_AFTER: u32 = 16;

/// What decides on checkpoints, and what it is told of arrivals to come.
pub(super) struct CheckpointClock {
    pub trigger: Trigger,
    arrivals: Blend,
    /// A checkpoint has been abandoned: the next one is to save all.
    save_all: bool,
    /// The last boundary at which all is saved.
    saves_all_at: Option<u64>,
    /// The last boundary at which there is a checkpoint; 0 before the first one.
    last: u64,
    written: Written,
}

/// What checkpoints have written, in bytes per key.
#[derive(Default)]
struct Written {
    /// Of the last one that refers to no other, and so has all keys.
    all: f64,
    /// Of the last one that does, and has the keys that had changed.
    changed: Option<f64>,
    /// Those that refer to no other, since that one.
    in_a_row: u32,
}

impl Written {
    fn note(&mut self, checkpoint: &CheckpointEvent) {
        let bytes = checkpoint.bytes as f64 / checkpoint.saved_keys.max(1) as f64;
        if checkpoint.generations == 0 {
            (self.all, self.in_a_row) = (bytes, self.in_a_row + 1);
        } else if checkpoint.saved_keys > 0 {
            (self.changed, self.in_a_row) = (Some(bytes), 0);
        }
    }

    /// Whether keys that change are as long as others, as far as that is known.
    fn are_as_long(&self) -> bool {
        let changed = self.changed.filter(|_| self.in_a_row < RELEARN_AFTER);
        changed.is_some_and(|bytes| bytes >= ABOUT_AS_LONG * self.all)
    }
}

impl CheckpointClock {
    pub fn new(trigger: Trigger) -> Self {
        let (arrivals, written) = (Blend::new(LOOK_AHEAD), Written::default());
        CheckpointClock { trigger, arrivals, save_all: false, saves_all_at: None, last: 0, written }
    }

    /// Learns what became of a checkpoint.
    pub fn note_checkpoint(&mut self, checkpoint: &CheckpointEvent) {
        // One of a script may be over before anything is decided that comes after it.
        self.trigger.commanded(checkpoint.epoch);
        self.last = self.last.max(checkpoint.epoch);
        if checkpoint.error.is_none() {
            self.trigger.completed(checkpoint.epoch, checkpoint.seconds);
            return self.written.note(checkpoint);
        }
        self.trigger.abandoned(checkpoint.epoch);
        // Those that were built upon it fail with it.
        self.save_all |= self.saves_all_at.is_none_or(|at| at <= checkpoint.epoch);
    }

    /// There is a checkpoint at this boundary: decides whether it saves all. Told are the bytes held, and those that
    /// have changed since a boundary; where checkpoints are so close that none are told of after the last, few seem to
    /// have.
    pub fn decide_save_all(&mut self, boundary: u64, state_bytes: u64, unsaved_bytes: impl Fn(u64) -> u64) -> bool {
        let unsaved = unsaved_bytes(std::mem::replace(&mut self.last, boundary));
        let have_nearly_all_changed = unsaved > 0 && unsaved as f64 >= NEARLY_ALL * state_bytes as f64;
        let pays = have_nearly_all_changed && self.written.are_as_long();
        let saves_all = std::mem::take(&mut self.save_all) || pays;
        if saves_all {
            self.saves_all_at = Some(boundary);
        }
        saves_all
    }

    /// Takes the records of an epoch, and forecasts those of the next, once it is known how good that is.
    pub fn forecast(&mut self, records: u64) -> Vec<f64> {
        self.arrivals.observe(records as f64);
        let known = self.arrivals.skill(1).is_some();
        let mut forecast = vec![0.0; if known { LOOK_AHEAD } else { 0 }];
        self.arrivals.expect(&mut forecast);
        forecast
    }
}
