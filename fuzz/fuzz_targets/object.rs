#![no_main]

mod edits;

use edits::take;
use libfuzzer_sys::fuzz_target;
use thalweg::KeyRange;
use thalweg::checkpoint::{Memory, ObjectWriter, Store, read_chunk, verify};
use thalweg::keyed::Chunk;

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let Some([chunks, length, changed, forged]) = take(&mut data) else { return };
    let written: Vec<Chunk> = (0..1 + chunks % 4)
        .map(|i| Chunk {
            range: KeyRange::from(u64::from(i)..),
            last: i % 2 == 0,
            keys: 9,
            bytes: vec![i; length.into()],
        })
        .collect();
    let mut writer = ObjectWriter::new(7, 0, 5).expect("there is memory");
    written.iter().for_each(|chunk| assert!(writer.push("count", chunk).unwrap().is_none()));
    let object = writer.finish().remove(0);
    let (mut reference, mut bytes) = (object.reference, object.bytes);

    // Where the chunks are said to lie.
    for chunk in &mut reference.chunks {
        if changed & 1 == 0 {
            break;
        }
        let Some([part, value]) = take(&mut data) else { break };
        let value = u64::from(value).wrapping_shl(u32::from(part >> 2));
        match part % 4 {
            0 => chunk.offset = value,
            1 => chunk.length = value,
            2 => chunk.crc32 = value as u32,
            _ => chunk.keys = value as u32,
        }
    }
    edits::edit(&mut bytes, data);
    if forged & 1 == 1 {
        reference.crc32 = crc32fast::hash(&bytes);
        reference.length = bytes.len() as u64;
    }
    let store = Memory::default();
    store.put(&reference.name, &bytes).unwrap();
    let whole = verify(&store, &reference).is_ok();
    for (chunk, written) in reference.chunks.iter().zip(&written) {
        match read_chunk(&store, &reference, chunk) {
            Ok(read) => assert_eq!(read, *written),
            Err(_) => assert!(!whole),
        }
    }
});
