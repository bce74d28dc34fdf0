//! The stateful operators: a worker's shards, and how their state leaves and arrives.
//!
//! | to read about | in |
//! |---|---|
//! | the operator, its ports and what it emits | `operator`, `streams`, `ports` |
//! | when it acts | `waits` |
//! | what it does then | `worker`, `apply` |
//! | what becomes of shards and their keys, without timely | `shards`, `timers` |
//! | where states lie, and what is noted of each key | `states`, `entry` |
//! | the one way out of a worker | `leaving`, `chunk`, `codec` |
//! | what a user's logic is made of | `logic`, `closures`, `measure` |

mod apply;
mod backlog;
mod chunk;
mod closures;
pub mod codec;
mod entry;
mod fault;
mod leaving;
mod logic;
mod measure;
mod merge;
mod operator;
mod ports;
mod shards;
mod states;
mod streams;
mod timers;
mod waits;
mod worker;

pub use apply::Applying;
pub use backlog::Backlog;
pub use chunk::Chunk;
pub use closures::Closures;
pub use fault::Fault;
pub use logic::{Context, Either, Logic, OneInput, Side, TwoInputs};
pub use measure::{Measure, Measured, Unmeasured};
pub use merge::{Merge, Merged, Merging, merge};
pub use operator::{KeyedSettings, KeyedStreams, keyed, keyed_pair};
pub use streams::{Report, Restore, Restored, SnapshotContent, SnapshotPart};
