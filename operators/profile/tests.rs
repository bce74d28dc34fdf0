//! Statistics and windows against the naive definition.

mod gathering;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::sampler::Random;
use super::*;

#[derive(Clone, Copy, Debug)]
struct Record {
    key: u64,
    value: f64,
    size: usize,
}

fn statistics(records: &[Record], share: f64, seed: u64) -> Statistics {
    let mut sampler = Sampler::new(share, seed);
    let mut statistics = Statistics::default();
    for r in records {
        if statistics.observe(r.key, r.value, r.size, &mut sampler) {
            statistics.add_busy(100 * sampler.every());
        }
    }
    statistics
}

fn count(records: &[Record]) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    records.iter().for_each(|r| *counts.entry(r.key).or_default() += 1);
    counts
}

/// Keys 0, 1, 2, … with shares in proportion to 1, 1/2, 1/3, …, by inverting the cumulative share.
fn zipf(records: usize, keys: usize, seed: u64) -> Vec<Record> {
    let mut random = Random::new(seed);
    let cumulative: Vec<f64> = (1..=keys)
        .scan(0.0, |sum, rank| {
            *sum += 1.0 / rank as f64;
            Some(*sum)
        })
        .collect();
    let total = cumulative[keys - 1];
    let mut draw = || {
        let at = random.unit() * total;
        let key = cumulative.partition_point(|c| *c < at) as u64;
        Record { key, value: key as f64, size: 16 + (key % 100) as usize }
    };
    (0..records).map(|_| draw()).collect()
}

fn through_the_wire(statistics: &Statistics) -> Statistics {
    postcard::from_bytes(&postcard::to_allocvec(statistics).unwrap()).unwrap()
}

#[track_caller]
fn assert_describes(summary: &Summary, records: &[Record]) {
    let counts = count(records);
    let total = records.len() as f64;
    assert_eq!(summary.records, records.len() as u64);
    let near = |a: f64, b: f64, relative: f64| (a - b).abs() <= relative * b.abs();
    assert!(near(summary.mean, records.iter().map(|r| r.value).sum::<f64>() / total, 1e-9));
    assert!(near(summary.distinct, counts.len() as f64, 0.05), "{} of {}", summary.distinct, counts.len());
    assert!(near(summary.sizes.mean, records.iter().map(|r| r.size as f64).sum::<f64>() / total, 1e-9));
    assert_eq!(Some(summary.sizes.max), records.iter().map(|r| r.size as u64).max());
    let share_of = |key: u64| counts.get(&key).copied().unwrap_or_default() as f64 / total;
    for key in &summary.heavy {
        let share = share_of(key.key);
        assert!((key.share - share).abs() <= (0.1 * share).max(0.01), "{key:?} has {share}");
    }
    for (key, records) in &counts {
        let found = summary.heavy.iter().any(|heavy| heavy.key == *key);
        assert!(found || (*records as f64) < 0.03 * total, "{key} with {records} of {total} is missing");
    }
    assert!(summary.skew >= 1.0);
    assert_eq!(summary.sample.len(), records.len().min(KEY_SAMPLE));
    assert!(summary.sample.is_sorted() && summary.sample.iter().all(|key| counts.contains_key(key)));
    assert!(near(summary.busy_nanos as f64, 100.0 * total, 0.1) || total < 10_000.0);
}

#[test]
fn a_zipf_stream_is_described_whole_merged_and_sent() {
    for (records, keys, seed) in [(100_000, 1_000, 1), (300_000, 200_000, 2)] {
        let stream = zipf(records, keys, seed);
        let whole = statistics(&stream, ProfileConfig::SAMPLE, seed);
        assert_describes(&whole.summary(1), &stream);
        let mut merged = Statistics::default();
        for (i, part) in stream.chunks(records / 5).enumerate() {
            merged.merge(&through_the_wire(&statistics(part, ProfileConfig::SAMPLE, i as u64)));
        }
        assert_describes(&merged.summary(1), &stream);
        let heaviest = stream.iter().filter(|r| r.key == 0).count() as f64 / records as f64;
        let skew = heaviest * count(&stream).len() as f64;
        assert!((merged.summary(1).skew / skew - 1.0).abs() < 0.1);
    }
}

