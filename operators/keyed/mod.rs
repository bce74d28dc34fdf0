//! The stateful operators: a worker's shards, and how their state leaves and arrives.

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
