//! Balancing a trace, without timely: who would have carried what, had this or that decided. Pure.
//!
//! ```text
//!   trace ──▶ simulation ──▶ arms: a policy behind the orchestrator, ──▶ figures
//!   counts     which keys          or packing by counts known              per arm
//!   of keys    have state          beforehand
//! ```
//!
//! The orchestrator is fed, epoch by epoch, as the operators of a dataflow feed it, and its commands take effect `lead`
//! epochs later. So what is decided is what would be decided in a dataflow, but for the order in which records reach a
//! worker, which decides what the profiles sample, and the size of states, which is the same for all keys.

mod arm;
mod figures;
mod flaps;
mod generate;
mod holdings;
mod packed;
mod routed;
mod simulation;
mod trace;
mod workers;

pub use figures::Figures;
pub use generate::{Generated, Kind, Spread};
pub use packed::Sight;
pub use simulation::{Line, Setup, Simulation};
pub use trace::{Epoch, Trace};
