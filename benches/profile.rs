//! What the profile costs per record, and how far its figures are from the truth.
//!
//! The arms see the same records: Zipf 0.99 over a million keys, 64 shards. Each arm first routes a batch of 1,024: it
//! asks the records for their keys, and the assignment for their shards. What *routing* alone takes is taken off the
//! others, so that they show what is added to a pass that has the records in the cache anyway. *batches* is what
//! operators do: `Gathering` by batches, then `Rolling` over eight epochs, profiles included. *alike* is the same for
//! records without value and size of their own, the default of the keyed operators. *gathering* is *batches* without
//! `Rolling`. *records* is `Statistics`, record by record, with `Rolling`. *peer* is the same figures composed from
//! sketches off the shelf, record by record, per epoch, without the window: `HyperLogLog` and frequent items from
//! `datasketches`, Welford's mean and deviation, `hdrhistogram` of two digits.
//!
//! CPU time of the thread. The first run of each arm is left out, and so is making the records.

mod common;
#[path = "profile/peer.rs"]
mod peer;
#[path = "profile/stream.rs"]
mod stream;
#[path = "profile/truth.rs"]
mod truth;

use std::hint::black_box;

use clap::Parser;
use common::{Arguments, Sample, Verdict, cpu_seconds, finish, interleave};
use serde_json::{Value, json};
use thalweg::KeyRange;
use thalweg::profile::{Gathering, Profile, ProfileConfig, Rolling, Sampler, ShardEpoch, Statistics};

use crate::peer::Peer;
use crate::stream::{Epoch, Record, SHARDS, Stream};
use crate::truth::Truth;

/// Records of an epoch: at twenty million a second, a fifth of a second.
const RECORDS: usize = 1 << 22;

/// Records of a batch: a buffer of timely's holds about as many.
const BATCH: usize = 1_024;

/// Epochs of a run: as many as the window has.
const EPOCHS: usize = ProfileConfig::WINDOW;

/// Seeds of whoever draws lots.
const SEED: u64 = 1;

const MAX_NANOS: f64 = 3.0;
const MAX_OF_PEER: f64 = 1.0 / 14.0;
const MAX_MOMENT_ERROR: f64 = 1e-9;
const MAX_DISTINCT_ERROR: f64 = 0.025;
const MIN_CORRELATION: f64 = 0.99;

fn main() {
    let arguments = Arguments::parse();
    let records = arguments.sized(1 << 21, RECORDS as u64) as usize;
    let mut stream = Stream::new(SEED);
    let epochs: Vec<Epoch> = (0..2).map(|_| stream.epoch(records)).collect();
    let nanos = |run: &dyn Fn(&[&Epoch])| {
        let epochs: Vec<&Epoch> = epochs.iter().cycle().take(EPOCHS).collect();
        let before = cpu_seconds();
        run(&epochs);
        (cpu_seconds() - before) * 1e9 / (records * EPOCHS) as f64
    };
    let names = ["batches", "alike", "gathering", "records", "peer"];
    let runs: [&dyn Fn() -> f64; 6] = [
        &|| nanos(&routing),
        &|| nanos(&|epochs| _ = batches(epochs)),
        &|| nanos(&alike),
        &|| nanos(&gathering),
        &|| nanos(&by_records),
        &|| nanos(&peers),
    ];
    let [routing, arms @ ..] = interleave(arguments.pairs(), runs);
    let samples = arms.map(|arm| arm.less(&routing));
    println!("{records} records an epoch, {SHARDS} shards, {EPOCHS} epochs; routing: {:.2} ns", routing.median());
    println!("{:>10} {:>10} {:>26}", "arm", "ns/record", "of the peer");
    let peer = &samples[4];
    for (name, sample) in names.iter().zip(&samples) {
        let ratio = sample.ratio(peer);
        println!("{name:>10} {:>10.2} {:>26}", sample.median(), format!("{ratio:.4}"));
    }
    let ratio = samples[0].ratio(peer);
    let mut found = vec![
        Verdict::at_most("ns per record", samples[0].median(), MAX_NANOS).tell(),
        Verdict::at_most("of the peer", ratio.median, MAX_OF_PEER).tell(),
    ];
    found.extend(names.iter().zip(&samples).map(|(name, sample)| cost(name, sample, peer)));
    found.extend(errors(&mut stream));
    finish(found);
}

fn cost(name: &str, sample: &Sample, peer: &Sample) -> (String, Value) {
    (name.to_owned(), json!({ "nanos": sample.median(), "of_peer": sample.ratio(peer).json() }))
}

/// What routing knows of a batch: shards and keys.
#[derive(Default)]
struct Routed {
    shards: Vec<u32>,
    keys: Vec<u64>,
}

/// Routes the batches of an epoch, and shows each.
fn route(epoch: &Epoch, mut each: impl FnMut(&Routed, &[Record])) {
    let mut routed = Routed::default();
    for batch in epoch.chunks(BATCH) {
        routed.keys.clear();
        routed.shards.clear();
        routed.keys.extend(batch.iter().map(|record| record.key));
        routed.shards.extend(batch.iter().map(Record::shard));
        each(&routed, batch);
    }
}

