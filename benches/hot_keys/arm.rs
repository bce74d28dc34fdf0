use super::units::Units;

/// What the workers did in an epoch.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// By worker.
    pub done: Vec<Done>,
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
    /// Partials taken in.
    pub partials: u64,
    /// Keys whose state came or went.
    pub moved: u64,
}

impl Work {
    pub fn new(workers: usize) -> Self {
        Work { done: vec![Done::default(); workers] }
    }

    /// The busiest worker's CPU time.
    pub fn makespan(&self, units: &Units) -> f64 {
        self.done.iter().map(|done| units.seconds(done)).fold(0.0, f64::max)
    }

    /// The CPU time of all workers.
    pub fn total(&self, units: &Units) -> f64 {
        self.done.iter().map(|done| units.seconds(done)).sum()
    }

    /// All records that were applied or folded.
    pub fn records(&self) -> u64 {
        self.done.iter().map(|done| done.applied + done.folded).sum()
    }
}

/// Something that says which worker does what.
pub trait Arm {
    /// An epoch whose records come to the workers in parts of equal length, each in its order.
    fn epoch(&mut self, number: u64, records: &[u32]) -> Work;
}
