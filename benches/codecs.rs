//! What it costs to turn state into bytes and back, and how many bytes they are: columns, `serde` by postcard, `serde`
//! by bincode 1.3 as a peer, and, with the feature `abomonation`, memory as it lies.
//!
//! Rows go through the public [`Codec`] in chunks of the default size, as they do on their way to another worker and
//! into a checkpoint: routing key, key, state, timers, marks. Encoding reads rows where they lie and ends with bytes;
//! decoding ends with owned rows, which are dropped. Left out are the map that the rows come from and go to, checksums,
//! and zstd, of which only is shown what it makes of the bytes, at the level that checkpoints have. A first run of each
//! arm is left out too.

mod common;

use std::hint::black_box;
use std::rc::Rc;

use clap::Parser;
use common::{Arguments, cpu_seconds, finish, interleave_all};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thalweg::aggregate::AggregateState;
use thalweg::keyed::codec::{Codec, Columns, Row, RowRef, Serde};
use thalweg::windows::{Gap, Sessions, Timed, TopK};
use thalweg::{Config, stable_hash};

/// The place of the arm over which ratios are taken.
const SERDE: usize = 1;

/// The level that checkpoints are compressed at.
const ZSTD: i32 = 1;

/// Rows that are encoded and decoded for one figure, at least: so many take long enough to be measured.
const ROWS_MEASURED: usize = 1_000_000;

type Rows<K, S> = Rc<Vec<Row<K, S>>>;

/// One codec on the rows of one case.
struct Arm {
    name: &'static str,
    /// CPU time of a row, in seconds.
    encode: Box<dyn Fn() -> f64>,
    decode: Box<dyn Fn() -> f64>,
    /// Bytes of a row, and what zstd makes of them.
    bytes: f64,
    zipped: f64,
}

impl Arm {
    fn new<C: Codec<K, S>, K: 'static, S: 'static>(name: &'static str, rows: &Rows<K, S>) -> Self {
        let chunks = encode::<C, K, S>(rows);
        let per_row = |bytes: usize| bytes as f64 / rows.len() as f64;
        let zipped = |chunk: &Vec<u8>| zstd::bulk::compress(chunk, ZSTD).expect("memory is enough").len();
        let (bytes, zipped) = (chunks.iter().map(Vec::len).sum(), chunks.iter().map(zipped).sum());
        let (rounds, rows) = (ROWS_MEASURED.div_ceil(rows.len()), Rc::clone(rows));
        let measured = (rounds * rows.len()) as f64;
        let encode = move || {
            let started = cpu_seconds();
            (0..rounds).for_each(|_| drop(black_box(encode::<C, K, S>(&rows))));
            (cpu_seconds() - started) / measured
        };
        let decode = move || {
            let copies: Vec<Vec<Vec<u8>>> = (0..rounds).map(|_| chunks.clone()).collect();
            let started = cpu_seconds();
            for chunk in copies.into_iter().flatten() {
                C::decode(chunk, |row| drop(black_box(row))).expect("the bytes are those that were encoded");
            }
            (cpu_seconds() - started) / measured
        };
        let (bytes, zipped) = (per_row(bytes), per_row(zipped));
        Arm { name, encode: Box::new(encode), decode: Box::new(decode), bytes, zipped }
    }
}

/// The chunks that the rows become.
fn encode<C: Codec<K, S>, K, S>(rows: &[Row<K, S>]) -> Vec<Vec<u8>> {
    let (mut encoder, mut chunks) = (C::Encoder::default(), Vec::new());
    for (routing, key, state, timers, marks) in rows {
        C::push(&mut encoder, (*routing, key, state, timers, *marks));
        if C::length(&encoder) >= Config::CHUNK_BYTES {
            chunks.push(C::finish(std::mem::take(&mut encoder)));
        }
    }
    chunks.push(C::finish(encoder));
    chunks
}

/// Rows one after the other, by `serde` in the format of bincode 1.3, as timely's own channels have them.
struct Bincode;

