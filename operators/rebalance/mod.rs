//! The loop: what composes the parts.

mod control;
mod ends;
mod epochs;
mod late;
mod outside;
mod pair;
mod request;
mod shared;
mod windowed;

use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;

use timely::ExchangeData;
use timely::dataflow::StreamVec;

use crate::checkpoint::Checkpoints;
use crate::epoch::Ticks;
use crate::error::Error;
use crate::keyed::codec::{Codec, Columns, Serde};
use crate::keyed::{Closures, Context, Fault, Measure, Measured, OneInput, Unmeasured, keyed};
use crate::observe::Event;
use crate::policy::Policy;
use crate::routing::gate;
pub use control::{IntoKeySpace, KeySpace, Loop};
pub use late::DivideLate;
pub use pair::RebalancedPair;
use shared::Member;
pub use windowed::RebalancedWindows;

/// Routes a stream by an assignment that a feedback loop keeps balanced.
pub trait Rebalance<'scope, T: Ticks, D: ExchangeData> {
    /// Begins a rebalanced stage: [`Rebalanced`] says what can be chosen, and how it is ended.
    ///
    /// `routing_key` gives the key by which a record is routed: [`stable_hash`](crate::stable_hash) of a field, or an
    /// [`ordered_key`](crate::ordered_key). `keys` is a [`Config`](crate::Config), for a loop and a key space of its
    /// own, or a [`KeySpace`] that it shares with others. Refuses a configuration that can't work.
    ///
    /// ```
    /// use thalweg::{Config, Rebalance, stable_hash};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// timely::example(|scope| {
    ///     ["Embarcadero", "Market", "Embarcadero"].map(str::to_owned).to_stream(scope).container::<Vec<_>>()
    ///         .rebalance(&Config::default(), |station| stable_hash(station)).unwrap()
    ///         .fold_keyed(|station| station.clone(), |station, count: &mut u64, out| { *count += 1; out.give((station, *count)) })
    ///         .inspect(|(station, count)| println!("{station}: {count}"));
    /// });
    /// ```
    fn rebalance<H>(
        self,
        keys: impl IntoKeySpace<'scope, T>,
        routing_key: H,
    ) -> Result<Rebalanced<'scope, T, D, H>, Error>
    where
        H: Fn(&D) -> u64 + Clone + 'static;
}

impl<'scope, T: Ticks, D: ExchangeData> Rebalance<'scope, T, D> for StreamVec<'scope, T, D> {
    fn rebalance<H>(
        self,
        keys: impl IntoKeySpace<'scope, T>,
        routing_key: H,
    ) -> Result<Rebalanced<'scope, T, D, H>, Error>
    where
        H: Fn(&D) -> u64 + Clone + 'static,
    {
        let keys = keys.into_key_space(self.scope())?;
        Ok(Rebalanced { data: self, keys, name: None, routing_key, measure: Unmeasured, codec: PhantomData })
    }
}

/// A rebalanced stage that is being put together. It is ended by what its records are for:
///
/// | ended by | gives |
/// |---|---|
/// | [`fold_keyed`](Rebalanced::fold_keyed), [`keyed`](Rebalanced::keyed) | what closures make of each record and its key's state, and of timers |
/// | [`fold_epochs`](Rebalanced::fold_epochs), [`aggregate`](Rebalanced::aggregate) | what they make of a key's records in each epoch |
/// | [`windowed`](Rebalanced::windowed) | counts and folds by tumbling and sliding windows, and by sessions |
/// | [`top_k`](Rebalanced::top_k) | the greatest of each group |
/// | [`with`](Rebalanced::with) | joins with a second stream |
/// | [`distribute`](Rebalanced::distribute) | the records themselves, on the workers that own them |
#[must_use = "nothing is done before it is ended"]
pub struct Rebalanced<'scope, T: Ticks, D: 'static, H, M = Unmeasured, C = Columns> {
    data: StreamVec<'scope, T, D>,
    keys: KeySpace<'scope, T>,
    name: Option<String>,
    routing_key: H,
    measure: M,
    codec: PhantomData<C>,
}