fn routing(epochs: &[&Epoch]) {
    epochs.iter().for_each(|epoch| route(epoch, |routed, batch| _ = black_box((routed.keys.as_slice(), batch))));
}

/// The profiles of the last epoch.
fn batches(epochs: &[&Epoch]) -> Vec<Profile> {
    let (mut gathering, mut rolling) = (new_gathering(), Rolling::new(EPOCHS, 1));
    let mut profiles = Vec::new();
    for (number, epoch) in epochs.iter().enumerate() {
        gather(&mut gathering, epoch);
        profiles = roll(&mut gathering, &mut rolling, number);
    }
    profiles
}

fn alike(epochs: &[&Epoch]) {
    let (mut gathering, mut rolling) = (new_gathering(), Rolling::new(EPOCHS, 1));
    for (number, epoch) in epochs.iter().enumerate() {
        route(epoch, |routed, _| gathering.observe_alike(&routed.shards, &routed.keys, 1.0, size_of::<Record>()));
        roll(&mut gathering, &mut rolling, number);
    }
}

fn gathering(epochs: &[&Epoch]) {
    let mut gathering = new_gathering();
    for epoch in epochs {
        gather(&mut gathering, epoch);
        gathering.take(|_, _| ());
    }
}

fn by_records(epochs: &[&Epoch]) {
    let (mut sampler, mut rolling) = (Sampler::new(ProfileConfig::SAMPLE, SEED), Rolling::new(EPOCHS, 1));
    for (number, epoch) in epochs.iter().enumerate() {
        let mut shards = vec![Statistics::default(); SHARDS];
        route(epoch, |routed, batch| {
            for (shard, record) in routed.shards.iter().zip(batch) {
                shards[*shard as usize].observe(record.key, record.value, record.size as usize, &mut sampler);
            }
        });
        let reports = shards.into_iter().enumerate().map(|(shard, statistics)| report(shard as u32, statistics));
        rolling.advance(number as u64, reports.collect());
    }
}

fn peers(epochs: &[&Epoch]) {
    for epoch in epochs {
        let mut shards: Vec<Peer> = (0..SHARDS).map(|_| Peer::default()).collect();
        route(epoch, |routed, batch| {
            for (shard, record) in routed.shards.iter().zip(batch) {
                shards[*shard as usize].observe(record.key, record.value, record.size);
            }
        });
        black_box(shards.iter().map(Peer::figures).collect::<Vec<_>>());
    }
}

fn new_gathering() -> Gathering {
    Gathering::new(ProfileConfig::SAMPLE, SEED)
}

fn gather(gathering: &mut Gathering, epoch: &Epoch) {
    route(epoch, |Routed { shards, keys }, batch| {
        gathering.observe(shards, keys, batch, |record| record.value, |record| record.size as usize);
    });
}

fn roll(gathering: &mut Gathering, rolling: &mut Rolling, epoch: usize) -> Vec<Profile> {
    let mut reports = Vec::new();
    gathering.take(|shard, statistics| reports.push(report(shard, statistics)));
    rolling.advance(epoch as u64, reports)
}

fn report(shard: u32, statistics: Statistics) -> ShardEpoch {
    let width = 1u128 << 64 >> SHARDS.ilog2();
    let start = u128::from(shard) * width;
    let range = KeyRange::new(start as u64, start + width).expect("the shard is not empty");
    ShardEpoch { range, worker: 0, keys: 0, state_bytes: 0, statistics }
}

/// How far the profiles of a window of fresh records are from the truth.
fn errors(stream: &mut Stream) -> Vec<(String, Value)> {
    let epochs: Vec<Epoch> = (0..EPOCHS).map(|_| stream.epoch(RECORDS)).collect();
    let profiles = batches(&epochs.iter().collect::<Vec<_>>());
    let (last, all) = (Truth::of(&epochs[EPOCHS - 1..]), Truth::of(&epochs));
    let distinct = truth::distinct_errors(stream, |epoch| batches(&[epoch]));
    println!(
        "distinct keys: {} shards, {:.0} keys on average, p50 {:.2} %, p99 {:.2} %, and of the window {:.2} % at most",
        distinct.shards,
        distinct.keys,
        100.0 * distinct.p50,
        100.0 * distinct.p99,
        100.0 * all.distinct_error(&profiles),
    );
    let missed = all.missed(&profiles);
    println!("keys with a thousandth of their shard's records in the window: {}, missed: {missed}", all.notable());
    vec![
        Verdict::at_most("mean", last.mean_error(&profiles), MAX_MOMENT_ERROR).tell(),
        Verdict::at_most("deviation", last.deviation_error(&profiles), MAX_MOMENT_ERROR).tell(),
        Verdict::at_most("distinct p99", distinct.p99, MAX_DISTINCT_ERROR).tell(),
        Verdict::at_most("missed keys", missed as f64, 0.0).tell(),
        Verdict::at_least("health", truth::health_correlation(&epochs[EPOCHS - 1], &profiles), MIN_CORRELATION).tell(),
    ]
}
