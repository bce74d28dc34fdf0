use std::collections::BTreeMap;

use super::format::{self, Framer};
use super::reference::{ChunkRef, ObjectRef};
use crate::error::Error;
use crate::keyed::Chunk;

/// Bytes after which an object is full. The cost of making a file durable, or of a request to an object store, is
/// small beside that of 8 MiB; and the few objects that wait for a slow store take little memory.
pub const OBJECT_BYTES: usize = 8 << 20;

/// Bytes an operator's name can be long at most: it is in every object.
pub const MAX_OPERATOR_NAME: usize = 1 << 10;

/// A full object and what a manifest says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What a manifest says.
    pub reference: ObjectRef,
    /// The bytes to put under the reference's name.
    pub bytes: Vec<u8>,
}

/// Packs chunks of one boundary into objects, one operator's to an object: those of a worker's snapshot, or those that
/// have been merged of several.
#[derive(Debug)]
pub struct ObjectWriter {
    epoch: u64,
    writer: String,
    codec: u16,
    framer: Framer,
    open: BTreeMap<String, Open>,
}

/// An object that is being filled, or the number of the one to come.
#[derive(Debug, Default)]
struct Open {
    sequence: u64,
    bytes: Vec<u8>,
    chunks: Vec<ChunkRef>,
}

impl ObjectWriter {
    /// For the chunks of the boundary of `epoch`, encoded with `codec`. `writer` tells its objects from those of
    /// others: ASCII letters and digits.
    pub fn new(epoch: u64, writer: impl ToString, codec: u16) -> Result<Self, Error> {
        Ok(ObjectWriter {
            epoch,
            writer: writer.to_string(),
            codec,
            framer: Framer::new(codec)?,
            open: BTreeMap::new(),
        })
    }

    /// Takes a chunk, and gives the operator's object once that has [`OBJECT_BYTES`].
    pub fn push(&mut self, operator: &str, chunk: &Chunk) -> Result<Option<Object>, Error> {
        if !self.open.contains_key(operator) {
            check_operator(operator)?;
            self.open.insert(operator.to_owned(), Open::default());
        }
        let Some(open) = self.open.get_mut(operator) else { return Ok(None) };
        if open.bytes.is_empty() {
            open.bytes = format::header(operator, self.codec);
        }
        open.push(&mut self.framer, operator, chunk)?;
        let full = open.bytes.len() >= OBJECT_BYTES;
        Ok(if full { open.close(operator, self.epoch, &self.writer, self.codec) } else { None })
    }

    /// The objects that are not full, in order of their operators' names.
    pub fn finish(self) -> Vec<Object> {
        let ObjectWriter { epoch, writer, codec, open, .. } = self;
        open.into_iter().filter_map(|(operator, mut open)| open.close(&operator, epoch, &writer, codec)).collect()
    }
}

impl Open {
    fn push(&mut self, framer: &mut Framer, operator: &str, chunk: &Chunk) -> Result<(), Error> {
        let offset = self.bytes.len() as u64;
        let crc32 = framer.append(&mut self.bytes, chunk).map_err(|cause| {
            Error::usage(format!("a chunk of {} of {operator:?} can't be encoded: make it smaller", chunk.range))
                .with(cause)
        })?;
        let length = self.bytes.len() as u64 - offset;
        self.chunks.push(ChunkRef { range: chunk.range, last: chunk.last, keys: chunk.keys, offset, length, crc32 });
        Ok(())
    }

    fn close(&mut self, operator: &str, epoch: u64, writer: &str, codec: u16) -> Option<Object> {
        let (bytes, chunks) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.chunks));
        if chunks.is_empty() {
            return None;
        }
        let (sequence, crc32) = (self.sequence, crc32fast::hash(&bytes));
        self.sequence += 1;
        let name = format!("objects/{epoch:020}-{}-{writer}-{sequence}-{crc32:08x}", name_part(operator));
        let length = bytes.len() as u64;
        let reference = ObjectRef { name, length, crc32, operator: operator.into(), epoch, codec, chunks };
        Some(Object { reference, bytes })
    }
}

