//! Planning: which shards to split and merge, and which to move where. Pure.
//!
//! ```text
//!   measure ──▶ shard loads ──▶ shape ──▶ planner ──▶ plan ──▶ commands
//!   points in   of the epochs   merges,   moves that  steps,
//!   the key     to come         splits    pay         imbalance,
//!   space                                             bytes
//! ```
//!
//! The [`policies`](crate::policy) plan by it, and it serves alone: a [`Planner`] makes a [`Plan`] from what shards,
//! and keys in them, are expected to carry. What to compare it with is in [`baselines`].
//!
//! ```
//! use thalweg::planning::{Planner, ShardLoad};
//! use thalweg::{Assignment, KeyRange};
//!
//! let before = Assignment::even(2, 2)?;
//! // The first shard has most of the load, and most of that is in one of its keys; state is spread evenly.
//! let loads = [900.0, 300.0];
//! let shards: Vec<ShardLoad> =
//!     before.iter().map(|(range, owner)| ShardLoad::certain(range, owner, loads[owner], 64_000.0)).collect();
//! let hot = ShardLoad::certain(KeyRange::single(7), 0, 290.0, 64.0);
//!
//! let plan = Planner::new(2).plan(&shards, &[1.0], |shard| {
//!     if shard.range.contains(7) { vec![hot.clone()] } else { Vec::new() }
//! });
//! assert_eq!((plan.before, plan.bytes), (1.5, 64.0));
//! assert!(plan.after < 1.02);
//! let after = before.apply(&plan.commands())?;
//! assert_eq!((after.owner_of(6), after.owner_of(7), after.owner_of(8)), (0, 1, 0));
//! # Ok::<(), thalweg::RoutingError>(())
//! ```

pub mod baselines;
mod board;
mod measure;
mod ordered;
mod parts;
mod plan;
mod planner;
mod room;
mod search;
mod shape;
mod shard;
mod worth;

pub(crate) use measure::{Measure, Point, heavy_shares, merge_equal, spread};
pub use plan::{Plan, Step, commands_for};
pub use planner::Planner;
pub(crate) use shape::{Draft, Limits};
pub use shard::ShardLoad;

/// Splits that it takes at most to isolate a key, and for which room is made per hot shard.
const CUTS: usize = 2;

#[cfg(test)]
mod tests;
