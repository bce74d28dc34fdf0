//! The bytes of an object, integers in little-endian order:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic |
//! | 2 | version of this format |
//! | 2 | identifier of the codec of the chunks' keys |
//! | 2, n | length of the operator's name, the name |
//! | 12, n | for each chunk a frame: its length compressed, its length, the CRC-32 of these and what follows; the chunk |
//!
//! A chunk is serialised by postcard, its words are [transposed](super::words) if its codec makes words, and it is
//! compressed by Zstandard.
//!
//! The head has no checksum of its own: bytes followed by their CRC-32 have the same CRC-32 whatever they are, so that
//! the one of the whole object would not depend on the head. An [`ObjectRef`] holds the CRC-32 of it all, a
//! [`ChunkRef`] where its frame lies. So a chunk is read alone and checked alone, and an object is checked whole.

use std::fmt;

use super::reference::{ChunkRef, ObjectRef};
use super::store::{Store, damage, part};
use super::words::{restored, transpose};
use crate::error::{Cause, Error};
use crate::keyed::Chunk;
use crate::keyed::codec::makes_words;

/// Version of the format of objects that this library writes and reads.
pub const OBJECT_FORMAT: u16 = 3;

/// The fastest of Zstandard's usual levels: it writes 400 MB/s, and state has a half or a fifth of its length.
const LEVEL: i32 = 1;

/// For transposed words. It takes a half of the time that level 1 takes for the words as they are, and makes no more
/// bytes of them.
const LEVEL_OF_WORDS: i32 = -1;

const MAGIC: [u8; 8] = *b"thalweg\n";

/// Reads one chunk and nothing else, and checks it.
pub fn read_chunk(store: &dyn Store, object: &ObjectRef, chunk: &ChunkRef) -> Result<Chunk, Error> {
    let frame = store.get_range(&object.name, chunk.offset, chunk.length).map_err(damage)?;
    decode(object, chunk, &frame)
}

/// Reads every byte of an object, and checks that it is as it was written. What it was written to hold is not looked
/// at: that costs more than reading it, and is done when a chunk is read.
pub(super) fn check(store: &dyn Store, object: &ObjectRef) -> Result<Vec<u8>, Error> {
    let bytes = store.get(&object.name).map_err(damage)?;
    let corrupt = |what: String| Err(Error::corrupt(&object.name, what));
    if bytes.len() as u64 != object.length {
        return corrupt(format!("it has {} bytes, {} were written", bytes.len(), object.length));
    }
    let crc32 = crc32fast::hash(&bytes);
    if crc32 != object.crc32 {
        return corrupt(format!("its checksum is {crc32:08x}, {:08x} was written", object.crc32));
    }
    check_version(object, &bytes)?;
    if !bytes.starts_with(&header(&object.operator, object.codec)) {
        return corrupt(format!("it does not begin as an object of operator {:?} does", object.operator));
    }
    Ok(bytes)
}

/// Reads every byte of an object, checks it, and decodes all its chunks: afterwards they can be read, unless it is
/// damaged since.
pub fn verify(store: &dyn Store, object: &ObjectRef) -> Result<(), Error> {
    let bytes = check(store, object)?;
    let corrupt = |what: String| Err(Error::corrupt(&object.name, what));
    let mut end = header(&object.operator, object.codec).len() as u64;
    for chunk in &object.chunks {
        let frame = part(&bytes, chunk.offset, chunk.length).filter(|_| chunk.offset == end);
        let Some(frame) = frame else { return corrupt(format!("no chunk begins at byte {}", chunk.offset)) };
        decode(object, chunk, frame)?;
        end += chunk.length;
    }
    if end == object.length { Ok(()) } else { corrupt(format!("its last chunk ends at byte {end}")) }
}

