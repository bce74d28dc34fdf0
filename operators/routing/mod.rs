//! Routing by an assignment that changes at boundaries: the gate, the pact, and the versions they share.

mod gate;
mod pact;
mod versions;

pub(crate) use gate::Settling;
pub use gate::{Gated, gate};
pub use pact::Routed;
pub use versions::{SharedVersions, Versions};
