//! Stages that end in an aggregate: per epoch, and what is built on that.

use std::hash::Hash;
use std::marker::PhantomData;
use std::rc::Rc;

use timely::ExchangeData;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;

use super::Rebalanced;
use super::shared::Member;
use crate::aggregate::{self as sides, Aggregate, AggregateState, Folded, FoldingGate, Partial, folding_gate};
use crate::epoch::Ticks;
use crate::keyed::codec::Codec;
use crate::keyed::{Context, KeyedStreams, Measure, Report, TwoInputs, keyed_pair};
use crate::windows::TopK;

impl<'scope, T, D, H, M, C> Rebalanced<'scope, T, D, H, M, C>
where
    T: Ticks,
    D: ExchangeData,
    H: Fn(&D) -> u64 + Clone + 'static,
    M: Measure<D>,
{
    /// Folds the records of each key epoch by epoch.
    ///
    /// `fold` takes a record into what the epoch has gathered of its key, which begins with the default; `merge` adds
    /// to it what was gathered elsewhere. So a key that is too hot for one worker can be worked on by all, whenever the
    /// policy says so or a worker finds it hot: `merge` must be associative and commutative, as the addition of floats
    /// is not, and the default its identity. `on_epoch` is called at the boundary after each epoch in which the key had
    /// records, with what it has gathered and the key's state; and, with the default if there were none, at the first
    /// boundary at or after each time for which the context has scheduled the key. What it gives is at the boundary;
    /// after the last epoch of the timestamp there is none.
    ///
    /// ```
    /// use thalweg::{Config, Rebalance, stable_hash};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// timely::example(|scope| {
    ///     ["Castro", "Market", "Castro"].map(str::to_owned).to_stream(scope).container::<Vec<_>>()
    ///         .rebalance(&Config::default(), |station| stable_hash(station)).unwrap()
    ///         .fold_epochs(
    ///             |station| station.clone(),
    ///             |_, trips: &mut u64| *trips += 1,
    ///             |trips, more| *trips += more,
    ///             |trips, total: &mut u64, out| {
    ///                 *total += trips;
    ///                 out.give((out.key().clone(), trips, *total));
    ///             },
    ///         )
    ///         .inspect(|(station, trips, total)| println!("{station}: {trips} in the epoch, {total} in all"));
    /// });
    /// ```
    pub fn fold_epochs<K, P, S, R, FK, F, G, E>(
        self,
        key: FK,
        fold: F,
        merge: G,
        on_epoch: E,
    ) -> StreamVec<'scope, T, R>
    where
        K: ExchangeData + Hash + Eq + Clone,
        P: ExchangeData + Default,
        S: Default + 'static,
        R: Clone + 'static,
        C: Codec<K, AggregateState<S, P>>,
        FK: Fn(&D) -> K + 'static,
        F: Fn(D, &mut P) + 'static,
        G: Fn(&mut P, P) + 'static,
        E: Fn(P, &mut S, &mut Context<'_, T, K, R>) + 'static,
    {
        self.aggregate(FoldEpochs { key, fold, merge, on_epoch, types: PhantomData })
    }

    /// The `count` greatest of each group in each epoch, greatest first: top-k per window, where the records are the
    /// results of windows, which are all given at one boundary. They are given at the boundary after the epoch.
    ///
    /// ```
    /// use thalweg::windows::{Late, Windows};
    /// use thalweg::{Config, Rebalance, stable_hash};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// timely::example(|scope| {
    ///     let config = Config::default();
    ///     let bids = [(1, 3), (2, 4), (1, 8), (2, 12)].to_stream(scope).container::<Vec<(u64, u64)>>();
    ///     let counts = bids.rebalance(&config, |bid| stable_hash(&bid.0)).unwrap()
    ///         .windowed(Windows::tumbling(10).unwrap(), |bid| bid.1, Late::Drop)
    ///         .count(|bid| bid.0);
    ///     counts.rebalance(&config, |(window, _, _)| stable_hash(&window.start)).unwrap()
    ///         .top_k(1, |(window, _, _)| *window, |(_, auction, bids)| (bids, !auction))
    ///         .inspect(|(window, top)| println!("{window}: auction {} with {} bids", !top[0].1, top[0].0));
    /// });
    /// ```
    pub fn top_k<K, V, FK, F>(self, count: usize, group: FK, value: F) -> StreamVec<'scope, T, (K, Vec<V>)>
    where
        K: ExchangeData + Hash + Eq + Clone,
        V: ExchangeData + Ord + Clone,
        C: Codec<K, AggregateState<(), TopK<V>>>,
        FK: Fn(&D) -> K + 'static,
        F: Fn(D) -> V + 'static,
    {
        self.fold_epochs(
            group,
            move |record, top: &mut TopK<V>| top.insert(count, value(record)),
            move |top, other| top.merge(count, other),
            |top, (), context| {
                context.give((context.key().clone(), top.into_values()));
                context.forget();
            },
        )
    }

    /// Applies an [`Aggregate`]: what [`fold_epochs`](Rebalanced::fold_epochs) does with closures.
    pub fn aggregate<A>(self, aggregate: A) -> StreamVec<'scope, T, A::Output>
    where
        A: Aggregate<T, D>,
        C: Codec<A::Key, AggregateState<A::State, A::Partial>>,
    {
        let Rebalanced { data, keys, name, routing_key, measure, .. } = self;
        let member = Member { can_fold: true, ..keys.member(name) };
        let (aggregate, worker) = (Rc::new(aggregate), data.scope().index());
        let (control, epochs) = (keys.control(), keys.epochs());
        let FoldingGate { records, partials, folded } = folding_gate(
            data,
            control.clone(),
            keys.initial(),
            epochs,
            &aggregate,
            routing_key.clone(),
            keys.spotting(),
        );
        let taking_in = Rc::clone(&aggregate);
        let logic = TwoInputs {
            left: sides::records(Rc::clone(&aggregate), routing_key.clone(), measure),
            right: sides::partials(aggregate),
            on_timer: move |state: &mut _, context: &mut Context<'_, T, _, _>| {
                sides::at_boundary(&*taking_in, state, context);
            },
        };
        let settings = keys.settings::<A::Key, AggregateState<A::State, A::Partial>, C>(&member);
        let partials = (partials, |partial: &Partial<_, _>| partial.routing);
        let streams = keyed_pair::<_, _, _, _, C>((records, routing_key), partials, control, logic, settings);
        let folded = folded.map(move |Folded { key, records }| Report::Folded { worker, key, records });
        let with_folded =
            |streams: KeyedStreams<'scope, T, _>| KeyedStreams { reports: streams.reports.concat(folded), ..streams };
        keys.add(member, streams.map(with_folded))
    }
}

