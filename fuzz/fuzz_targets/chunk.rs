#![no_main]

mod edits;

use libfuzzer_sys::fuzz_target;
use thalweg::keyed::codec::{Codec, Columns, Serde};

/// Decodes bytes, and, if they are rows, so many at least, encodes and decodes them again.
fn decode<C: Codec<u64, (String, Vec<u32>)>>(bytes: &[u8], at_least: usize) {
    let mut rows = Vec::new();
    if C::decode(bytes.to_vec(), |row| rows.push(row)).is_err() {
        assert_eq!(at_least, 0);
        return;
    }
    assert!(rows.len() >= at_least);
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

/// Encodes rows that are made of the input, and decodes them. `Columns` takes bytes for what it has encoded, so that it
/// is given nothing else.
fn round_trip(data: &[u8]) {
    let row = |part: &[u8]| {
        let key = u64::from(part[0]) << (part[part.len() - 1] % 64);
        let state = (
            String::from_utf8_lossy(part).into_owned(),
            part.iter().map(|byte| u32::from(*byte)).collect::<Vec<u32>>(),
        );
        (key, state, part.iter().map(|byte| u64::from(*byte) << 56).collect::<Vec<_>>())
    };
    let rows: Vec<_> = data.chunks(7).map(row).collect();
    let bytes = encode::<Columns>(|encoder| {
        rows.iter()
            .for_each(|(key, state, timers)| Columns::push(encoder, (*key, key, state, timers, Default::default())));
    });
    decode::<Columns>(&bytes, rows.len());
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 3 {
        0 => decode::<Serde>(rest, 0),
        1 => decode::<Serde>(&edited::<Serde>(rest), 0),
        _ => round_trip(rest),
    }
});
