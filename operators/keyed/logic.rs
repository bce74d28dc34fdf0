use std::hash::Hash;

use timely::ExchangeData;

use super::apply::Applying;
use super::codec::Codec;
use crate::epoch::{Epochs, Ticks};

/// One input of a keyed operator: how its records are routed and keyed, and what they do to their key's state.
pub trait Side<T: Ticks>: 'static {
    /// What comes in.
    type Record: ExchangeData;
    /// What states are kept by. Records of one key must have one routing key.
    type Key: Hash + Eq + Clone + 'static;
    /// What is kept for a key; a new key begins with the default.
    type State: Default + 'static;
    /// What goes out.
    type Output: Clone + 'static;

    /// Whether states are kept at all. Without, each record finds the default, and there are no timers.
    const STATEFUL: bool = true;

    /// Whether the profile counts these records.
    const OBSERVED: bool = true;

    /// The record's routing key.
    fn routing_key(&self, record: &Self::Record) -> u64;

    /// The record's key.
    fn key(&self, record: &Self::Record) -> Self::Key;

    /// The value whose mean and deviation the profile gives.
    fn value(&self, record: &Self::Record) -> f64;

    /// The record's size in bytes, for the profile.
    fn size(&self, record: &Self::Record) -> usize;

    /// The value and the size of every record, where all have the same.
    fn alike(&self) -> Option<(f64, usize)> {
        None
    }

    /// Takes a record into its key's state.
    fn on_record(
        &mut self,
        record: Self::Record,
        state: &mut Self::State,
        context: &mut Context<'_, T, Self::Key, Self::Output>,
    );
}

/// What a keyed operator does: [`OneInput`] or [`TwoInputs`].
pub trait Logic<T: Ticks>: 'static {
    /// What states are kept by.
    type Key: Hash + Eq + Clone + 'static;
    /// What is kept for a key.
    type State: Default + 'static;
    /// What goes out.
    type Output: Clone + 'static;
    /// Records of one of the inputs.
    type Batch: 'static;

    /// Takes records into their keys' states.
    fn apply<C: Codec<Self::Key, Self::State>>(&mut self, batch: Self::Batch, applying: &mut Applying<'_, T, Self, C>)
    where
        Self: Sized;

    /// Acts on a timer of the key.
    fn on_timer(&mut self, state: &mut Self::State, context: &mut Context<'_, T, Self::Key, Self::Output>);
}

/// Records of one input, and timers.
#[derive(Clone, Debug)]
pub struct OneInput<D, G> {
    /// The input.
    pub input: D,
    /// Acts on a timer.
    pub on_timer: G,
}

impl<T, D, G> Logic<T> for OneInput<D, G>
where
    T: Ticks,
    D: Side<T>,
    G: FnMut(&mut D::State, &mut Context<'_, T, D::Key, D::Output>) + 'static,
{
    type Key = D::Key;
    type State = D::State;
    type Output = D::Output;
    type Batch = Vec<D::Record>;

    fn apply<C: Codec<D::Key, D::State>>(&mut self, batch: Self::Batch, applying: &mut Applying<'_, T, Self, C>) {
        applying.each(&mut self.input, batch, |batch| batch);
    }

    fn on_timer(&mut self, state: &mut D::State, context: &mut Context<'_, T, D::Key, D::Output>) {
        (self.on_timer)(state, context);
    }
}

/// Records of two inputs that see the same states, and timers.
#[derive(Clone, Debug)]
pub struct TwoInputs<A, B, G> {
    /// One input.
    pub left: A,
    /// The other input.
    pub right: B,
    /// Acts on a timer.
    pub on_timer: G,
}

/// Records of one of two inputs.
#[derive(Clone, Debug)]
pub enum Either<A, B> {
    /// Of one.
    Left(A),
    /// Of the other.
    Right(B),
}

impl<T, A, B, G> Logic<T> for TwoInputs<A, B, G>
where
    T: Ticks,
    A: Side<T>,
    B: Side<T, Key = A::Key, State = A::State, Output = A::Output>,
    G: FnMut(&mut A::State, &mut Context<'_, T, A::Key, A::Output>) + 'static,
{
    type Key = A::Key;
    type State = A::State;
    type Output = A::Output;
    type Batch = Either<Vec<A::Record>, Vec<B::Record>>;

    fn apply<C: Codec<A::Key, A::State>>(&mut self, batch: Self::Batch, applying: &mut Applying<'_, T, Self, C>) {
        match batch {
            Either::Left(batch) => applying.each(&mut self.left, batch, Either::Left),
            Either::Right(batch) => applying.each(&mut self.right, batch, Either::Right),
        }
    }

    fn on_timer(&mut self, state: &mut A::State, context: &mut Context<'_, T, A::Key, A::Output>) {
        (self.on_timer)(state, context);
    }
}

/// What the logic of a keyed operator may do besides changing a key's state.
#[derive(Debug)]
pub struct Context<'a, T, K, R> {
    pub(super) time: &'a T,
    pub(super) epochs: Epochs,
    pub(super) key: &'a K,
    pub(super) output: &'a mut Vec<R>,
    pub(super) timers: &'a mut Vec<u64>,
    pub(super) forget: bool,
}

impl<T: Ticks, K, R> Context<'_, T, K, R> {
    /// The time of the record or timer.
    pub fn time(&self) -> &T {
        self.time
    }

    /// The first time of the present epoch.
    pub fn epoch_start(&self) -> T {
        self.epochs.around(self.time).0
    }

    /// Whether this is the first time of an epoch.
    pub fn is_boundary(&self) -> bool {
        self.epoch_start() == *self.time
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

    /// Sets a timer for the key: once, at `time`, after all data before it and before any at it, on whichever worker
    /// owns the key then. Setting one twice for the same time has no effect. A time that is not later than the present
    /// one is taken for the next tick; at the last time there is, nothing can be scheduled.
    pub fn schedule(&mut self, time: &T) {
        if let Some(next) = self.time.ticks().checked_add(1).filter(|next| *next <= T::latest().ticks()) {
            self.timers.push(time.ticks().max(next));
        }
    }

    /// Sets a timer for the boundary after the present epoch. In the last epoch there is, nothing can be scheduled.
    pub fn schedule_next_epoch(&mut self) {
        if let Some(boundary) = self.epochs.next(self.time) {
            self.schedule(&boundary);
        }
    }

    /// Drops the key's state when the logic returns: if the key comes again it begins with the default. Timers of the
    /// key stay set and find the default, or what earlier ones of them have made of it; after the last of them the key
    /// is dropped for good, unless a record has come meanwhile.
    pub fn forget(&mut self) {
        self.forget = true;
    }
}