/// The types that only the closures name.
type Types<D, K, P, S, R> = fn(D, K, P) -> (S, R);

/// An aggregate, from the closures that the user gave.
struct FoldEpochs<D, K, P, S, R, FK, F, G, E> {
    key: FK,
    fold: F,
    merge: G,
    on_epoch: E,
    types: PhantomData<Types<D, K, P, S, R>>,
}

impl<T, D, K, P, S, R, FK, F, G, E> Aggregate<T, D> for FoldEpochs<D, K, P, S, R, FK, F, G, E>
where
    T: Ticks,
    D: 'static,
    K: ExchangeData + Hash + Eq + Clone,
    P: ExchangeData + Default,
    S: Default + 'static,
    R: Clone + 'static,
    FK: Fn(&D) -> K + 'static,
    F: Fn(D, &mut P) + 'static,
    G: Fn(&mut P, P) + 'static,
    E: Fn(P, &mut S, &mut Context<'_, T, K, R>) + 'static,
{
    type Key = K;
    type Partial = P;
    type State = S;
    type Output = R;

    #[inline]
    fn key(&self, record: &D) -> K {
        (self.key)(record)
    }

    #[inline]
    fn fold(&self, _: &T, record: D, partial: &mut P) {
        (self.fold)(record, partial);
    }

    fn merge(&self, partial: &mut P, other: P) {
        (self.merge)(partial, other);
    }

    fn on_epoch(&self, partial: P, state: &mut S, context: &mut Context<'_, T, K, R>) {
        (self.on_epoch)(partial, state, context);
    }
}