#[test]
fn equal_keys_have_no_skew_at_any_number() {
    for keys in [1, 5, 60, 64, 65, 1_000, 100_000] {
        let records: Vec<Record> =
            (0..400_000.max(keys)).map(|i| Record { key: (i * 7) % keys, value: 1.0, size: 8 }).collect();
        let summary = statistics(&records, ProfileConfig::SAMPLE, keys).summary(1);
        assert!((summary.distinct / keys as f64 - 1.0).abs() < 0.05, "{} of {keys}", summary.distinct);
        assert!((1.0..1.3).contains(&summary.skew), "{} among {keys}", summary.skew);
    }
}

#[test]
fn few_records_are_described_exactly_and_cost_little() {
    let record = |key, value, size| Record { key, value, size };
    let few = [record(9, 1.0, 10), record(4, 3.0, 30), record(9, f64::NAN, 20)];
    let statistics = statistics(&few, ProfileConfig::SAMPLE, 0);
    let summary = through_the_wire(&statistics).summary(1);
    assert_eq!((summary.records, summary.mean, summary.deviation, summary.distinct), (3, 2.0, 1.0, 2.0));
    assert_eq!(summary.heavy, [HeavyKey { key: 9, share: 2.0 / 3.0 }, HeavyKey { key: 4, share: 1.0 / 3.0 }]);
    assert_eq!(summary.sizes, Sizes { mean: 20.0, p50: 20, p99: 30, max: 30 });
    assert_eq!((summary.sample, summary.skew), (vec![4, 9, 9], 4.0 / 3.0));
    assert!(postcard::to_allocvec(&statistics).unwrap().len() < 100);
    assert_eq!(Statistics::default().summary(3), Summary { epochs: 3, ..Summary::default() });
}

/// What can be read in spite of damage must be fit for use.
#[test]
fn damaged_bytes_never_panic() {
    for (records, keys) in [(10, 5), (2_000, 12), (5_000, 3_000)] {
        let statistics = statistics(&zipf(records, keys, 1), 1.0, 1);
        let bytes = postcard::to_allocvec(&statistics).unwrap();
        for at in 0..bytes.len() {
            assert!(postcard::from_bytes::<Statistics>(&bytes[..at]).is_err());
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            if let Ok(damaged) = postcard::from_bytes::<Statistics>(&damaged) {
                let mut merged = statistics.clone();
                merged.merge(&damaged);
                assert!(merged.summary(1).sample.len() <= KEY_SAMPLE + damaged.summary(1).sample.len());
            }
        }
    }
}

fn record() -> impl Strategy<Value = Record> {
    (0..300u64, -1e3..1e3, 0..5_000usize).prop_map(|(key, value, size)| Record { key, value, size })
}

fn batch() -> impl Strategy<Value = Vec<Record>> {
    prop_oneof![prop::collection::vec(record(), 0..20), prop::collection::vec(record(), 0..400)]
}

/// Everything is sampled and nothing is purged, so all that does not draw lots is the same in any order of merging.
#[track_caller]
fn assert_same(ours: &Summary, naive: &Summary) {
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0);
    assert_eq!((ours.epochs, ours.records, ours.busy_nanos), (naive.epochs, naive.records, naive.busy_nanos));
    let (moments, expected) = ((ours.mean, ours.deviation), (naive.mean, naive.deviation));
    assert!(close(moments.0, expected.0) && close(moments.1, expected.1), "{moments:?} for {expected:?}");
    assert!(close(ours.distinct, naive.distinct) && close(ours.skew, naive.skew));
    assert_eq!((&ours.heavy, ours.sizes.p50, ours.sizes.p99), (&naive.heavy, naive.sizes.p50, naive.sizes.p99));
    assert_eq!((ours.sizes.max, ours.sample.len()), (naive.sizes.max, naive.sample.len()));
}

