use super::units::Units;

/// What the workers did in an epoch.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// By worker.
    pub done: Vec<Done>,
    /// By key, the records that have been counted in the end.
    pub counts: Vec<u64>,
}

/// What one worker did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Records applied to a state.
    pub applied: u64,
    /// Records folded where the source gave them.
    pub folded: u64,
    /// Records looked at by a gate that folds, and passed on.
    pub passed: u64,
    /// Partials begun, and sent to where they are merged.
    pub begun: u64,
    /// Partials taken in.
    pub merged: u64,
    /// Keys whose state came or went.
    pub moved: u64,
}

impl Work {
    pub fn new(workers: usize, keys: usize) -> Self {
        Work { done: vec![Done::default(); workers], counts: vec![0; keys] }
    }

    /// The busiest worker's CPU time.
    pub fn makespan(&self, units: &Units) -> f64 {
        self.done.iter().map(|done| units.seconds(done)).fold(0.0, f64::max)
    }

    /// The CPU time of all workers.
    pub fn total(&self, units: &Units) -> f64 {
        self.done.iter().map(|done| units.seconds(done)).sum()
    }
}

/// Something that says which worker does what.
pub trait Arm {
    /// An epoch whose records come to the workers in parts of equal length, each in its order.
    fn epoch(&mut self, number: u64, records: &[u32]) -> Work;
}
