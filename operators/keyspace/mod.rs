//! The key space: routing keys, the ranges that are shards, and who owns them. Pure.
//!
//! A routing key is a `u64`. The user's function gives one for each record: [`stable_hash`] of a
//! key field, or an order-preserving encoding of it ([`ordered_key`]). A shard is a [`KeyRange`];
//! an [`Assignment`] says which worker owns each shard and which keys are folded, and a [`Command`]
//! changes it.

mod assignment;
mod command;
mod directory;
mod division;
mod edit;
mod hash;
mod order;
mod range;
mod routing_error;

pub use assignment::{Applied, Assignment, Handover};
pub use command::Command;
pub(crate) use directory::Directory;
pub use hash::{StableHash, stable_hash};
pub use order::{OrderedKey, ordered_key};
pub use range::KeyRange;
pub use routing_error::RoutingError;
