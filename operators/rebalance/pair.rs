//! Stages with two inputs.

use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::rc::Rc;

use timely::ExchangeData;
use timely::dataflow::StreamVec;

use super::shared::Member;
use super::{KeySpace, Rebalanced};
use crate::epoch::Ticks;
use crate::keyed::codec::{Codec, Columns};
use crate::keyed::{Closures, Context, Measure, TwoInputs, Unmeasured, keyed_pair};
use crate::routing::gate;
use crate::windows::{Late, Panes, Window, Windows};

impl<'scope, T, D, H, M, C> Rebalanced<'scope, T, D, H, M, C>
where
    T: Ticks,
    D: ExchangeData,
    H: Fn(&D) -> u64 + Clone + 'static,
    M: Measure<D>,
{
    /// Adds a second stream to the stage, routed by the same assignment and with the same states. What is to be said of
    /// the stage, such as its name, is said before. Records of the second stream are profiled with the value 1 and the
    /// size of their type.
    pub fn with<B, HB>(
        self,
        right: StreamVec<'scope, T, B>,
        routing_key: HB,
    ) -> RebalancedPair<'scope, T, D, B, H, HB, M, C>
    where
        B: ExchangeData,
        HB: Fn(&B) -> u64 + Clone + 'static,
    {
        let Rebalanced { data, keys, name, routing_key: left_key, measure, codec } = self;
        RebalancedPair { keys, name, left: (data, left_key), right: (right, routing_key), measure, codec }
    }
}