impl<K, S> Codec<K, S> for Bincode
where
    K: Serialize + DeserializeOwned + 'static,
    S: Serialize + DeserializeOwned + 'static,
{
    const ID: u16 = 0x8000;

    type Encoder = Vec<u8>;

    fn push(encoder: &mut Vec<u8>, row: RowRef<'_, K, S>) {
        bincode::serialize_into(encoder, &row).expect("writing to memory can't fail");
    }

    fn length(encoder: &Vec<u8>) -> usize {
        encoder.len()
    }

    fn finish(encoder: Vec<u8>) -> Vec<u8> {
        encoder
    }

    fn decode(bytes: Vec<u8>, mut each: impl FnMut(Row<K, S>)) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            each(bincode::deserialize_from(&mut rest)?);
        }
        Ok(())
    }
}

fn main() {
    let arguments = Arguments::parse();
    let rows = arguments.sized(50_000, 500_000);
    println!(
        "{:30}{:9}{:>8}{:>8}   {:22}{:22}{:>8}{:>9}",
        "state", "codec", "encode", "decode", "encoding over serde", "decoding over serde", "bytes", "zstd -1"
    );
    println!("{:39}{:>8}{:>8}   {:44}{:>8}{:>9}", "", "ns", "ns", "", "per row", "per row");
    // Those types of ours that `abomonation` does not know stand beside the same in types that it does.
    let (counts, moments, sessions, top) = (counts(rows), moments(rows), sessions(rows), top(rows));
    let cases = [
        ("count: u64, u64", arms(&counts), memory(&counts)),
        ("moments: String, (u64, f64)", arms(&moments), memory(&moments)),
        ("sessions: u64, 1 to 3 of them", arms(&sessions), memory(&plain_sessions(&sessions))),
        ("top 10: u64, 10 pairs", arms(&top), memory(&plain_top(&top))),
    ];
    finish(cases.into_iter().flat_map(|(name, arms, memory)| {
        let arms: Vec<Arm> = arms.into_iter().chain(memory).collect();
        show(name, &arms, arguments.pairs())
    }));
}

fn arms<K, S>(rows: &Rows<K, S>) -> [Arm; 3]
where
    K: 'static,
    S: 'static,
    Columns: Codec<K, S>,
    Serde: Codec<K, S>,
    Bincode: Codec<K, S>,
{
    let columns = Arm::new::<Columns, K, S>("columns", rows);
    [columns, Arm::new::<Serde, K, S>("serde", rows), Arm::new::<Bincode, K, S>("bincode", rows)]
}

#[cfg(feature = "abomonation")]
fn memory<K, S>(rows: &Rows<K, S>) -> Option<Arm>
where
    K: 'static,
    S: 'static,
    thalweg::keyed::codec::Abomonated: Codec<K, S>,
{
    Some(Arm::new::<thalweg::keyed::codec::Abomonated, K, S>("memory", rows))
}

#[cfg(not(feature = "abomonation"))]
fn memory<K, S>(_: &Rows<K, S>) -> Option<Arm> {
    None
}

/// Prints the lines of a case, and gives its figures.
fn show(case: &str, arms: &[Arm], pairs: usize) -> Vec<(String, Value)> {
    let encoding: Vec<&dyn Fn() -> f64> = arms.iter().map(|arm| &*arm.encode).collect();
    let decoding: Vec<&dyn Fn() -> f64> = arms.iter().map(|arm| &*arm.decode).collect();
    let (encoding, decoding) = (interleave_all(pairs, &encoding), interleave_all(pairs, &decoding));
    let line = |(arm, (encoded, decoded)): (&Arm, (&common::Sample, &common::Sample))| {
        let (encode, decode) = (encoded.ratio(&encoding[SERDE]), decoded.ratio(&decoding[SERDE]));
        let nanos = |sample: &common::Sample| sample.median() * 1e9;
        print!("{case:30}{:9}{:>8.1}{:>8.1}   ", arm.name, nanos(encoded), nanos(decoded));
        println!("{:22}{:22}{:>8.1}{:>9.1}", encode.to_string(), decode.to_string(), arm.bytes, arm.zipped);
        let figures = json!({
            "encode_to_serde": encode.json(),
            "decode_to_serde": decode.json(),
            "bytes": arm.bytes,
            "bytes_zstd": arm.zipped,
        });
        (format!("{case}, {}", arm.name), figures)
    };
    arms.iter().zip(encoding.iter().zip(&decoding)).map(line).collect()
}

