use std::cmp::{Ordering, Reverse};
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
/// worker with least so far, for what it can do. Where workers are alike, the busiest has at most 4/3 of what it must
/// have (Graham, "Bounds on multiprocessing timing anomalies", 1969). Keys of unknown count stay where they are.
///
/// Keys that would be `fold_share` of a worker's fair share are dealt to all workers, if there is such a share.
pub struct Packed {
    sight: Sight,
    fold_share: Option<f64>,
    capacities: Vec<f64>,
    workers: Vec<usize>,
    /// By key.
    owners: Vec<u32>,
    previous: Epoch,
    /// The indices of the keys that are folded now, ascending.
    folded: Vec<u32>,
    dealer: Dealer,
}

/// A worker by how full it is: the least full is the greatest.
struct Filled {
    load: f64,
    worker: usize,
}

impl Packed {
    /// Begins with this assignment of these routing keys.
    pub fn new(sight: Sight, fold_share: Option<f64>, keys: &[u64], initial: &Assignment, capacities: &[f64]) -> Self {
        Packed {
            sight,
            fold_share: fold_share.filter(|_| capacities.len() > 1),
            capacities: capacities.to_vec(),
            workers: (0..capacities.len()).collect(),
            owners: keys.iter().map(|key| initial.owner_of(*key) as u32).collect(),
            previous: Epoch::default(),
            folded: Vec::new(),
            dealer: Dealer::default(),
        }
    }

    /// The owners of the keys in these counts, in their order, and the indices of the keys to fold.
    fn pack(&self, known: &Epoch) -> (Vec<u32>, Vec<u32>) {
        let fair = known.records() as f64 / self.capacities.len() as f64;
        let is_folded = |records: u32| self.fold_share.is_some_and(|share| f64::from(records) >= share * fair);
        let mut order: Vec<usize> = (0..known.counts.len()).filter(|i| !is_folded(known.counts[*i].1)).collect();
        order.sort_by_key(|i| Reverse(known.counts[*i].1));
        let mut owners: Vec<u32> = known.counts.iter().map(|(key, _)| self.owners[*key as usize]).collect();
        let mut least: BinaryHeap<Filled> = self.workers.iter().map(|&worker| Filled { load: 0.0, worker }).collect();
        for i in order {
            if let Some(mut filled) = least.peek_mut() {
                owners[i] = filled.worker as u32;
                filled.load += f64::from(known.counts[i].1) / self.capacities[filled.worker];
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
        let mut by_worker = vec![0; self.workers.len()];
        for &(key, records) in &epoch.counts {
            if self.folded.binary_search(&key).is_ok() {
                self.dealer.deal(records, &self.workers).for_each(|(worker, records)| by_worker[worker] += records);
            } else {
                by_worker[self.owners[key as usize] as usize] += u64::from(records);
            }
        }
        self.previous.clone_from(epoch);
        Loads { by_worker, in_use: vec![true; self.workers.len()], forecast: None }
    }
}

impl Ord for Filled {
    fn cmp(&self, other: &Self) -> Ordering {
        other.load.total_cmp(&self.load).then(other.worker.cmp(&self.worker))
    }
}

impl PartialOrd for Filled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Filled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Filled {}
