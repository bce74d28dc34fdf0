use std::collections::BTreeMap;

use timely::dataflow::operators::Capability;
use timely::order::TotalOrder;
use timely::progress::Timestamp;
use timely::progress::frontier::MutableAntichain;

/// Values held by time, each with what entitles us to send at that time, and released in time order as
/// frontiers pass.
///
/// This is the one place where an operator's waiting is written down. `C` is a capability, or several.
#[derive(Debug)]
pub struct Pending<T, V, C = Capability<T>>
where
    T: Timestamp,
{
    entries: BTreeMap<T, (C, V)>,
}

impl<T: Timestamp + TotalOrder, V: Default, C> Pending<T, V, C> {
    /// Nothing held.
    pub fn new() -> Self {
        Pending { entries: BTreeMap::new() }
    }

    /// What is held at `time`, with `capability` if it is the first there.
    pub fn entry(&mut self, time: &T, capability: impl FnOnce() -> C) -> &mut V {
        &mut self.entries.entry(time.clone()).or_insert_with(|| (capability(), V::default())).1
    }

    /// What is held at `time`, with its capability.
    pub fn get_mut(&mut self, time: &T) -> Option<(&C, &mut V)> {
        self.entries.get_mut(time).map(|(capability, value)| (&*capability, value))
    }

    /// The first time at which something is held.
    pub fn first(&self) -> Option<&T> {
        self.entries.keys().next()
    }

    /// All that is held, in time order.
    pub fn iter(&self) -> impl Iterator<Item = (&T, &V)> {
        self.entries.iter().map(|(time, (_, value))| (time, value))
    }

    /// All that is held, in time order, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&T, &mut V)> {
        self.entries.iter_mut().map(|(time, (_, value))| (time, value))
    }

    /// Takes out what is held at `time`.
    pub fn remove(&mut self, time: &T) -> Option<(C, V)> {
        self.entries.remove(time)
    }

    /// Takes out the first that is held, once no message at or before its time can come any more.
    pub fn release(&mut self, frontier: &MutableAntichain<T>) -> Option<(T, C, V)> {
        let first = self.entries.first_entry().filter(|entry| !frontier.less_equal(entry.key()))?;
        let (time, (capability, value)) = first.remove_entry();
        Some((time, capability, value))
    }
}

impl<T: Timestamp + TotalOrder, V: Default, C> Default for Pending<T, V, C> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_in_time_order_what_the_frontier_has_passed() {
        let mut pending: Pending<u64, Vec<u8>, ()> = Pending::new();
        for (time, value) in [(7, 1), (3, 2), (7, 3)] {
            pending.entry(&time, || ()).push(value);
        }
        let mut frontier = MutableAntichain::from_elem(3);
        assert_eq!(pending.release(&frontier), None);
        frontier.update_iter([(3, -1), (7, 1)]);
        assert_eq!(pending.release(&frontier), Some((3, (), vec![2])));
        assert_eq!(pending.release(&frontier), None);
        frontier.update_iter([(7, -1)]);
        assert_eq!(pending.release(&frontier), Some((7, (), vec![1, 3])));
        assert_eq!(pending.first(), None);
    }
}