impl<T: Ticks, D, H, M, C> fmt::Debug for Rebalanced<'_, T, D, H, M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rebalanced").field("name", &self.name).field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl<'scope, T, D, H, M, C> Rebalanced<'scope, T, D, H, M, C>
where
    T: Ticks,
    D: ExchangeData,
    H: Fn(&D) -> u64 + Clone + 'static,
    M: Measure<D>,
{
    /// Decides by another policy than [`Proactive`](crate::policy::Proactive): see [`KeySpace::policy`].
    pub fn policy(self, policy: impl Policy) -> Result<Self, Error> {
        Ok(Rebalanced { keys: self.keys.policy(policy)?, ..self })
    }

    /// Takes checkpoints, and resumes from one: see [`Loop::checkpoint_to`].
    pub fn checkpoint_to(self, checkpoints: &Checkpoints, fault: &Fault) -> Result<Self, Error> {
        self.keys.looped().clone().checkpoint_to(checkpoints, fault)?;
        Ok(self)
    }

    /// Calls `observer` with each event of the loop, on worker 0.
    pub fn observe(self, observer: impl FnMut(&Event) + 'static) -> Self {
        self.keys.looped().clone().observe(observer);
        self
    }

    /// Names the operator in logs and checkpoints. Refuses a name that another operator of the loop has.
    ///
    /// Without a name it is called "keyed", or "keyed-2" and so on in the order in which operators are built. Where
    /// several operators are checkpointed, each must be given a name: a checkpoint gives back states by them.
    pub fn named(self, name: &str) -> Result<Self, Error> {
        self.keys.reserve(name)?;
        Ok(Rebalanced { name: Some(name.to_owned()), ..self })
    }

    /// Profiles these values and sizes (in bytes) of records.
    pub fn measured<V, Z>(self, value: V, size: Z) -> Rebalanced<'scope, T, D, H, Measured<V, Z>, C>
    where
        V: Fn(&D) -> f64 + 'static,
        Z: Fn(&D) -> usize + 'static,
    {
        let Rebalanced { data, keys, name, routing_key, codec, .. } = self;
        Rebalanced { data, keys, name, routing_key, measure: Measured { value, size }, codec }
    }

    /// Encodes keys and states by another [codec](crate::keyed::codec) than [`Columns`].
    pub fn codec<C2>(self) -> Rebalanced<'scope, T, D, H, M, C2> {
        let Rebalanced { data, keys, name, routing_key, measure, .. } = self;
        Rebalanced { data, keys, name, routing_key, measure, codec: PhantomData }
    }

    /// Folds each record into the state of its key, which begins with the default.
    ///
    /// `key` gives what states are kept by; records of one key must have one routing key. `fold` takes a record into
    /// its key's state, and sends any number of records by its [`Context`].
    pub fn fold_keyed<K, S, R, FK, F>(self, key: FK, fold: F) -> StreamVec<'scope, T, R>
    where
        K: Hash + Eq + Clone + 'static,
        S: Default + 'static,
        R: Clone + 'static,
        C: Codec<K, S>,
        FK: Fn(&D) -> K + 'static,
        F: FnMut(D, &mut S, &mut Context<'_, T, K, R>) + 'static,
    {
        self.keyed(key, fold, |_, _| ())
    }

    /// As [`fold_keyed`](Rebalanced::fold_keyed), with timers: `on_timer` is called once for each timer that
    /// [`Context::schedule`] has set, when its time has come.
    pub fn keyed<K, S, R, FK, F, G>(self, key: FK, on_record: F, on_timer: G) -> StreamVec<'scope, T, R>
    where
        K: Hash + Eq + Clone + 'static,
        S: Default + 'static,
        R: Clone + 'static,
        C: Codec<K, S>,
        FK: Fn(&D) -> K + 'static,
        F: FnMut(D, &mut S, &mut Context<'_, T, K, R>) + 'static,
        G: FnMut(&mut S, &mut Context<'_, T, K, R>) + 'static,
    {
        let Rebalanced { data, keys, name, routing_key, measure, .. } = self;
        let member = keys.member(name);
        let control = keys.control();
        let gated = gate(data, control.clone(), keys.initial(), keys.epochs());
        let input = Closures::new(routing_key.clone(), measure, key, on_record);
        let logic = OneInput { input, on_timer };
        let settings = keys.settings::<K, S, C>(&member);
        keys.add(member, keyed::<_, _, _, C>(gated, control, logic, routing_key, settings))
    }

    /// The records, on the workers that own their routing keys; no state is kept, and so none is checkpointed.
    pub fn distribute(self) -> StreamVec<'scope, T, D>
    where
        D: Clone,
    {
        let Rebalanced { data, keys, name, routing_key, measure, .. } = self;
        let member = Member { keeps_state: false, ..keys.member(name) };
        let control = keys.control();
        let gated = gate(data, control.clone(), keys.initial(), keys.epochs());
        let pass_on = |record, (): &mut (), context: &mut Context<'_, T, (), D>| context.give(record);
        let input = Closures::new(routing_key.clone(), measure, |_: &D| (), pass_on).stateless();
        let logic = OneInput { input, on_timer: |(): &mut (), _: &mut Context<'_, T, (), D>| () };
        let settings = keys.settings::<(), (), Serde>(&member);
        keys.add(member, keyed::<_, _, _, Serde>(gated, control, logic, routing_key, settings))
    }
}
