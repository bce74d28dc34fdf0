use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use timely::order::TotalOrder;
use timely::progress::Timestamp;

use crate::keyspace::Assignment;

/// Assignments by the time from which each holds.
///
/// ```
/// use thalweg::Assignment;
/// use thalweg::routing::Versions;
///
/// let mut versions = Versions::<u64>::new(Assignment::even(4, 2).unwrap());
/// versions.install(10, Assignment::even(8, 2).unwrap());
/// assert_eq!((versions.at(&9).len(), versions.at(&10).len()), (4, 8));
/// versions.drop_before(&12);
/// assert_eq!(versions.len(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Versions<T> {
    versions: BTreeMap<T, Assignment>,
}

/// Shared by the gate, which learns of changes, and the pact behind it, which routes by them: both run on one thread.
pub type SharedVersions<T> = Rc<RefCell<Versions<T>>>;

impl<T: Timestamp + TotalOrder> Versions<T> {
    /// One assignment that holds from the beginning.
    pub fn new(initial: Assignment) -> Self {
        Versions { versions: BTreeMap::from([(T::minimum(), initial)]) }
    }

    /// The assignment in force at `time`. Panics if it has been dropped.
    pub fn at(&self, time: &T) -> &Assignment {
        self.versions.range(..=time).next_back().expect("assignments are dropped only behind the frontier").1
    }

    /// The assignment that holds from the latest time on.
    pub fn latest(&self) -> &Assignment {
        self.versions.last_key_value().expect("there is always a version").1
    }

    /// From `time` on, `assignment` holds.
    pub fn install(&mut self, time: T, assignment: Assignment) {
        self.versions.insert(time, assignment);
    }

    /// Drops what is not in force at `time` or later.
    pub fn drop_before(&mut self, time: &T) {
        if let Some(current) = self.versions.range(..=time).next_back().map(|(from, _)| from.clone()) {
            self.versions = self.versions.split_off(&current);
        }
    }

    /// The number of versions kept.
    #[allow(clippy::len_without_is_empty, reason = "there is always a version")]
    pub fn len(&self) -> usize {
        self.versions.len()
    }
}
