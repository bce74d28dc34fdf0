use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::ordered::Ordered;

/// Where there is most room for another load: the workers by what they carry, those of equal capacity together.
pub(super) struct Room {
    groups: Vec<Group>,
}

/// Workers of one capacity.
struct Group {
    capacity: f64,
    /// What each carries, and which it is.
    workers: BinaryHeap<Reverse<(Ordered, usize)>>,
}

impl Room {
    /// Of the workers that have a capacity, each with what it carries.
    pub(super) fn new(capacities: &[f64], carried: &[f64]) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for (worker, (&capacity, &load)) in capacities.iter().zip(carried).enumerate().filter(|w| *w.1.0 > 0.0) {
            let entry = Reverse((Ordered(load), worker));
            match groups.iter_mut().find(|g| g.capacity == capacity) {
                Some(group) => group.workers.push(entry),
                None => groups.push(Group { capacity, workers: BinaryHeap::from([entry]) }),
            }
        }
        Room { groups }
    }

    /// Puts a load where the load for its capacity will be least, and says where; `None` where there is no worker.
    pub(super) fn place(&mut self, load: f64) -> Option<usize> {
        let least = |group: &Group| group.workers.peek().map(|Reverse((carried, _))| carried.0);
        let after = |group: &&mut Group| least(group).map(|carried| Ordered((carried + load) / group.capacity));
        let group = self.groups.iter_mut().min_by_key(after)?;
        let mut least = group.workers.peek_mut()?;
        least.0.0.0 += load;
        Some(least.0.1)
    }
}
