//! The stateful operators.

mod chunk;

pub use chunk::Chunk;
