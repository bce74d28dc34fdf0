use std::collections::HashSet;
use std::hash::Hash;

use foldhash::fast::RandomState;

use super::chunk::{Chunk, ChunkBuilder};
use super::codec::{Codec, GONE};
use crate::error::{Cause, Error};
use crate::keyspace::KeyRange;

/// Merges chunks of several snapshots of one operator: see [`merge`].
pub type Merge = fn(&Merging, &mut dyn Iterator<Item = Result<Chunk, Error>>, &mut Merged<'_>) -> Result<(), Error>;

/// Takes what has been merged, chunk by chunk.
pub type Merged<'a> = dyn FnMut(Chunk) -> Result<(), Error> + 'a;

/// What is merged.
#[derive(Clone, Debug)]
pub struct Merging {
    /// The operator, for errors.
    pub operator: String,
    /// Only keys in this range count.
    pub range: KeyRange,
    /// Whether no snapshot is before those that are merged, so that of a key that is gone nothing need be said.
    pub oldest: bool,
    /// Length at which a chunk is full, in bytes.
    pub chunk_bytes: usize,
}

/// Gives each key once, as the first chunk that has it does. So the chunks of later snapshots must come before those of
/// earlier ones. It remembers the keys, and nothing else.
pub fn merge<K, S, C>(
    merging: &Merging,
    chunks: &mut dyn Iterator<Item = Result<Chunk, Error>>,
    merged: &mut Merged<'_>,
) -> Result<(), Error>
where
    K: Hash + Eq + Clone,
    C: Codec<K, S>,
{
    let mut known: HashSet<K, RandomState> = HashSet::default();
    let mut builder = ChunkBuilder::<K, S, C>::new();
    for chunk in chunks {
        let mut full = Vec::new();
        let decoded = C::decode(chunk?.bytes, |(routing, key, state, times, marks)| {
            if !merging.range.contains(routing) || !known.insert(key.clone()) || merging.oldest && marks & GONE != 0 {
                return;
            }
            builder.push((routing, &key, &state, &times, marks));
            if builder.is_full(merging.chunk_bytes) {
                full.extend(builder.take_hull());
            }
        });
        decoded.map_err(|cause| undecodable(&merging.operator, cause))?;
        full.into_iter().try_for_each(&mut *merged)?;
    }
    builder.take_hull().into_iter().try_for_each(merged)
}

fn undecodable(operator: &str, cause: Cause) -> Error {
    Error::incompatible(format!("a chunk of {operator}"), "its keys or states are of another type").with(cause)
}
