use serde::{Deserialize, Serialize};

use crate::keyspace::KeyRange;

/// An object of some operator's chunks. Objects are immutable: the content is part of the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Its name in the store: `objects/{epoch}-{operator}-{writer}-{sequence}-{crc32}`.
    pub name: String,
    /// Its bytes.
    pub length: u64,
    /// The CRC-32 of all of them.
    pub crc32: u32,
    /// The operator whose state it holds.
    pub operator: String,
    /// The boundary of the snapshot that it is of, or of the last one, if it has been merged of several. Of a key that
    /// objects of several boundaries have, the latest one says what it is.
    pub epoch: u64,
    /// The codec of its chunks' keys.
    pub codec: u16,
    /// Its chunks, in order.
    pub chunks: Vec<ChunkRef>,
}

/// A chunk in an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// The hull of the keys.
    pub range: KeyRange,
    /// Whether no other chunk of this range follows.
    pub last: bool,
    /// Keys in the chunk.
    pub keys: u32,
    /// Where its frame begins in the object.
    pub offset: u64,
    /// Bytes of its frame.
    pub length: u64,
    /// The CRC-32 in its frame.
    pub crc32: u32,
}
