use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::ordered::Ordered;

/// Where there is most room for another load: the workers by what they carry, those of equal capacity together.
pub(super) struct Room {
    groups: Vec<(f64, BinaryHeap<Reverse<(Ordered, usize)>>)>,
}

impl Room {
    /// Of the workers that have a capacity, each with what it carries.
    pub(super) fn new(capacities: &[f64], carried: &[f64]) -> Self {
        let mut groups: Vec<(f64, BinaryHeap<_>)> = Vec::new();
        for (worker, (&capacity, &load)) in capacities.iter().zip(carried).enumerate().filter(|w| *w.1.0 > 0.0) {
            let entry = Reverse((Ordered(load), worker));
            match groups.iter_mut().find(|g| g.0 == capacity) {
                Some((_, group)) => group.push(entry),
                None => groups.push((capacity, BinaryHeap::from([entry]))),
            }
        }
        Room { groups }
    }

    /// Puts a load where the load for its capacity will be least, and says where; `None` where there is no worker.
    pub(super) fn place(&mut self, load: f64) -> Option<usize> {
        let after = |(capacity, group): &(f64, BinaryHeap<Reverse<(Ordered, usize)>>)| {
            group.peek().map(|Reverse((carried, _))| Ordered((carried.0 + load) / capacity))
        };
        let (_, group) = self.groups.iter_mut().min_by_key(|g| after(g))?;
        let mut least = group.peek_mut()?;
        least.0.0.0 += load;
        Some(least.0.1)
    }
}