/// A number under `below` that is another for each `seed` and `i`.
fn random(seed: u64, i: u64, below: u64) -> u64 {
    stable_hash(&(seed, i)) % below
}

fn counts(rows: u64) -> Rows<u64, u64> {
    Rc::new((0..rows).map(|i| (stable_hash(&i), i, 1 + random(0, i, 1_000), Vec::new(), 0)).collect())
}

/// Records and the sum of a value, by a name of 13 to 17 bytes.
fn moments(rows: u64) -> Rows<String, (u64, f64)> {
    let row = |i| {
        let (key, records) = (format!("station-{:05}{}", i, "-low".repeat((i % 2) as usize)), 1 + random(0, i, 1_000));
        (stable_hash(&key), key, (records, records as f64 * 1.7 + i as f64 * 1e-3), Vec::new(), 0)
    };
    Rc::new((0..rows).map(row).collect())
}

type SessionsState = AggregateState<Timed<Sessions<u64>>, Sessions<u64>>;

/// What counting by sessions keeps, with the timer of the first one that closes; few keys have records in the epoch so
/// far.
fn sessions(rows: u64) -> Rows<u64, SessionsState> {
    let gap = Gap::of(1_000).expect("not 0");
    let row = |i| {
        let mut state = SessionsState::default();
        let begin = 1_700_000_000_000 + random(1, i, 60_000);
        for session in 0..=random(2, i, 3) {
            *state.0.open.at(begin + session * 5_000, &gap, |sum, more| *sum += more) += 1 + random(3, i, 100);
        }
        state.2 = random(4, i, 10) == 0;
        if state.2 {
            *state.1.at(begin + 30_000, &gap, |sum, more| *sum += more) += 1;
        }
        let timers = state.0.open.next_close(&gap).into_iter().collect();
        (stable_hash(&i), i, state, timers, 0)
    };
    Rc::new((0..rows).map(row).collect())
}

type PlainSessions = Vec<(u64, u64, u64)>;

fn plain_sessions(rows: &Rows<u64, SessionsState>) -> Rows<u64, ((PlainSessions, u64), PlainSessions, bool)> {
    let gap = Gap::of(1_000).expect("not 0");
    let plain = |sessions: &Sessions<u64>| -> PlainSessions {
        let closed = |(window, count): (thalweg::windows::Window, u64)| (window.start, window.end, count);
        sessions.clone().close(u64::MAX, &gap).map(closed).collect()
    };
    let row = |(routing, key, state, timers, marks): &Row<u64, SessionsState>| {
        let state = ((plain(&state.0.open), timers[0]), plain(&state.1), state.2);
        (*routing, *key, state, timers.clone(), *marks)
    };
    Rc::new(rows.iter().map(row).collect())
}

type TopState = AggregateState<(), TopK<(u64, u64)>>;

/// What the greatest ten of a group are kept in while its epoch lasts.
fn top(rows: u64) -> Rows<u64, TopState> {
    let row = |i: u64| {
        let mut state = TopState::default();
        (0..10).for_each(|j| state.1.insert(10, (1 + random(j, i, 100_000), 10 * i + j)));
        (stable_hash(&i), i, ((), state.1, true), vec![1_700_000_060_000], 0)
    };
    Rc::new((0..rows / 5).map(row).collect())
}

type PlainTop = ((), Vec<(u64, u64)>, bool);

fn plain_top(rows: &Rows<u64, TopState>) -> Rows<u64, PlainTop> {
    let row = |(routing, key, (_, top, open), timers, marks): &Row<u64, TopState>| {
        (*routing, *key, ((), top.values().to_vec(), *open), timers.clone(), *marks)
    };
    Rc::new(rows.iter().map(row).collect())
}
