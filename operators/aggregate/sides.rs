//! An aggregate as the logic of a keyed operator with two inputs: records, and partials of folded keys.

use std::rc::Rc;

use timely::ExchangeData;

use super::{Aggregate, Partial};
use crate::epoch::Ticks;
use crate::keyed::{Closures, Context, Measure, Side, Unmeasured};

/// What is kept for a key: its state, the partial of the epoch so far, and whether that has anything in it.
pub type AggregateState<S, P> = (S, P, bool);

type StateOf<A, T, D> = AggregateState<<A as Aggregate<T, D>>::State, <A as Aggregate<T, D>>::Partial>;
type ContextOf<'a, A, T, D> = Context<'a, T, <A as Aggregate<T, D>>::Key, <A as Aggregate<T, D>>::Output>;

/// The input of an aggregate that brings records, which `routing_key` and `measure` tell about.
pub fn records<T, D, A>(
    aggregate: Rc<A>,
    routing_key: impl Fn(&D) -> u64 + 'static,
    measure: impl Measure<D>,
) -> impl Side<T, Record = D, Key = A::Key, State = StateOf<A, T, D>, Output = A::Output>
where
    T: Ticks,
    D: ExchangeData,
    A: Aggregate<T, D>,
{
    let keyed = Rc::clone(&aggregate);
    let fold = move |record, state: &mut StateOf<A, T, D>, context: &mut ContextOf<'_, A, T, D>| {
        let partial = open(state, context);
        aggregate.fold(context.time(), record, partial);
    };
    Closures::new(routing_key, measure, move |record: &D| keyed.key(record), fold)
}

/// The input of an aggregate that brings partials of folded keys. The gates have counted their records.
pub fn partials<T, D, A>(
    aggregate: Rc<A>,
) -> impl Side<T, Record = Partial<A::Key, A::Partial>, Key = A::Key, State = StateOf<A, T, D>, Output = A::Output>
where
    T: Ticks,
    D: ExchangeData,
    A: Aggregate<T, D>,
{
    let routing_key = |partial: &Partial<A::Key, A::Partial>| partial.routing;
    let key = |partial: &Partial<A::Key, A::Partial>| partial.key.clone();
    let merge = move |other: Partial<_, _>, state: &mut StateOf<A, T, D>, context: &mut ContextOf<'_, A, T, D>| {
        aggregate.merge(open(state, context), other.partial);
    };
    Closures::new(routing_key, Unmeasured, key, merge).unobserved()
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
    context: &mut ContextOf<'_, A, T, D>,
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
