use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;

use timely::ExchangeData;

use super::{Context, Measure, Side};
use crate::epoch::Ticks;

/// An input of a keyed operator, from closures.
pub struct Closures<D, K, S, R, H, M, FK, F, const STATEFUL: bool = true, const OBSERVED: bool = true> {
    routing_key: H,
    measure: M,
    key: FK,
    on_record: F,
    types: PhantomData<fn(D, K, S, R)>,
}

impl<D, K, S, R, H, M, FK, F> Closures<D, K, S, R, H, M, FK, F> {
    /// An input of which `routing_key`, `measure` and `key` tell about a record, and which `on_record` takes into the
    /// state of its key.
    pub fn new<T>(routing_key: H, measure: M, key: FK, on_record: F) -> Self
    where
        FK: Fn(&D) -> K,
        F: FnMut(D, &mut S, &mut Context<'_, T, K, R>),
    {
        Closures { routing_key, measure, key, on_record, types: PhantomData }
    }

    /// The same, without states: each record finds the default.
    pub fn stateless(self) -> Closures<D, K, S, R, H, M, FK, F, false, true> {
        let Closures { routing_key, measure, key, on_record, types } = self;
        Closures { routing_key, measure, key, on_record, types }
    }

    /// The same, but that the profile does not count these records.
    pub fn unobserved(self) -> Closures<D, K, S, R, H, M, FK, F, true, false> {
        let Closures { routing_key, measure, key, on_record, types } = self;
        Closures { routing_key, measure, key, on_record, types }
    }
}

impl<D, K, S, R, H, M, FK, F, const STATEFUL: bool, const OBSERVED: bool> fmt::Debug
    for Closures<D, K, S, R, H, M, FK, F, STATEFUL, OBSERVED>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closures").field("stateful", &STATEFUL).field("observed", &OBSERVED).finish_non_exhaustive()
    }
}

impl<T, D, K, S, R, H, M, FK, F, const STATEFUL: bool, const OBSERVED: bool> Side<T>
    for Closures<D, K, S, R, H, M, FK, F, STATEFUL, OBSERVED>
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

    const STATEFUL: bool = STATEFUL;
    const OBSERVED: bool = OBSERVED;

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

    fn alike(&self) -> Option<(f64, usize)> {
        self.measure.alike()
    }

    #[inline]
    fn on_record(&mut self, record: D, state: &mut S, context: &mut Context<'_, T, K, R>) {
        (self.on_record)(record, state, context);
    }
}
