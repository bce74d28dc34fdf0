/// Keys that are left when there are too many: one with a thousandth of the weight is among them.
const KEPT: usize = 1024;

/// So many are too many.
const MOST: usize = 1536;

/// Keys by weight, of which the lightest are dropped when there are too many, as in lossy counting (Manku and Motwani,
/// "Approximate frequency counts over data streams", 2002).
///
/// A weight is never too large, and too small only by what came before the key was dropped; it was then no heavier than
/// [`KEPT`] others. As they ascend, merging and sending read them one after the other, which no cache minds.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters(Vec<(u64, u64)>);

impl Counters {
    /// Of keys that ascend; `None` if they don't.
    pub(super) fn new(weights: Vec<(u64, u64)>) -> Option<Self> {
        weights.is_sorted_by(|(a, _), (b, _)| a < b).then_some(Counters(weights))
    }

    /// Of keys that ascend, each with this weight as often as it is there.
    pub(super) fn of(keys: &[u64], weight: u64) -> Self {
        let mut weights = vec![(0, 0); keys.len()];
        let (mut runs, mut before) = (0, None);
        // Without a branch, as below.
        for key in keys {
            let is_new = before != Some(*key);
            runs += usize::from(is_new);
            before = Some(*key);
            weights[runs - 1] = (*key, weight + if is_new { 0 } else { weights[runs - 1].1 });
        }
        weights.truncate(runs);
        Counters(weights)
    }

    /// Takes in the weights of others.
    pub(super) fn merge(&mut self, other: &Counters) {
        let (ours, theirs) = (self.0.as_slice(), other.0.as_slice());
        let mut merged = Vec::with_capacity(ours.len() + theirs.len());
        let (mut i, mut j) = (0, 0);
        // Without branches: which key is next can't be foreseen.
        while let (Some(our), Some(their)) = (ours.get(i), theirs.get(j)) {
            let (is_ours, is_theirs) = (our.0 <= their.0, their.0 <= our.0);
            merged.push((our.0.min(their.0), our.1 * u64::from(is_ours) + their.1 * u64::from(is_theirs)));
            (i, j) = (i + usize::from(is_ours), j + usize::from(is_theirs));
        }
        merged.extend_from_slice(&ours[i..]);
        merged.extend_from_slice(&theirs[j..]);
        self.0 = merged;
        if self.0.len() > MOST {
            self.shrink();
        }
    }

    /// Leaves the heaviest only: drops all that are no heavier than the one after those that are kept.
    pub(super) fn shrink(&mut self) {
        if self.0.len() > KEPT {
            let mut weights: Vec<u64> = self.0.iter().map(|(_, weight)| *weight).collect();
            let (_, light, _) = weights.select_nth_unstable_by(KEPT, |a, b| b.cmp(a));
            self.0.retain(|(_, weight)| weight > light);
        }
    }

    /// Keys with their weights, ascending by key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }
}
