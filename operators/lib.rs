//! Thalweg.

mod epoch;
mod error;
pub mod keyed;
pub mod keyspace;
pub mod policy;
pub mod profile;

pub use epoch::Epoch;
pub use error::{Cause, Error};
pub use keyspace::*;
