use std::hash::Hash;
use std::marker::PhantomData;

use timely::ExchangeData;

use crate::epoch::Ticks;
use crate::keyed::{Context, Measure, Side};

/// An input of an operator, from the closures that the user gave.
pub(super) struct Closures<D, K, S, R, H, M, FK, F> {
    pub routing_key: H,
    pub measure: M,
    pub key: FK,
    pub on_record: F,
    pub types: PhantomData<fn(D, K, S, R)>,
}

impl<T, D, K, S, R, H, M, FK, F> Side<T> for Closures<D, K, S, R, H, M, FK, F>
where
    T: Ticks,
    D: ExchangeData,
    K: Hash + Eq + Clone + 'static,
    S: Default + 'static,
    R: Clone + 'static,
    H: Fn(&D) -> u64 + 'static,
    M: Measure<D>,
    FK: Fn(&D) -> K + 'static,
    F: FnMut(D, &mut S, &mut Context<'_, T, K, R>) + 'static,
{
    type Record = D;
    type Key = K;
    type State = S;
    type Output = R;

    #[inline]
    fn routing_key(&self, record: &D) -> u64 {
        (self.routing_key)(record)
    }

    #[inline]
    fn key(&self, record: &D) -> K {
        (self.key)(record)
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
    fn on_record(&mut self, record: D, state: &mut S, context: &mut Context<'_, T, K, R>) {
        (self.on_record)(record, state, context);
    }
}

/// An input that passes its records on.
pub(super) struct Distribute<D, H, M> {
    pub routing_key: H,
    pub measure: M,
    pub record: PhantomData<fn(D)>,
}

impl<T, D, H, M> Side<T> for Distribute<D, H, M>
where
    T: Ticks,
    D: ExchangeData + Clone,
    H: Fn(&D) -> u64 + 'static,
    M: Measure<D>,
{
    type Record = D;
    type Key = ();
    type State = ();
    type Output = D;

    const STATEFUL: bool = false;

    #[inline]
    fn routing_key(&self, record: &D) -> u64 {
        (self.routing_key)(record)
    }

    fn key(&self, _: &D) {}

    #[inline]
    fn value(&self, record: &D) -> f64 {
        self.measure.value(record)
    }

    #[inline]
    fn size(&self, record: &D) -> usize {
        self.measure.size(record)
    }

    #[inline]
    fn on_record(&mut self, record: D, (): &mut (), context: &mut Context<'_, T, (), D>) {
        context.give(record);
    }
}