/// A rebalanced stage of two inputs that is being put together. It is ended by [`keyed`](RebalancedPair::keyed),
/// [`join`](RebalancedPair::join) or [`join_windowed`](RebalancedPair::join_windowed).
#[must_use = "nothing is done before it is ended"]
pub struct RebalancedPair<'scope, T: Ticks, A: 'static, B: 'static, HA, HB, M = Unmeasured, C = Columns> {
    keys: KeySpace<'scope, T>,
    name: Option<String>,
    left: (StreamVec<'scope, T, A>, HA),
    right: (StreamVec<'scope, T, B>, HB),
    measure: M,
    codec: PhantomData<C>,
}

impl<T: Ticks, A, B, HA, HB, M, C> fmt::Debug for RebalancedPair<'_, T, A, B, HA, HB, M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RebalancedPair").field("name", &self.name).field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl<'scope, T, A, B, HA, HB, M, C> RebalancedPair<'scope, T, A, B, HA, HB, M, C>
where
    T: Ticks,
    A: ExchangeData,
    B: ExchangeData,
    HA: Fn(&A) -> u64 + Clone + 'static,
    HB: Fn(&B) -> u64 + Clone + 'static,
    M: Measure<A>,
{
    /// Takes the records of both inputs into the states of their keys.
    ///
    /// `left_key` and `right_key` give what states are kept by; records of one key must have one routing key, whichever
    /// side they come from. `on_left` and `on_right` take a record into its key's state; records of one time come in
    /// any order. `on_timer` is called once for each timer that [`Context::schedule`] has set, when its time has come.
    pub fn keyed<K, S, R>(
        self,
        left_key: impl Fn(&A) -> K + 'static,
        right_key: impl Fn(&B) -> K + 'static,
        on_left: impl FnMut(A, &mut S, &mut Context<'_, T, K, R>) + 'static,
        on_right: impl FnMut(B, &mut S, &mut Context<'_, T, K, R>) + 'static,
        on_timer: impl FnMut(&mut S, &mut Context<'_, T, K, R>) + 'static,
    ) -> StreamVec<'scope, T, R>
    where
        K: Hash + Eq + Clone + 'static,
        S: Default + 'static,
        R: Clone + 'static,
        C: Codec<K, S>,
    {
        let RebalancedPair { keys, name, left: (left, left_routing), right: (right, right_routing), measure, .. } =
            self;
        let member = Member { inputs: 2, ..keys.member(name) };
        let (control, epochs) = (keys.control(), keys.epochs());
        let left = gate(left, control.clone(), keys.initial(), epochs);
        let right = gate(right, control.clone(), keys.initial(), epochs);
        let logic = TwoInputs {
            left: Closures::new(left_routing.clone(), measure, left_key, on_left),
            right: Closures::new(right_routing.clone(), Unmeasured, right_key, on_right),
            on_timer,
        };
        let settings = keys.settings::<K, S, C>(&member);
        keys.add(
            member,
            keyed_pair::<_, _, _, _, C>((left, left_routing), (right, right_routing), control, logic, settings),
        )
    }

    /// Joins the inputs: each pair of a left and a right record of one key, as soon as both have come. All records are
    /// kept for ever.
    ///
    /// ```
    /// use thalweg::{Config, Rebalance, stable_hash};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// timely::example(|scope| {
    ///     let people = [(1, "Ada"), (2, "Grace")].map(|(id, name)| (id, name.to_owned()));
    ///     let people = people.to_stream(scope).container::<Vec<(u64, String)>>();
    ///     let auctions = [(10, 2), (11, 2)].to_stream(scope).container::<Vec<(u64, u64)>>();
    ///     people.rebalance(&Config::default(), |person| stable_hash(&person.0)).unwrap()
    ///         .with(auctions, |auction| stable_hash(&auction.1))
    ///         .join(|person| person.0, |auction| auction.1, |_, person, auction| (person.1.clone(), auction.0))
    ///         .inspect(|(name, auction)| println!("{name} sells {auction}"));
    /// });
    /// ```
    pub fn join<K, R>(
        self,
        left_key: impl Fn(&A) -> K + 'static,
        right_key: impl Fn(&B) -> K + 'static,
        result: impl Fn(&K, &A, &B) -> R + 'static,
    ) -> StreamVec<'scope, T, R>
    where
        K: Hash + Eq + Clone + 'static,
        R: Clone + 'static,
        C: Codec<K, (Vec<A>, Vec<B>)>,
    {
        let result = Rc::new(result);
        let mirrored = Rc::clone(&result);
        self.keyed(
            left_key,
            right_key,
            move |record, (left, right): &mut (Vec<A>, Vec<B>), context| {
                right.iter().for_each(|other| context.give(result(context.key(), &record, other)));
                left.push(record);
            },
            move |record, (left, right), context| {
                left.iter().for_each(|other| context.give(mirrored(context.key(), other, &record)));
                right.push(record);
            },
            |_, _| (),
        )
    }

    /// Joins the inputs within [`Windows`]: each pair of a left and a right record of one key for each window that
    /// holds the event times of both. They are given as [`windowed`](Rebalanced::windowed) gives windows: at the first
    /// boundary at or after the window's end, and the grace allowed.
    ///
    /// Each side is told by its key and its event time, in ticks of the timestamp. Where the event time of a record is
    /// not its timestamp, it may come after its windows were given: `late` says what becomes of it.
    pub fn join_windowed<K, R>(
        self,
        windows: Windows,
        (left_key, left_time): (impl Fn(&A) -> K + 'static, impl Fn(&A) -> u64 + 'static),
        (right_key, right_time): (impl Fn(&B) -> K + 'static, impl Fn(&B) -> u64 + 'static),
        late: Late,
        result: impl Fn(Window, &K, &A, &B) -> R + 'static,
    ) -> StreamVec<'scope, T, R>
    where
        K: Hash + Eq + Clone + 'static,
        R: Clone + 'static,
        A: Clone,
        B: Clone,
        C: Codec<K, Panes<(Vec<A>, Vec<B>)>>,
    {
        self.keyed(
            left_key,
            right_key,
            move |record, panes: &mut Panes<(Vec<A>, Vec<B>)>, context| {
                let time = left_time(&record);
                if let Some((left, _)) = admit(windows, late, panes, time, context) {
                    left.push(record);
                }
            },
            move |record, panes, context| {
                let time = right_time(&record);
                if let Some((_, right)) = admit(windows, late, panes, time, context) {
                    right.push(record);
                }
            },
            move |panes, context| {
                if !context.is_boundary() {
                    return context.schedule_next_epoch();
                }
                for (window, (left, right)) in panes.close(context.time().ticks(), &windows, append) {
                    for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (a, b))) {
                        context.give(result(window, context.key(), a, b));
                    }
                }
                match panes.next_close(&windows) {
                    Some(close) => T::from_ticks(close).iter().for_each(|close| context.schedule(close)),
                    None => context.forget(),
                }
            },
        )
    }
}

fn append<A, B>((left, right): &mut (Vec<A>, Vec<B>), (more_left, more_right): (Vec<A>, Vec<B>)) {
    left.extend(more_left);
    right.extend(more_right);
}

/// The pane that a record counts in, if in any. A timer is set for when the first window closes, unless it is set.
fn admit<'a, T: Ticks, K, V: Default, R>(
    windows: Windows,
    late: Late,
    panes: &'a mut Panes<V>,
    event_time: u64,
    context: &mut Context<'_, T, K, R>,
) -> Option<&'a mut V> {
    let now = context.epoch_start().ticks();
    let event_time = windows.admit(now, event_time, late)?;
    let before = panes.next_close(&windows);
    panes.at(now, event_time, &windows);
    let after = panes.next_close(&windows).filter(|after| before != Some(*after));
    after.and_then(T::from_ticks).iter().for_each(|close| context.schedule(close));
    Some(panes.at(now, event_time, &windows))
}
