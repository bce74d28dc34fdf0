//! Planning: which shards to split and merge, and which to move where. Pure.
//!
//! ```text
//!   measure ──▶ shard loads ──▶ shape ──▶ planner ──▶ plan ──▶ commands
//!   points in   of the epochs   merges,   moves that  steps,
//!   the key     to come         splits    pay         imbalance,
//!   space                                             bytes
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

pub(crate) use measure::{Measure, Point, heavy_shares, merge_equal, spread};
pub use plan::{Plan, Step, commands_for};
pub use planner::Planner;
pub(crate) use shape::{Draft, Limits};
pub use shard::ShardLoad;

#[cfg(test)]
mod tests;
