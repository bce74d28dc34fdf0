use std::collections::BTreeMap;

use timely::dataflow::operators::Capability;
use timely::order::TotalOrder;
use timely::progress::Timestamp;
use timely::progress::frontier::MutableAntichain;

/// What entitles an operator to act at a time, and to put that off.
pub trait Delay<T>: Clone {
    /// The same for a later time.
    fn delayed(&self, time: &T) -> Self;
}

impl<T: Timestamp> Delay<T> for Capability<T> {
    fn delayed(&self, time: &T) -> Self {
        Capability::delayed(self, time)
    }
}

impl<T> Delay<T> for () {
    fn delayed(&self, _: &T) -> Self {}
}

impl<T, A: Delay<T>, B: Delay<T>> Delay<T> for (A, B) {
    fn delayed(&self, time: &T) -> Self {
        (self.0.delayed(time), self.1.delayed(time))
    }
}

/// Values held by time, with what entitles us to send at those times, and released in time order as frontiers pass.
///
/// This is the one place where an operator's waiting is written down. `C` is a capability, or several: one is held, at
/// the first time, because it entitles to all later ones. So many times cost no more than few.
#[derive(Debug)]
pub struct Pending<T, V, C = Capability<T>>
where
    T: Timestamp,
{
    entries: BTreeMap<T, V>,
    /// At the first time in `entries`.
    capability: Option<C>,
}

impl<T: Timestamp + TotalOrder, V: Default, C: Delay<T>> Pending<T, V, C> {
    /// Nothing held.
    pub fn new() -> Self {
        Pending { entries: BTreeMap::new(), capability: None }
    }

    /// What is held at `time`. The `capability` at that time is asked for if nothing is held so early.
    pub fn entry(&mut self, time: &T, capability: impl FnOnce() -> C) -> &mut V {
        if self.first().is_none_or(|first| time < first) {
            self.capability = Some(capability());
        }
        self.entries.entry(time.clone()).or_default()
    }

    /// What is held at `time`, and what entitles to send at it.
    pub fn get_mut(&mut self, time: &T) -> Option<(C, &mut V)> {
        let value = self.entries.get_mut(time)?;
        Some((self.capability.as_ref()?.delayed(time), value))
    }

    /// The first time at which something is held.
    pub fn first(&self) -> Option<&T> {
        self.entries.keys().next()
    }

    /// All that is held, in time order.
    pub fn iter(&self) -> impl Iterator<Item = (&T, &V)> {
        self.entries.iter()
    }

    /// All that is held, in time order, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&T, &mut V)> {
        self.entries.iter_mut()
    }

    /// Takes out the first that is held, if it is `ready`.
    pub fn release_if(&mut self, ready: impl FnOnce(&T, &V) -> bool) -> Option<(T, C, V)> {
        let first = self.entries.first_entry().filter(|entry| ready(entry.key(), entry.get()))?;
        let (time, value) = first.remove_entry();
        let capability = self.capability.take()?;
        self.capability = self.first().map(|next| capability.delayed(next));
        Some((time, capability, value))
    }

    /// Takes out the first that is held.
    pub fn release_first(&mut self) -> Option<(T, C, V)> {
        self.release_if(|_, _| true)
    }

    /// Takes out the first that is held, once no message at or before its time can come any more.
    pub fn release(&mut self, frontier: &MutableAntichain<T>) -> Option<(T, C, V)> {
        self.release_if(|time, _| !frontier.less_equal(time))
    }
}

impl<T: Timestamp + TotalOrder, V: Default, C: Delay<T>> Default for Pending<T, V, C> {
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

    /// A capability that knows its time.
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct At(u64);

    impl Delay<u64> for At {
        fn delayed(&self, time: &u64) -> Self {
            assert!(*time >= self.0, "a capability at {} can't go back to {time}", self.0);
            At(*time)
        }
    }

    #[test]
    fn one_capability_is_held_at_the_first_time() {
        let mut pending: Pending<u64, u8, At> = Pending::new();
        *pending.entry(&5, || At(5)) = 1;
        *pending.entry(&9, || unreachable!("that at 5 entitles to 9")) = 2;
        *pending.entry(&3, || At(3)) = 3;
        assert_eq!(pending.get_mut(&9), Some((At(9), &mut 2)));
        assert_eq!(pending.release_if(|_, value| *value == 2), None);
        assert_eq!(pending.release_if(|_, _| true), Some((3, At(3), 3)));
        assert_eq!(pending.capability, Some(At(5)));
        assert_eq!(pending.release_if(|_, _| true), Some((5, At(5), 1)));
        assert_eq!(pending.release_if(|_, _| true), Some((9, At(9), 2)));
        assert_eq!(pending.capability, None);
    }
}
