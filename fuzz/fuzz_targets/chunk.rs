#![no_main]

mod edits;

use libfuzzer_sys::fuzz_target;
use thalweg::keyed::codec::{Codec, Columns, Serde};

/// Decodes bytes, and, if they are rows, encodes and decodes them again.
fn decode<C: Codec<u64, (String, Vec<u32>)>>(bytes: &[u8]) {
    let mut rows = Vec::new();
    if C::decode(bytes.to_vec(), |row| rows.push(row)).is_err() {
        return;
    }
    let again = encode::<C>(|encoder| {
        rows.iter().for_each(|row| C::push(encoder, (row.0, &row.1, &row.2, &row.3, row.4)));
    });
    let mut decoded = rows.iter();
    C::decode(again, |row| assert_eq!(Some(&row), decoded.next())).unwrap();
    assert!(decoded.next().is_none());
}

fn encode<C: Codec<u64, (String, Vec<u32>)>>(push: impl FnOnce(&mut C::Encoder)) -> Vec<u8> {
    let mut encoder = C::Encoder::default();
    push(&mut encoder);
    C::finish(encoder)
}

fn edited<C: Codec<u64, (String, Vec<u32>)>>(changes: &[u8]) -> Vec<u8> {
    let mut bytes = encode::<C>(|encoder| {
        for i in 0..3u64 {
            let state = (format!("state {i}"), vec![i as u32; i as usize]);
            C::push(encoder, (i << 40, &i, &state, &[i, i + 1], Default::default()));
        }
    });
    edits::edit(&mut bytes, changes);
    bytes
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 4 {
        0 => decode::<Columns>(rest),
        1 => decode::<Serde>(rest),
        2 => decode::<Columns>(&edited::<Columns>(rest)),
        _ => decode::<Serde>(&edited::<Serde>(rest)),
    }
});
