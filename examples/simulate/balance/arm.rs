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
    /// Which workers are not put out of use. Those that are may still have records of folded keys.
    pub in_use: Vec<bool>,
    /// The records that were expected.
    pub forecast: Option<f64>,
}

impl Loads {
    /// The records of the workers in use.
    pub fn of_those_in_use(&self) -> u64 {
        self.by_worker.iter().zip(&self.in_use).filter(|(_, used)| **used).map(|(records, _)| records).sum()
    }
}

/// Deals the records of folded keys in turn, as a source does that gives each worker as many.
#[derive(Debug, Default)]
pub struct Dealer {
    next: usize,
}

impl Dealer {
    /// Deals so many to these workers; how many each of them gets.
    pub fn deal<'a>(&mut self, records: u32, workers: &'a [usize]) -> impl Iterator<Item = (usize, u64)> + use<'a> {
        let (records, count) = (u64::from(records), workers.len());
        let (each, rest) = (records / count as u64, (records % count as u64) as usize);
        let first = self.next % count;
        self.next = (first + rest) % count;
        let more = move |turn: usize| u64::from((turn + count - first) % count < rest);
        workers.iter().enumerate().map(move |(turn, worker)| (*worker, each + more(turn)))
    }
}