proptest! {
    #[test]
    fn merging_equals_a_single_pass(parts in prop::collection::vec(batch(), 1..6)) {
        let mut merged = Statistics::default();
        parts.iter().for_each(|part| merged.merge(&through_the_wire(&statistics(part, 1.0, 1))));
        assert_same(&merged.summary(1), &statistics(&parts.concat(), 1.0, 2).summary(1));
    }

    /// Per step: how many epochs later, and what each of two workers saw of each of two shards, if anything.
    #[test]
    fn a_window_equals_its_epochs_merged(
        window in 1..6usize,
        steps in prop::collection::vec((1..4u64, prop::array::uniform4(prop::option::of(batch()))), 1..20),
    ) {
        let (left, right) = KeyRange::ALL.split(1 << 63).unwrap();
        let mut rolling = Rolling::new(window, 2);
        let mut history: BTreeMap<KeyRange, BTreeMap<u64, Vec<Record>>> = BTreeMap::new();
        let mut epoch = 0;
        for (later, batches) in steps {
            epoch += later;
            let mut reports = Vec::new();
            for (i, batch) in batches.into_iter().enumerate() {
                let (Some(records), range, worker) = (batch, [left, right][i % 2], i / 2) else { continue };
                let statistics = statistics(&records, 1.0, epoch);
                reports.push(ShardEpoch { range, worker, keys: 1, state_bytes: 10, statistics });
                history.entry(range).or_default().entry(epoch).or_default().extend(records);
            }
            let profiles = rolling.advance(epoch, reports.clone());
            prop_assert!(profiles.is_sorted_by_key(|p| p.range));
            let live: std::collections::BTreeSet<KeyRange> = reports.iter().map(|r| r.range).collect();
            prop_assert!(profiles.iter().map(|p| p.range).eq(live));
            for profile in &profiles {
                check(profile, &reports, &history[&profile.range], window as u64);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_run_is_as_many_records(
        runs in prop::collection::vec((0..40u64, 0..300u64), 1..40), share in prop::sample::select(vec![1.0, 0.5, 0.125]),
    ) {
        let (mut one, mut many) = (Statistics::default(), Statistics::default());
        let (mut of_one, mut of_many) = (Sampler::new(share, 1), Sampler::new(share, 1));
        for (key, records) in runs {
            (0..records).for_each(|_| _ = one.observe(key, 2.5, 9, &mut of_one));
            many.observe_run(key, 2.5, 9, records, &mut of_many);
        }
        prop_assert_eq!(one.summary(1), many.summary(1));
        prop_assert_eq!(of_one.seed(), of_many.seed(), "as much chance has been used up");
    }
}

fn check(profile: &Profile, reports: &[ShardEpoch], history: &BTreeMap<u64, Vec<Record>>, window: u64) {
    let of_shard: Vec<&ShardEpoch> = reports.iter().filter(|r| r.range == profile.range).collect();
    assert_eq!((profile.keys, profile.state_bytes), (of_shard.len() as u64, of_shard.len() as u64 * 10));
    let of_worker = |worker| of_shard.iter().find(|r| r.worker == worker).map(|r| r.statistics.records());
    assert_eq!(profile.worker, usize::from(of_worker(1) > of_worker(0)));
    let total: u64 = reports.iter().map(|r| r.statistics.records()).sum();
    assert_eq!(profile.health, health(profile.last.records as f64, total as f64 / 2.0));

    assert_same(&profile.last, &statistics(&history[&profile.epoch], 1.0, 1).summary(1));
    let oldest = (profile.epoch + 1).saturating_sub(window);
    // It is known since the last report that came when the window held no other.
    let epochs: Vec<u64> = history.keys().copied().collect();
    let since = epochs.chunk_by(|a, b| b - a < window).next_back().unwrap()[0];
    let records: Vec<Record> = history.range(oldest..).flat_map(|(_, records)| records.clone()).collect();
    let naive = statistics(&records, 1.0, 1).summary(profile.epoch - oldest.max(since) + 1);
    assert_same(&profile.rolling, &naive);
}

#[test]
fn an_idle_shard_is_forgotten_after_a_window() {
    let mut rolling = Rolling::new(3, 1);
    let report = |range| {
        let statistics = statistics(&[Record { key: 1, value: 1.0, size: 1 }], 1.0, 1);
        vec![ShardEpoch { range, worker: 0, keys: 0, state_bytes: 0, statistics }]
    };
    for epoch in 0..100u64 {
        let profiles = rolling.advance(epoch, report(KeyRange::single(epoch)));
        assert_eq!((profiles.len(), profiles[0].rolling.epochs), (1, 1));
    }
    assert!(format!("{rolling:?}").matches("Shard {").count() <= 3);
    assert_eq!(rolling.advance(102, report(KeyRange::single(99)))[0].rolling.epochs, 1);
}
