use thalweg::KeyRange;

/// What is simulated: how many records which keys have in each epoch.
pub struct Trace {
    /// The routing keys, ascending, each once.
    pub keys: Vec<u64>,
    /// The epochs, in order. Some numbers may be left out, as may epochs without records.
    pub epochs: Box<dyn Iterator<Item = Epoch>>,
    /// How many there will be.
    pub length: u64,
}

/// The records of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    /// Its number.
    pub number: u64,
    /// The indices of keys that have records, ascending, and how many.
    pub counts: Vec<(u32, u32)>,
}

impl Epoch {
    /// All records.
    pub fn records(&self) -> u64 {
        self.counts.iter().map(|(_, records)| u64::from(*records)).sum()
    }
}

/// The indices of the keys in a range.
pub fn within(keys: &[u64], range: KeyRange) -> std::ops::Range<usize> {
    let first = keys.partition_point(|key| *key < range.start());
    first..first + keys[first..].partition_point(|key| *key <= range.last())
}
