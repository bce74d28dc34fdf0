use std::hash::Hash;

use timely::ExchangeData;

use crate::epoch::Epoch;

/// What a keyed operator does: how records are routed and keyed, and what happens to a key's state.
pub trait Logic<T: Epoch>: 'static {
    /// What comes in.
    type Record: ExchangeData;
    /// What states are kept by. Records of one key must have one routing key.
    type Key: Hash + Eq + Clone + 'static;
    /// What is kept for a key; a new key begins with the default.
    type State: Default + 'static;
    /// What goes out.
    type Output: Clone + 'static;

    /// The record's routing key.
    fn routing_key(&self, record: &Self::Record) -> u64;

    /// The record's key.
    fn key(&self, record: &Self::Record) -> Self::Key;

    /// The value whose mean and deviation the profile gives.
    fn value(&self, record: &Self::Record) -> f64;

    /// The record's size in bytes, for the profile.
    fn size(&self, record: &Self::Record) -> usize;

    /// Takes a record into its key's state.
    fn on_record(
        &mut self,
        record: Self::Record,
        state: &mut Self::State,
        context: &mut Context<'_, T, Self::Key, Self::Output>,
    );

    /// Acts on a timer of the key.
    fn on_timer(&mut self, state: &mut Self::State, context: &mut Context<'_, T, Self::Key, Self::Output>);
}

/// What the logic of a keyed operator may do besides changing a key's state.
#[derive(Debug)]
pub struct Context<'a, T, K, R> {
    pub(super) time: &'a T,
    pub(super) key: &'a K,
    pub(super) output: &'a mut Vec<R>,
    pub(super) timers: &'a mut Vec<u64>,
    pub(super) forget: bool,
}

impl<T: Epoch, K, R> Context<'_, T, K, R> {
    /// The epoch of the record or timer.
    pub fn time(&self) -> &T {
        self.time
    }

    /// The key.
    pub fn key(&self) -> &K {
        self.key
    }

    /// Sends a record at this time.
    #[inline]
    pub fn give(&mut self, output: R) {
        self.output.push(output);
    }

    /// Sets a timer for the key: once, at the boundary `time`, after all data before it and before any at it, on
    /// whichever worker owns the key then. Setting one twice for the same time has no effect. A time that is not
    /// later than the present one is taken for the next epoch; in the last epoch there is, nothing can be scheduled.
    pub fn schedule(&mut self, time: &T) {
        if let Some(next) = self.time.number().checked_add(1).filter(|next| T::from_number(*next).is_some()) {
            self.timers.push(time.number().max(next));
        }
    }

    /// Drops the key's state when the logic returns: if the key comes again it begins with the default. Timers of
    /// the key stay set and find the default; after the last of them the key is dropped for good, unless a record has
    /// come meanwhile.
    pub fn forget(&mut self) {
        self.forget = true;
    }
}