fn check_version(object: &ObjectRef, bytes: &[u8]) -> Result<(), Error> {
    let version = bytes.strip_prefix(&MAGIC).and_then(|rest| rest.first_chunk()).map(|b| u16::from_le_bytes(*b));
    match version {
        Some(OBJECT_FORMAT) => Ok(()),
        Some(version) => Err(Error::incompatible(
            &object.name,
            format!("it has format {version}, this library reads {OBJECT_FORMAT}: use the library that wrote it"),
        )),
        None => Err(Error::corrupt(&object.name, "it does not begin as an object does")),
    }
}

pub(super) fn decode(object: &ObjectRef, reference: &ChunkRef, frame: &[u8]) -> Result<Chunk, Error> {
    let corrupt = |what: &str| {
        Error::corrupt(&object.name, format!("the chunk of {} at byte {} {what}", reference.range, reference.offset))
    };
    let (head, payload) = frame.split_first_chunk().ok_or_else(|| corrupt("has no head"))?;
    let head = Head::from_bytes(head);
    if head.length as usize != payload.len() {
        return Err(corrupt("has another length than was written"));
    }
    if head.crc32 != reference.crc32 || head.crc32 != head.expected_crc32(payload) {
        return Err(corrupt("has another checksum than was written"));
    }
    let bytes = zstd::bulk::decompress(payload, head.plain_length as usize)
        .map_err(|e| corrupt("can't be decompressed").with(e))?;
    let bytes = if makes_words(object.codec) { restored(&bytes) } else { bytes };
    let (chunk, rest): (Chunk, _) =
        postcard::take_from_bytes(&bytes).map_err(|e| corrupt("can't be decoded").with(e))?;
    let fits = (chunk.range, chunk.last, chunk.keys) == (reference.range, reference.last, reference.keys);
    if fits && rest.is_empty() { Ok(chunk) } else { Err(corrupt("is not the one that was written")) }
}

/// Appends frames to objects. Memory is kept from one to the next: new one has to be cleared.
pub(super) struct Framer {
    compressor: zstd::bulk::Compressor<'static>,
    of_words: bool,
    plain: Vec<u8>,
    transposed: Vec<u8>,
    payload: Vec<u8>,
}

impl fmt::Debug for Framer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framer").finish_non_exhaustive()
    }
}

impl Framer {
    /// For chunks of this codec.
    pub fn new(codec: u16) -> Result<Self, Error> {
        let of_words = makes_words(codec);
        let compressor = zstd::bulk::Compressor::new(if of_words { LEVEL_OF_WORDS } else { LEVEL })
            .map_err(|e| Error::usage("there is no memory to compress state with").with(e))?;
        Ok(Framer { compressor, of_words, plain: Vec::new(), transposed: Vec::new(), payload: Vec::new() })
    }

    /// Appends the frame of a chunk, and gives its checksum.
    pub fn append(&mut self, bytes: &mut Vec<u8>, chunk: &Chunk) -> Result<u32, Cause> {
        let Framer { compressor, of_words, plain, transposed, payload } = self;
        plain.clear();
        postcard::to_io(chunk, &mut *plain)?;
        if *of_words {
            transpose(plain, transposed);
            std::mem::swap(plain, transposed);
        }
        payload.clear();
        payload.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        compressor.compress_to_buffer(plain, payload)?;
        let head = Head { length: u32::try_from(payload.len())?, plain_length: u32::try_from(plain.len())?, crc32: 0 };
        let head = Head { crc32: head.expected_crc32(payload), ..head };
        bytes.extend_from_slice(&head.to_bytes());
        bytes.extend_from_slice(payload);
        Ok(head.crc32)
    }
}

/// What a frame begins with.
struct Head {
    length: u32,
    plain_length: u32,
    crc32: u32,
}

