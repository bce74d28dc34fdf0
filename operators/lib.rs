//! Thalweg.

pub mod checkpoint;
mod config;
mod epoch;
mod error;
pub mod forecast;
pub mod keyed;
pub mod keyspace;
pub mod observe;
pub mod orchestrate;
mod pending;
pub mod policy;
pub mod profile;
mod rebalance;
pub mod routing;

pub use config::Config;
pub use epoch::Epoch;
pub use error::{Cause, Error};
pub use keyspace::*;
pub use pending::Pending;
pub use rebalance::{Measure, Measured, Rebalance, Rebalanced, Unmeasured};
