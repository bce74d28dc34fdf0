//! An aggregate as the logic of a keyed operator with two inputs: records, and partials of folded keys.

use std::marker::PhantomData;
use std::rc::Rc;

use timely::ExchangeData;

use super::{Aggregate, Partial};
use crate::epoch::Ticks;
use crate::keyed::{Context, Measure, Side};

/// What is kept for a key: its state, the partial of the epoch so far, and whether that has anything in it.
pub type AggregateState<S, P> = (S, P, bool);

type StateOf<A, T, D> = AggregateState<<A as Aggregate<T, D>>::State, <A as Aggregate<T, D>>::Partial>;

/// The input of an aggregate that brings records.
#[derive(Debug)]
pub struct Records<A, D, H, M> {
    aggregate: Rc<A>,
    routing_key: H,
    measure: M,
    record: PhantomData<fn(D)>,
}

impl<A, D, H, M> Records<A, D, H, M> {
    /// Records of `aggregate`, which `routing_key` and `measure` tell about.
    pub fn new(aggregate: &Rc<A>, routing_key: H, measure: M) -> Self {
        Records { aggregate: Rc::clone(aggregate), routing_key, measure, record: PhantomData }
    }
}

impl<T, D, A, H, M> Side<T> for Records<A, D, H, M>
where
    T: Ticks,
    D: ExchangeData,
    A: Aggregate<T, D>,
    H: Fn(&D) -> u64 + 'static,
    M: Measure<D>,
{
    type Record = D;
    type Key = A::Key;
    type State = StateOf<A, T, D>;
    type Output = A::Output;

    #[inline]
    fn routing_key(&self, record: &D) -> u64 {
        (self.routing_key)(record)
    }

    #[inline]
    fn key(&self, record: &D) -> A::Key {
        self.aggregate.key(record)
    }

    #[inline]
    fn value(&self, record: &D) -> f64 {
        self.measure.value(record)
    }

    #[inline]
    fn size(&self, record: &D) -> usize {
        self.measure.size(record)
    }

    #[inline]
    fn on_record(&mut self, record: D, state: &mut Self::State, context: &mut Context<'_, T, A::Key, A::Output>) {
        let partial = open(state, context);
        self.aggregate.fold(context.time(), record, partial);
    }
}

/// The input of an aggregate that brings partials of folded keys. The gates have counted their records.
#[derive(Debug)]
pub struct Partials<A, D> {
    aggregate: Rc<A>,
    record: PhantomData<fn(D)>,
}

impl<A, D> Partials<A, D> {
    /// Partials of `aggregate`.
    pub fn new(aggregate: &Rc<A>) -> Self {
        Partials { aggregate: Rc::clone(aggregate), record: PhantomData }
    }
}

impl<T, D, A> Side<T> for Partials<A, D>
where
    T: Ticks,
    D: ExchangeData,
    A: Aggregate<T, D>,
{
    type Record = Partial<A::Key, A::Partial>;
    type Key = A::Key;
    type State = StateOf<A, T, D>;
    type Output = A::Output;

    const OBSERVED: bool = false;

    fn routing_key(&self, partial: &Self::Record) -> u64 {
        partial.routing
    }

    fn key(&self, partial: &Self::Record) -> A::Key {
        partial.key.clone()
    }

    fn value(&self, _: &Self::Record) -> f64 {
        0.0
    }

    fn size(&self, _: &Self::Record) -> usize {
        0
    }

    fn on_record(
        &mut self,
        record: Self::Record,
        state: &mut Self::State,
        context: &mut Context<'_, T, A::Key, A::Output>,
    ) {
        self.aggregate.merge(open(state, context), record.partial);
    }
}

/// The partial of the present epoch, about which something is to be done at the boundary after it.
#[inline]
fn open<'a, T: Ticks, S, P, K, R>(
    (_, partial, is_open): &'a mut AggregateState<S, P>,
    context: &mut Context<'_, T, K, R>,
) -> &'a mut P {
    if !std::mem::replace(is_open, true) {
        context.schedule_next_epoch();
    }
    partial
}

/// What an aggregate does at a timer: at a boundary, it takes in the epoch before.
pub fn at_boundary<T, D, A>(
    aggregate: &A,
    (state, partial, open): &mut StateOf<A, T, D>,
    context: &mut Context<'_, T, A::Key, A::Output>,
) where
    T: Ticks,
    A: Aggregate<T, D>,
{
    if context.is_boundary() {
        *open = false;
        aggregate.on_epoch(std::mem::take(partial), state, context);
    } else {
        // Records of this epoch may still be elsewhere.
        context.schedule_next_epoch();
    }
}