impl Head {
    fn from_bytes(bytes: &[u8; 12]) -> Self {
        let [length, plain_length, crc32] =
            [0, 4, 8].map(|at| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
        Head { length, plain_length, crc32 }
    }

    fn to_bytes(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        for (part, number) in bytes.chunks_exact_mut(4).zip([self.length, self.plain_length, self.crc32]) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    fn expected_crc32(&self, payload: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.to_bytes()[..8]);
        hasher.update(payload);
        hasher.finalize()
    }
}

/// What the object of an operator begins with.
pub(super) fn header(operator: &str, codec: u16) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&OBJECT_FORMAT.to_le_bytes());
    bytes.extend_from_slice(&codec.to_le_bytes());
    bytes.extend_from_slice(&(operator.len() as u16).to_le_bytes());
    bytes.extend_from_slice(operator.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Memory, Object, ObjectWriter};
    use crate::keyspace::KeyRange;

    fn object() -> (Object, Vec<Chunk>) {
        let chunks: Vec<Chunk> = (0..3)
            .map(|i: u8| Chunk { range: KeyRange::from(u64::from(i)..), last: i == 2, keys: 9, bytes: vec![i; 40] })
            .collect();
        let mut writer = ObjectWriter::new(7, 0, 5).unwrap();
        for chunk in &chunks {
            assert_eq!(writer.push("count", chunk).unwrap(), None);
        }
        (writer.finish().remove(0), chunks)
    }

    #[test]
    fn chunks_come_back_one_by_one() {
        let (object, chunks) = object();
        let store = Memory::default();
        store.put(&object.reference.name, &object.bytes).unwrap();
        verify(&store, &object.reference).unwrap();
        let read = |reference| read_chunk(&store, &object.reference, reference).unwrap();
        assert_eq!(object.reference.chunks.iter().map(read).collect::<Vec<_>>(), chunks);
    }

    #[test]
    fn any_changed_bit_and_any_other_length_is_found() {
        let (Object { reference, bytes }, chunks) = object();
        let store = Memory::default();
        let check = |damaged: &[u8], what: &str| {
            store.put(&reference.name, damaged).unwrap();
            let error = verify(&store, &reference).expect_err(what);
            assert!(matches!(&error, Error::Corrupt { object, .. } if *object == reference.name), "{what}: {error}");
        };
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            check(&damaged, &format!("bit {bit}"));
            for (chunk, whole) in reference.chunks.iter().zip(&chunks) {
                let inside = (chunk.offset..chunk.offset + chunk.length).contains(&(bit as u64 / 8));
                let read = read_chunk(&store, &reference, chunk);
                assert!(if inside { matches!(read, Err(Error::Corrupt { .. })) } else { read.unwrap() == *whole });
            }
        }
        (0..bytes.len()).for_each(|length| check(&bytes[..length], &format!("{length} bytes")));
        check(&[&bytes[..], b"\0"].concat(), "one byte more");
    }

    #[test]
    fn a_reference_that_does_not_fit_is_an_error() {
        let (Object { reference, mut bytes }, _) = object();
        let store = Memory::default();
        store.put(&reference.name, &bytes).unwrap();
        let changes: [fn(&mut ObjectRef); 8] = [
            |r| r.chunks[1].offset = u64::MAX,
            |r| r.chunks[1].length = u64::MAX,
            |r| r.chunks[1].offset += 1,
            |r| r.chunks[1].length = 3,
            |r| r.chunks[1].keys += 1,
            |r| r.chunks.rotate_left(1),
            |r| r.chunks.truncate(2),
            |r| r.operator.push('s'),
        ];
        for change in changes {
            let mut other = reference.clone();
            change(&mut other);
            verify(&store, &other).unwrap_err();
            other.chunks.iter().for_each(|chunk| drop(read_chunk(&store, &other, chunk)));
        }
        bytes[MAGIC.len()] = 9;
        let foreign = ObjectRef { crc32: crc32fast::hash(&bytes), ..reference };
        store.put(&foreign.name, &bytes).unwrap();
        let error = verify(&store, &foreign).unwrap_err();
        assert!(matches!(error, Error::Incompatible { .. }) && error.to_string().contains("format 9"), "{error}");
        store.delete(&foreign.name).unwrap();
        assert!(verify(&store, &foreign).unwrap_err().to_string().contains("missing"));
    }
}
