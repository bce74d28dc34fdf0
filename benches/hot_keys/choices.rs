//! The arms that choose among workers record by record, at each source by what it has sent itself.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use thalweg::stable_hash;

use super::arm::{Arm, Work};

/// The share of the records, in fair shares of a worker, from which W-Choices takes a key for hot: the least that Nasir
/// et al. recommend.
const HEAD: f64 = 0.2;

/// Counters of the sketch for each key that may be hot.
const COUNTERS: f64 = 4.0;

/// Which workers a key may go to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Choices {
    /// One: hashing.
    One,
    /// Two: partial key grouping (Nasir et al., "The power of both choices", ICDE 2015).
    Two,
    /// Two, and all for hot keys: W-Choices (Nasir et al., "When two choices are not enough", ICDE 2016). Hot keys are
    /// found by `SpaceSaving` over all records that the source has had.
    All,
    /// The same, but that the sketch begins anew with each epoch.
    AllAnew,
}

/// Sources that choose. At the end of an epoch each worker sends the partials of keys to their first choices.
pub struct Choosing {
    choices: Choices,
    /// By key.
    candidates: Vec<[u8; 2]>,
    sources: Vec<Source>,
}

struct Source {
    /// Records sent to each worker.
    sent: Vec<u64>,
    sketch: SpaceSaving,
}

impl Choosing {
    pub fn new(choices: Choices, workers: usize, routing: &[u64]) -> Self {
        let candidate = |key: u64, choice: u64| (stable_hash(&(choice, key)) % workers as u64) as u8;
        let capacity = (COUNTERS * workers as f64 / HEAD) as usize;
        let source = || Source { sent: vec![0; workers], sketch: SpaceSaving::new(capacity) };
        Choosing {
            choices,
            candidates: routing.iter().map(|key| [candidate(*key, 0), candidate(*key, 1)]).collect(),
            sources: (0..workers).map(|_| source()).collect(),
        }
    }
}

impl Source {
    fn choose(&mut self, choices: Choices, key: u32, [one, two]: [u8; 2]) -> usize {
        let is_hot = matches!(choices, Choices::All | Choices::AllAnew) && self.is_hot(key);
        let [one, two] = [one, two].map(usize::from);
        let worker = match choices {
            Choices::One => one,
            _ if is_hot => least(&self.sent),
            _ if self.sent[two] < self.sent[one] => two,
            _ => one,
        };
        self.sent[worker] += 1;
        worker
    }

    fn is_hot(&mut self, key: u32) -> bool {
        self.sketch.count(key) as f64 >= HEAD / self.sent.len() as f64 * self.sketch.records as f64
    }
}

/// The worker with least.
fn least(sent: &[u64]) -> usize {
    (1..sent.len()).fold(0, |least, worker| if sent[worker] < sent[least] { worker } else { least })
}

impl Arm for Choosing {
    fn epoch(&mut self, _: u64, records: &[u32]) -> Work {
        let (workers, keys) = (self.sources.len(), self.candidates.len());
        let mut work = Work::new(workers, keys);
        // By worker and key.
        let mut counts = vec![vec![0u32; keys]; workers];
        for (source, records) in self.sources.iter_mut().zip(records.chunks(records.len().div_ceil(workers))) {
            if self.choices == Choices::AllAnew {
                source.sketch = SpaceSaving::new(source.sketch.capacity);
            }
            for key in records {
                let worker = source.choose(self.choices, *key, self.candidates[*key as usize]);
                work.done[worker].applied += 1;
                counts[worker][*key as usize] += 1;
            }
        }
        for (worker, counts) in counts.iter().enumerate() {
            for (key, records) in counts.iter().enumerate().filter(|(_, records)| **records > 0) {
                let owner = usize::from(self.candidates[key][0]);
                if worker != owner {
                    work.done[worker].begun += 1;
                    work.done[owner].merged += 1;
                }
                work.counts[key] += u64::from(*records);
            }
        }
        work
    }
}

/// The keys counted most (Metwally, Agrawal and El Abbadi, "Efficient computation of frequent and top-k elements in
/// data streams", 2005).
struct SpaceSaving {
    capacity: usize,
    records: u64,
    /// Descending by count.
    counters: Vec<(u64, u32)>,
    places: HashMap<u32, usize, RandomState>,
}

impl SpaceSaving {
    fn new(capacity: usize) -> Self {
        SpaceSaving { capacity, records: 0, counters: Vec::new(), places: HashMap::default() }
    }

    /// Counts a record; how many its key is taken to have.
    fn count(&mut self, key: u32) -> u64 {
        self.records += 1;
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None if self.counters.len() < self.capacity => {
                self.counters.push((0, key));
                self.counters.len() - 1
            }
            None => {
                let last = self.capacity - 1;
                self.places.remove(&self.counters[last].1);
                self.counters[last].1 = key;
                last
            }
        };
        let count = self.counters[place].0;
        // The first of those that are as many: so the order stays.
        let first = self.counters[..place].partition_point(|counter| counter.0 > count);
        self.places.insert(self.counters[first].1, place);
        self.counters.swap(first, place);
        self.counters[first].0 += 1;
        self.places.insert(key, first);
        count + 1
    }
}
