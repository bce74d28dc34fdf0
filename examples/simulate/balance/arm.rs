use thalweg::{Command, Handover};

use super::holdings::Holdings;
use super::trace::Epoch;

/// Something that says which worker each record goes to.
pub trait Arm {
    /// What changes at the boundary before an epoch. Only an arm that knows the future looks at its counts.
    fn cross(&mut self, epoch: &Epoch, holdings: &Holdings) -> Crossing;

    /// Routes the records of the epoch, whose keys have state by now, and decides from them on what is to come.
    fn route(&mut self, epoch: &Epoch, holdings: &Holdings) -> Loads;
}

/// What has changed at a boundary.
#[derive(Debug, Default)]
pub struct Crossing {
    /// The commands that took effect.
    pub commands: Vec<Command>,
    /// Who takes over what, in order of the ranges.
    pub handovers: Vec<Handover>,
}

/// What an epoch was like for the workers.
#[derive(Debug, Default)]
pub struct Loads {
    /// Records by worker.
    pub by_worker: Vec<u64>,
    /// Workers that own something or had records.
    pub in_use: usize,
    /// The records that were expected.
    pub forecast: Option<f64>,
}

/// Deals the records of folded keys to the workers in turn, as a source does that gives each worker as many.
#[derive(Debug, Default)]
pub struct Dealer {
    next: usize,
}

impl Dealer {
    /// Deals so many; how many each worker gets.
    pub fn deal(&mut self, records: u64, workers: usize) -> impl Iterator<Item = u64> + use<> {
        let (each, rest) = (records / workers as u64, (records % workers as u64) as usize);
        let first = self.next;
        self.next = (first + rest) % workers;
        (0..workers).map(move |worker| each + u64::from((worker + workers - first) % workers < rest))
    }
}
