//! Planning: which shards to split and merge, and which to move where. Pure.
//!
//! ```text
//!   measure ──▶ shard loads ──▶ shape ──▶ plan
//!   points in   of the epochs   merges,   moves that pay
//!   the key     to come         splits
//!   space
//! ```

mod measure;
mod plan;
mod shape;
mod shard;

pub(crate) use measure::{Measure, Point, heavy_shares, merge_equal, spread};
pub(crate) use plan::{Planner, Step};
pub(crate) use shape::{Draft, Limits};
pub(crate) use shard::ShardLoad;
