//! Batches of all shards against each shard's records one by one.

use super::*;

/// The statistics by shard that batches of these lengths give. Records are (shard, record).
fn gathered(records: &[(u32, Record)], lengths: &[usize], alike: bool, share: f64) -> BTreeMap<u32, Statistics> {
    let mut gathering = Gathering::new(share, 1);
    gather(&mut gathering, records, lengths, alike)
}

/// The same of the next epoch.
fn gather(
    gathering: &mut Gathering,
    records: &[(u32, Record)],
    lengths: &[usize],
    alike: bool,
) -> BTreeMap<u32, Statistics> {
    let (mut rest, mut lengths) = (records, lengths.iter().cycle());
    while !rest.is_empty() {
        let (batch, after) = rest.split_at((*lengths.next().unwrap()).min(rest.len()));
        let shards: Vec<u32> = batch.iter().map(|(shard, _)| *shard).collect();
        let keys: Vec<u64> = batch.iter().map(|(_, r)| r.key).collect();
        match batch {
            [(_, first), ..] if alike => gathering.observe_alike(&shards, &keys, first.value, first.size),
            _ => gathering.observe(&shards, &keys, batch, |(_, r)| r.value, |(_, r)| r.size),
        }
        rest = after;
    }
    // Of a shard whose time is told more is known than a count.
    records.iter().for_each(|(shard, _)| gathering.add_busy(*shard, 100));
    let mut taken = BTreeMap::new();
    gathering.take(|shard, statistics| {
        assert!(taken.last_key_value().is_none_or(|(last, _)| *last < shard));
        taken.insert(shard, statistics);
    });
    gathering.take(|shard, _| panic!("{shard} has been taken"));
    taken
}

/// By shard, record by record.
fn one_by_one(records: &[(u32, Record)]) -> BTreeMap<u32, Statistics> {
    let mut shards: BTreeMap<u32, Vec<Record>> = BTreeMap::new();
    records.iter().for_each(|(shard, record)| shards.entry(*shard).or_default().push(*record));
    shards.into_iter().map(|(shard, records)| (shard, statistics(&records, 1.0, 7))).collect()
}

fn odd(value: f64) -> impl Strategy<Value = f64> {
    prop_oneof![20 => Just(value), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => Just(f64::MAX)]
}

proptest! {
    #[test]
    fn batches_are_as_many_records(
        records in prop::collection::vec((prop::sample::select(vec![0, 3, 3, 3, 70_000]), record()), 0..6_000),
        with_odd: bool, odds in prop::collection::vec(odd(1.0), 100),
        lengths in prop::collection::vec(1..2_000usize, 1..5),
    ) {
        let mut records: Vec<(u32, Record)> = records;
        for ((_, record), odd) in records.iter_mut().zip(odds.iter().cycle()).filter(|_| with_odd) {
            record.value = if *odd == 1.0 { record.value } else { *odd };
        }
        let (batches, single) = (gathered(&records, &lengths, false, 1.0), one_by_one(&records));
        prop_assert!(batches.keys().eq(single.keys()));
        for (ours, naive) in batches.values().zip(single.values()) {
            assert_same(&ours.summary(1), &naive.summary(1));
        }
    }

    /// Batches of records that are alike, but in some cases not the same in all batches.
    #[test]
    fn alike_batches_are_as_many_records(
        records in prop::collection::vec((0..4u32, 0..300u64), 0..6_000),
        kinds in prop::collection::vec((prop::sample::select(vec![1.0, -7e9, f64::NAN]), 0..99usize), 1..3),
    ) {
        const BATCH: usize = 700;
        let record = |(i, (shard, key)): (usize, &(u32, u64))| {
            let (value, size) = kinds[i / BATCH % kinds.len()];
            (*shard, Record { key: *key, value, size })
        };
        let records: Vec<(u32, Record)> = records.iter().enumerate().map(record).collect();
        let (batches, single) = (gathered(&records, &[BATCH], true, 1.0), one_by_one(&records));
        prop_assert!(batches.keys().eq(single.keys()));
        for (ours, naive) in batches.values().zip(single.values()) {
            assert_same(&ours.summary(1), &naive.summary(1));
        }
    }
}

/// What of a summary takes in every record, whether its shard is looked at or not.
fn counted(summary: &Summary) -> Summary {
    let sizes = Sizes { p50: 0, p99: 0, ..summary.sizes };
    Summary { distinct: 0.0, skew: 0.0, heavy: Vec::new(), sample: Vec::new(), sizes, ..summary.clone() }
}

