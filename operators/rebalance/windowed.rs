//! Stages that end in windows.

use std::hash::Hash;
use std::marker::PhantomData;

use timely::ExchangeData;
use timely::dataflow::StreamVec;

use super::Rebalanced;
use crate::aggregate::{Aggregate, AggregateState};
use crate::epoch::{Epochs, Ticks};
use crate::keyed::codec::{Codec, Columns};
use crate::keyed::{Context, Measure, Unmeasured};
use crate::windows::{Late, Next, Timed, Window, Windowed, Windowing};

impl<'scope, T, D, H, M, C> Rebalanced<'scope, T, D, H, M, C>
where
    T: Ticks,
    D: ExchangeData,
    H: Fn(&D) -> u64 + Clone + 'static,
    M: Measure<D>,
{
    /// Divides the records of each key by their event time, in ticks of the timestamp: into
    /// [`Windows`](crate::windows::Windows), or into sessions with a [`Gap`](crate::windows::Gap) between them.
    ///
    /// A window is given at the first boundary at or after its end, and the grace allowed. Where the event time of a
    /// record is not its timestamp, it may come after that: `late` says what becomes of it. A window that has no such
    /// boundary, because the timestamp can't hold it, is not given.
    ///
    /// ```
    /// use thalweg::windows::{Late, Windows};
    /// use thalweg::{Config, Rebalance, stable_hash};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// timely::example(|scope| {
    ///     [("Castro", 3), ("Market", 4), ("Castro", 12)].map(|(station, at)| (station.to_owned(), at))
    ///         .to_stream(scope).container::<Vec<(String, u64)>>()
    ///         .rebalance(&Config::default(), |trip| stable_hash(&trip.0)).unwrap()
    ///         .windowed(Windows::sliding(10, 5).unwrap(), |trip| trip.1, Late::Drop)
    ///         .count(|trip| trip.0.clone())
    ///         .inspect(|(window, station, trips)| println!("{window} {station}: {trips}"));
    /// });
    /// ```
    pub fn windowed<W, E>(
        self,
        windowing: W,
        event_time: E,
        late: Late,
    ) -> RebalancedWindows<'scope, T, D, H, W, E, M, C>
    where
        W: Windowing,
        E: Fn(&D) -> u64 + 'static,
    {
        RebalancedWindows { stage: self, windowing, event_time, late }
    }
}

/// A rebalanced stage the records of which are divided into windows.
#[derive(Debug)]
#[must_use = "nothing is done before it is ended"]
pub struct RebalancedWindows<'scope, T: Ticks, D: 'static, H, W, E, M = Unmeasured, C = Columns> {
    stage: Rebalanced<'scope, T, D, H, M, C>,
    windowing: W,
    event_time: E,
    late: Late,
}

impl<'scope, T, D, H, W, E, M, C> RebalancedWindows<'scope, T, D, H, W, E, M, C>
where
    T: Ticks,
    D: ExchangeData,
    H: Fn(&D) -> u64 + Clone + 'static,
    W: Windowing,
    E: Fn(&D) -> u64 + 'static,
    M: Measure<D>,
{
    /// Folds the records of each key and window, and gives what `result` makes of them when the window closes.
    ///
    /// `merge` must be associative and commutative, and the default its identity.
    pub fn fold<K, A, R, FK, F, G, O>(self, key: FK, fold: F, merge: G, result: O) -> StreamVec<'scope, T, R>
    where
        K: ExchangeData + Hash + Eq + Clone,
        A: Clone + Default + 'static,
        W::State<A>: ExchangeData,
        R: Clone + 'static,
        C: Codec<K, AggregateState<Timed<W::State<A>>, W::State<A>>>,
        FK: Fn(&D) -> K + 'static,
        F: Fn(D, &mut A) + 'static,
        G: Fn(&mut A, A) + 'static,
        O: Fn(Window, &K, A) -> R + 'static,
    {
        let RebalancedWindows { stage, windowing, event_time, late } = self;
        let epochs = stage.keys.epochs();
        let windowed = Windowed::new(windowing, late, event_time, fold, merge);
        stage.aggregate(InWindows { key, windowed, result, epochs, types: PhantomData })
    }

    /// Counts the records of each key and window.
    pub fn count<K, FK>(self, key: FK) -> StreamVec<'scope, T, (Window, K, u64)>
    where
        K: ExchangeData + Hash + Eq + Clone,
        W::State<u64>: ExchangeData,
        C: Codec<K, AggregateState<Timed<W::State<u64>>, W::State<u64>>>,
        FK: Fn(&D) -> K + 'static,
    {
        let add = |count: &mut u64, more| *count += more;
        self.fold(key, |_, count| *count += 1, add, |window, key, count| (window, key.clone(), count))
    }
}

/// Windows as an aggregate.
struct InWindows<D, K, A, R, FK, W, E, F, G, O> {
    key: FK,
    windowed: Windowed<W, D, A, E, F, G>,
    result: O,
    epochs: Epochs,
    types: PhantomData<fn() -> (K, R)>,
}

impl<T, D, K, A, R, FK, W, E, F, G, O> Aggregate<T, D> for InWindows<D, K, A, R, FK, W, E, F, G, O>
where
    T: Ticks,
    D: 'static,
    K: ExchangeData + Hash + Eq + Clone,
    A: Clone + Default + 'static,
    W: Windowing,
    W::State<A>: ExchangeData,
    R: Clone + 'static,
    FK: Fn(&D) -> K + 'static,
    E: Fn(&D) -> u64 + 'static,
    F: Fn(D, &mut A) + 'static,
    G: Fn(&mut A, A) + 'static,
    O: Fn(Window, &K, A) -> R + 'static,
{
    type Key = K;
    type Partial = W::State<A>;
    type State = Timed<W::State<A>>;
    type Output = R;

    #[inline]
    fn key(&self, record: &D) -> K {
        (self.key)(record)
    }

    #[inline]
    fn fold(&self, time: &T, record: D, partial: &mut W::State<A>) {
        self.windowed.fold(self.epochs.around(time).0.ticks(), record, partial);
    }

    fn merge(&self, partial: &mut W::State<A>, other: W::State<A>) {
        self.windowed.merge(partial, other);
    }

    fn on_epoch(&self, partial: W::State<A>, state: &mut Timed<W::State<A>>, context: &mut Context<'_, T, K, R>) {
        let key = context.key().clone();
        let now = context.time().ticks();
        let next = self.windowed.on_epoch(now, partial, state, |window, value| {
            context.give((self.result)(window, &key, value));
        });
        match next {
            Next::Forget => context.forget(),
            Next::Wake(ticks) => T::from_ticks(ticks).iter().for_each(|time| context.schedule(time)),
            Next::Wait => {}
        }
    }
}
