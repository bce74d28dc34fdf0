use std::cmp::Reverse;
use std::collections::BinaryHeap;

use thalweg::{Assignment, Handover, KeyRange};

use super::arm::{Arm, Crossing, Dealer, Loads};
use super::holdings::Holdings;
use super::trace::Epoch;

/// Which counts are known when keys are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Those of the epoch before.
    Previous,
    /// Those of the epoch itself.
    Clairvoyant,
}

/// Packs whole keys anew for each epoch by their known counts, longest processing time first: the heaviest key to the
/// worker with least so far (Graham, "Bounds on multiprocessing timing anomalies", 1969), which gives the busiest at
/// most 4/3 of what it must have. Keys of unknown count stay where they are.
///
/// Keys from which a worker would have `fold_share` of its fair share are dealt to all workers, if there is one.
pub struct Packed {
    sight: Sight,
    fold_share: Option<f64>,
    workers: usize,
    /// By key.
    owners: Vec<u32>,
    previous: Epoch,
    /// The indices of the keys that are folded now, ascending.
    folded: Vec<u32>,
    dealer: Dealer,
}

impl Packed {
    /// Begins with this assignment of these routing keys.
    pub fn new(sight: Sight, fold_share: Option<f64>, keys: &[u64], initial: &Assignment) -> Self {
        Packed {
            sight,
            fold_share: fold_share.filter(|_| initial.workers() > 1),
            workers: initial.workers(),
            owners: keys.iter().map(|key| initial.owner_of(*key) as u32).collect(),
            previous: Epoch::default(),
            folded: Vec::new(),
            dealer: Dealer::default(),
        }
    }

    /// The owners of the keys in these counts, in their order, and the indices of the keys to fold.
    fn pack(&self, known: &Epoch) -> (Vec<u32>, Vec<u32>) {
        let fair = known.records() as f64 / self.workers as f64;
        let is_folded = |records: u32| self.fold_share.is_some_and(|share| f64::from(records) >= share * fair);
        let mut order: Vec<usize> = (0..known.counts.len()).filter(|i| !is_folded(known.counts[*i].1)).collect();
        order.sort_by_key(|i| Reverse(known.counts[*i].1));
        let mut owners: Vec<u32> = known.counts.iter().map(|(key, _)| self.owners[*key as usize]).collect();
        let mut least: BinaryHeap<Reverse<(u64, u32)>> = (0..self.workers as u32).map(|w| Reverse((0, w))).collect();
        for i in order {
            if let Some(mut top) = least.peek_mut() {
                let Reverse((load, worker)) = *top;
                owners[i] = worker;
                *top = Reverse((load + u64::from(known.counts[i].1), worker));
            }
        }
        let folded = known.counts.iter().filter(|(_, records)| is_folded(*records)).map(|(key, _)| *key).collect();
        (owners, folded)
    }
}

impl Arm for Packed {
    fn cross(&mut self, epoch: &Epoch, holdings: &Holdings) -> Crossing {
        let known = match self.sight {
            Sight::Clairvoyant => epoch,
            Sight::Previous => &self.previous,
        };
        let (owners, folded) = self.pack(known);
        let mut handovers = Vec::new();
        for (&(key, _), owner) in known.counts.iter().zip(owners) {
            let before = std::mem::replace(&mut self.owners[key as usize], owner);
            if before != owner && holdings.is_held(key) {
                let range = KeyRange::single(holdings.key(key));
                handovers.push(Handover { range, from: before as usize, to: owner as usize });
            }
        }
        self.folded = folded;
        Crossing { commands: Vec::new(), handovers }
    }

    fn route(&mut self, epoch: &Epoch, _: &Holdings) -> Loads {
        let mut by_worker = vec![0; self.workers];
        let mut folded = self.folded.iter().peekable();
        for &(key, records) in &epoch.counts {
            let records = u64::from(records);
            while folded.next_if(|next| **next < key).is_some() {}
            if folded.peek() == Some(&&key) {
                by_worker.iter_mut().zip(self.dealer.deal(records, self.workers)).for_each(|(load, n)| *load += n);
            } else {
                by_worker[self.owners[key as usize] as usize] += records;
            }
        }
        self.previous.clone_from(epoch);
        Loads { by_worker, in_use: self.workers, forecast: None }
    }
}
