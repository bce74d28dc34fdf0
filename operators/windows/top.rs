use columnar::Columnar;
use serde::{Deserialize, Serialize};

/// The greatest values of those inserted, greatest first, as many as each insertion says. The default is the identity
/// of [`merge`](TopK::merge).
///
/// Which they are depends on nothing but the values, neither on their order nor on how they were divided among workers.
/// So let `V` order what is to win and, for ties, by whom: `(bids, !auction)` lets the earlier auction win. Of equal
/// values each counts.
///
/// ```
/// use thalweg::windows::TopK;
///
/// let (mut top, mut other) = (TopK::default(), TopK::default());
/// let (anvil, axe, boat) = (1u64, 2, 3);
/// top.insert(2, (7, !boat));
/// top.insert(2, (3, !anvil));
/// other.insert(2, (7, !axe));
/// top.merge(2, other);
/// assert_eq!(top.values(), [(7, !axe), (7, !boat)]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Columnar)]
pub struct TopK<V> {
    values: Vec<V>,
}

impl<V> Default for TopK<V> {
    fn default() -> Self {
        TopK { values: Vec::new() }
    }
}

impl<V> TopK<V> {
    /// The values, greatest first.
    pub fn values(&self) -> &[V] {
        &self.values
    }

    /// The values, greatest first.
    pub fn into_values(self) -> Vec<V> {
        self.values
    }
}

impl<V: Ord> TopK<V> {
    /// Adds a value, if it is among the `k` greatest.
    pub fn insert(&mut self, k: usize, value: V) {
        let position = self.values.partition_point(|greater| *greater >= value);
        if position < k {
            self.values.insert(position, value);
        }
        self.values.truncate(k);
    }

    /// Adds the values of another, and keeps the `k` greatest. Associative and commutative.
    pub fn merge(&mut self, k: usize, other: Self) {
        self.values.extend(other.values);
        self.values.sort_by(|left, right| right.cmp(left));
        self.values.truncate(k);
    }
}