proptest! {
    #[test]
    fn shards_that_are_only_counted_are_counted_exactly(
        epochs in prop::collection::vec(prop::collection::vec((0..60u32, record()), 0..3_000), 1..4),
        heavy in prop::collection::vec(0..60u32, 4), odds in prop::collection::vec(odd(1.0), 100),
        alike: bool, length in 1..2_000usize, detail in prop::sample::select(vec![0.02, 0.1, 1.0]),
    ) {
        let mut gathering = Gathering::new(1.0, 1).with_detail(detail);
        for mut records in epochs {
            for (i, (shard, record)) in records.iter_mut().enumerate() {
                *shard = if i % 3 == 0 { heavy[i / 3 % heavy.len()] } else { *shard };
                record.value = if odds[i % 100] == 1.0 { record.value } else { odds[i % 100] };
                *record = if alike { Record { value: 2.5, size: 7, ..*record } } else { *record };
            }
            let (ours, naive) = (gather(&mut gathering, &records, &[length], alike), one_by_one(&records));
            prop_assert!(ours.keys().eq(naive.keys()));
            for (ours, naive) in ours.values().zip(naive.values()) {
                assert_same(&counted(&ours.summary(1)), &counted(&naive.summary(1)));
            }
        }
    }
}

#[test]
fn shards_are_looked_at_once_they_are_heavy() {
    let mut gathering = Gathering::new(1.0, 1).with_detail(0.1);
    let records = |shards: &[(u32, u64)]| -> Vec<(u32, Record)> {
        let most = shards.iter().map(|(_, records)| *records).max().unwrap();
        let round = |key| shards.iter().filter(move |(_, records)| key < *records).map(move |(shard, _)| (*shard, key));
        (0..most).flat_map(round).map(|(shard, key)| (shard, Record { key, value: 1.0, size: 1 })).collect()
    };
    let mut epoch = |shards: &[(u32, u64)]| -> Vec<(u32, u64, f64)> {
        let taken = gather(&mut gathering, &records(shards), &[100], true);
        let summaries = taken.iter().map(|(shard, statistics)| (*shard, statistics.summary(1)));
        summaries.map(|(shard, summary)| (shard, summary.records, summary.distinct)).collect()
    };
    epoch(&[(0, 2_000), (1, 100), (2, 100)]);
    let seen = epoch(&[(0, 2_000), (1, 100), (2, 1_000), (3, 20)]);
    assert!((seen[0].2 / 2_000.0 - 1.0).abs() < 0.05, "heavy before, so from the first record on: {seen:?}");
    assert_eq!((seen[1], seen[3]), ((1, 100, 0.0), (3, 20, 0.0)), "light");
    assert!((seen[2].2 / 780.0 - 1.0).abs() < 0.05, "heavy once it has a tenth of 2,200: {seen:?}");
    let seen = epoch(&[(0, 100), (1, 100), (2, 100), (3, 100)]);
    assert!(seen[0].2 > 90.0 && seen[2].2 > 90.0 && seen[1].2 == 0.0 && seen[3].2 == 0.0, "{seen:?}");
}

#[test]
fn what_is_told_of_a_shard_that_was_counted_adds_to_its_count() {
    let mut gathering = Gathering::new(1.0, 1).with_detail(1.0);
    let mut epoch = |busy: &[u32], measured: bool| -> Vec<(u32, u64, u64, f64)> {
        let shards: Vec<u32> = (0..600).map(|i| i % 3).collect();
        let keys: Vec<u64> = (0..600).collect();
        for (i, (shards, keys)) in shards.chunks(200).zip(keys.chunks(200)).enumerate() {
            if measured && i == 2 {
                gathering.observe(shards, keys, shards, |_| 8.0, |_| 4);
            } else {
                gathering.observe_alike(shards, keys, 2.0, 16);
            }
            busy.iter().for_each(|shard| gathering.add_busy(*shard, 10));
        }
        let mut taken = Vec::new();
        gathering.take(|shard, statistics| {
            let Summary { records, busy_nanos, mean, .. } = statistics.summary(1);
            taken.push((shard, records, busy_nanos, mean));
        });
        taken
    };
    epoch(&[], false);
    assert_eq!(epoch(&[], false), [0, 1, 2].map(|shard| (shard, 200, 0, 2.0)));
    assert_eq!(epoch(&[1], false), [(0, 200, 0, 2.0), (1, 200, 30, 2.0), (2, 200, 0, 2.0)]);
    let taken = epoch(&[1, 5], true);
    assert!(taken.iter().map(|(shard, records, ..)| (*shard, *records)).eq([(0, 200), (1, 200), (2, 200), (5, 0)]));
    let mean = taken.iter().map(|(_, records, _, mean)| *records as f64 * mean).sum::<f64>() / 600.0;
    assert!((mean - 4.0).abs() < 1e-9, "{taken:?}");
}

