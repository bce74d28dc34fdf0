//! Seeing what goes on: events.

mod event;

pub use event::{CheckpointEvent, EpochEvent, Event};
