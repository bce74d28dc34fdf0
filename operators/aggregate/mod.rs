//! Per-epoch aggregates of keys, so made that many workers can work on one key.
//!
//! The records of a key in an epoch are folded into a *partial*, and partials can be merged: so they may be folded in
//! several places. Normally they are folded where the key's state is. While a hot key is *folded*, each worker's gate
//! folds the records that the source gives to that worker, and sends one partial per epoch to the owner. A key is
//! folded from boundary to boundary by a command, and, until one can take effect, by each gate that finds it hot.

mod gate;
mod hot;
mod sides;
mod votes;

use std::hash::Hash;

use timely::ExchangeData;

use crate::epoch::Ticks;
use crate::keyed::Context;

pub use gate::{Folded, FoldingGate, Partial, folding_gate};
pub use hot::{HotKeys, NAMED_PER_WORKER, Spotting};
pub use sides::{AggregateState, at_boundary, partials, records};

/// How the records of a key are folded, epoch by epoch, and what comes of that.
pub trait Aggregate<T: Ticks, D>: 'static {
    /// What states are kept by.
    type Key: ExchangeData + Hash + Eq + Clone;
    /// What becomes of some records of a key in one epoch. The default is that of none: the identity of
    /// [`merge`](Aggregate::merge).
    type Partial: ExchangeData + Default;
    /// What is kept for a key from epoch to epoch.
    type State: Default + 'static;
    /// What goes out.
    type Output: Clone + 'static;

    /// The record's key.
    fn key(&self, record: &D) -> Self::Key;

    /// Takes a record, which has come at `time`, into a partial of its key.
    fn fold(&self, time: &T, record: D, partial: &mut Self::Partial);

    /// Takes one partial into another of the same key and epoch. Must be associative and commutative: which records are
    /// in which partial, and in which order partials are merged, is not determined.
    fn merge(&self, partial: &mut Self::Partial, other: Self::Partial);

    /// Takes the partial of all of a key's records in an epoch into its state.
    ///
    /// It is called at the boundary after each epoch in which the key had records, and, with the default if it had
    /// none, at the first boundary at or after each time for which the context has scheduled the key. After the last
    /// epoch of the timestamp there is no boundary, and it is not called.
    fn on_epoch(
        &self,
        partial: Self::Partial,
        state: &mut Self::State,
        context: &mut Context<'_, T, Self::Key, Self::Output>,
    );
}
