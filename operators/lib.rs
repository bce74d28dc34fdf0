//! Thalweg.

#![forbid(missing_docs)]
#![cfg_attr(not(feature = "abomonation"), forbid(unsafe_code))]
#![cfg_attr(feature = "abomonation", deny(unsafe_code))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr))]

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