#[test]
fn what_is_taken_piece_by_piece_is_what_there_was() {
    let records: Vec<(u32, Record)> =
        (0..9_000).map(|i| (i % 997 * (i % 3), Record { key: i.into(), value: 1.0, size: 8 })).collect();
    let mut gathering = Gathering::new(1.0, 1).with_detail(0.1);
    gather(&mut gathering, &records, &[700], true);
    let whole = gather(&mut gathering, &records, &[700], true);
    let (shards, keys): (Vec<u32>, Vec<u64>) = records.iter().map(|(shard, record)| (*shard, record.key)).unzip();
    gathering.observe_alike(&shards, &keys, 1.0, 8);
    let mut set_aside = gathering.turn_over();
    let (mut pieces, mut count) = (BTreeMap::new(), 0);
    while set_aside.first().is_some() {
        gathering.observe_alike(&shards[..50], &keys[..50], 1.0, 8);
        let alike = set_aside.alike();
        pieces.extend(set_aside.take_some(100, 10).into_statistics(alike));
        count += 1;
    }
    assert!(count > 10 && pieces.keys().eq(whole.keys()));
    assert!(pieces.values().zip(whole.values()).all(|(ours, whole)| ours.records() == whole.records()));
    gathering.reuse(set_aside);
    let mut later = 0;
    gathering.take(|_, statistics| later += statistics.records());
    assert_eq!(later, 50 * count);
}

#[test]
fn a_shard_that_is_looked_at_sees_its_own_records_among_those_of_others() {
    let mut random = Random::new(1);
    let mut record = |i: u64| {
        let shard = if i.is_multiple_of(3) { 2 + random.below(50) } else { random.below(2) };
        let key = shard * 1_000 + random.below(300);
        (shard as u32, Record { key, value: key as f64, size: key as usize })
    };
    let records: Vec<(u32, Record)> = (0..20_000).map(&mut record).collect();
    let mut gathering = Gathering::new(1.0, 1).with_detail(0.1);
    gather(&mut gathering, &records, &[700], false);
    let (ours, naive) = (gather(&mut gathering, &records, &[700], false), one_by_one(&records));
    assert!(ours.keys().eq(naive.keys()));
    for shard in [0, 1] {
        assert_same(&ours[&shard].summary(1), &naive[&shard].summary(1));
    }
    assert!(ours.range(2..).all(|(_, statistics)| statistics.summary(1).distinct == 0.0));
}

#[test]
fn shards_beyond_those_that_can_be_looked_at_are_counted() {
    let shards = details::MOST as u64 + 20;
    let record = |i: u64| ((i % shards) as u32, Record { key: i, value: 1.0, size: 8 });
    let records: Vec<(u32, Record)> = (0..100 * shards).map(record).collect();
    let summaries: Vec<Summary> = gathered(&records, &[1_024], true, 1.0).values().map(|s| s.summary(1)).collect();
    assert!(summaries.iter().all(|summary| summary.records == 100));
    let counted = summaries.iter().filter(|summary| summary.distinct == 0.0 && summary.sample.is_empty());
    assert_eq!(counted.count(), 20);
}

#[test]
fn heavy_shards_are_known_by_their_new_numbers() {
    let mut gathering = Gathering::new(1.0, 1).with_detail(0.1);
    let record = |key| (2, Record { key, value: 1.0, size: 1 });
    let distinct = |gathering: &mut Gathering, shard: u32| {
        let records: Vec<_> = (0..2_000).map(record).map(|(_, record)| (shard, record)).collect();
        gather(gathering, &records, &[100], true)[&shard].summary(1).distinct
    };
    distinct(&mut gathering, 2);
    gathering.renumber(|shard| shard + 5);
    assert!(distinct(&mut gathering, 7) > 1_950.0, "from the first record on");
    assert!(distinct(&mut gathering, 1) < 1_850.0, "once it has a tenth");
}

#[test]
fn what_is_left_of_an_epoch_does_not_hide_what_is_heavy() {
    let mut gathering = Gathering::new(1.0, 1).with_detail(0.1);
    let of = |shard: u32, keys: u64| (0..keys).map(move |key| (shard, Record { key, value: 1.0, size: 1 }));
    let mut distinct = |records: Vec<(u32, Record)>, shard: u32| {
        gather(&mut gathering, &records, &[100], true)[&shard].summary(1).distinct
    };
    distinct(of(2, 2_000).collect(), 2);
    distinct(of(2, 10).collect(), 2);
    assert!(distinct(of(2, 2_000).collect(), 2) > 1_950.0, "from the first record on");
    distinct(of(2, 10).collect(), 2);
    assert_eq!(distinct(of(3, 90).collect(), 3), 0.0, "a tenth of what there was is more");
}

#[test]
fn a_zipf_stream_in_batches_is_described() {
    let stream = zipf(300_000, 200_000, 3);
    let records: Vec<(u32, Record)> = stream.iter().map(|r| (0, *r)).collect();
    let taken = gathered(&records, &[1_024], false, ProfileConfig::SAMPLE);
    let summary = Summary { busy_nanos: 30_000_000, ..taken[&0].summary(1) };
    assert_eq!(taken[&0].busy_nanos(), 30_000_000);
    assert_describes(&summary, &stream);
}