fn check_operator(operator: &str) -> Result<(), Error> {
    if operator.len() <= MAX_OPERATOR_NAME {
        return Ok(());
    }
    let begin: String = operator.chars().take(32).collect();
    Err(Error::usage(format!(
        "the operator's name {begin:?}… has {} bytes: give it one of at most {MAX_OPERATOR_NAME}",
        operator.len()
    )))
}

/// An operator's name as a part of an object's name. One that has to be changed is told from others by its checksum.
fn name_part(operator: &str) -> String {
    const LONGEST: usize = 64;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !operator.is_empty() && operator.len() <= LONGEST && operator.chars().all(plain) {
        return operator.to_owned();
    }
    let safe: String = operator.chars().take(LONGEST).map(|c| if plain(c) { c } else { '_' }).collect();
    format!("{safe}.{:08x}", crc32fast::hash(operator.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::check_name;
    use crate::keyspace::KeyRange;

    fn chunk(bytes: usize) -> Chunk {
        // Bytes that don't compress.
        let mut state = 1u64;
        let random = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 56) as u8
        };
        Chunk { range: KeyRange::ALL, last: true, keys: 1, bytes: std::iter::repeat_with(random).take(bytes).collect() }
    }

    #[test]
    fn an_object_is_closed_once_it_is_full_and_the_next_one_has_another_name() {
        let mut writer = ObjectWriter::new(3, 1, 0).unwrap();
        assert_eq!(writer.push("count", &chunk(OBJECT_BYTES - 1000)).unwrap(), None);
        assert_eq!(writer.push("other", &chunk(10)).unwrap(), None);
        let first = writer.push("count", &chunk(2000)).unwrap().unwrap().reference;
        assert_eq!((first.chunks.len(), first.operator.as_str()), (2, "count"));
        assert_eq!(writer.push("count", &chunk(10)).unwrap(), None);
        let rest = writer.finish();
        let names: Vec<&str> = rest.iter().map(|o| o.reference.name.as_str()).collect();
        assert!(first.name.starts_with("objects/00000000000000000003-count-1-0-"), "{}", first.name);
        assert!(names[0].starts_with("objects/00000000000000000003-count-1-1-"), "{names:?}");
        assert!(names[1].starts_with("objects/00000000000000000003-other-1-0-"), "{names:?}");
        assert!(ObjectWriter::new(0, 0, 0).unwrap().finish().is_empty());
        // What is in it is in its name, down to whose it is and how it is encoded.
        let crc32 = |operator, codec, bytes| {
            let mut writer = ObjectWriter::new(3, 1, codec).unwrap();
            writer.push(operator, &chunk(bytes)).unwrap();
            writer.finish()[0].reference.crc32
        };
        let all = [crc32("a", 0, 1), crc32("b", 0, 1), crc32("a", 1, 1), crc32("a", 0, 2)];
        assert_eq!(std::collections::BTreeSet::from(all).len(), 4);
    }

    #[test]
    fn any_operator_name_makes_a_name_of_its_own() {
        let long = "x".repeat(MAX_OPERATOR_NAME);
        let names = ["", ".", "..", "a b", "a_b", "a/b", "../../etc", "Zähler", "a\0b", &long, &long[1..]];
        let parts: std::collections::BTreeSet<String> = names.iter().map(|n| name_part(n)).collect();
        assert_eq!(parts.len(), names.len(), "{parts:?}");
        for name in names {
            let mut writer = ObjectWriter::new(u64::MAX, usize::MAX, 0).unwrap();
            writer.push(name, &chunk(1)).unwrap();
            check_name(&writer.finish()[0].reference.name).unwrap();
        }
        let error =
            ObjectWriter::new(0, 0, 0).unwrap().push(&"x".repeat(MAX_OPERATOR_NAME + 1), &chunk(1)).unwrap_err();
        assert!(matches!(error, Error::Usage { .. }) && error.to_string().contains("1025 bytes"), "{error}");
    }
}
