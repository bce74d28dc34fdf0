//! Balancing a trace, without timely: who would have carried what, had this or that decided. Pure.
//!
//! ```text
//!   trace ──▶ simulation ──▶ arm: a policy behind the orchestrator, or packing by known counts ──▶ figures
//!   counts of   holdings       what it commands takes effect `lead` epochs later                    per arm
//!   keys        of state
//! ```

mod arm;
mod figures;
mod flaps;
mod generate;
mod holdings;
mod packed;
mod routed;
mod simulation;
mod trace;

pub use arm::{Arm, Crossing, Dealer, Loads};
pub use figures::{Figures, max_mean};
pub use generate::{Generated, Kind, Spread};
pub use packed::{Packed, Sight};
pub use routed::Routed;
pub use simulation::{Line, Setup, Simulation};
pub use trace::{Epoch, Trace};
