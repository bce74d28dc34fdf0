//! The profile operator over the public API, on one and several workers, against the naive definition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use thalweg::profile::{Profile, ProfileConfig, ProfileStream, health};
use thalweg::{Assignment, Epochs, Error, KeyRange, stable_hash};
use timely::CommunicationConfig;
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

#[derive(Clone, Copy)]
struct Record {
    epoch: u64,
    worker: usize,
    key: u64,
    value: f64,
}

const SIZE: usize = 24;

/// Epochs of which every worker sees every shard, epochs in which only worker 0 sees the first half of the key space,
/// and an epoch without a record.
fn input(workers: usize) -> Vec<Record> {
    let mut records = Vec::new();
    for epoch in (0..12).filter(|epoch| *epoch != 5) {
        for i in 0..600u64 {
            let key = if i % 5 == 0 { stable_hash(&7u64) } else { stable_hash(&(i % 50)) };
            let (worker, value) = ((i / 5) as usize % workers, 1e6 + (i % 100) as f64 + epoch as f64);
            if epoch % 4 != 1 {
                records.push(Record { epoch, worker, key, value });
            } else if key < 1 << 63 {
                records.push(Record { epoch, worker: 0, key, value });
            }
        }
    }
    records
}

/// Runs the operator on these workers' records; the profiles with their times, in order.
fn profiles(
    communication: CommunicationConfig,
    config: ProfileConfig,
    assignment: Assignment,
    records: Vec<Record>,
) -> Vec<(u64, Profile)> {
    let (sender, receiver) = mpsc::channel();
    let timely = timely::Config { communication, worker: timely::WorkerConfig::default() };
    let guards = timely::execute(timely, move |worker| {
        let (sender, probe) = (sender.clone(), ProbeHandle::new());
        let mut input = InputHandle::new();
        worker.dataflow::<u64, _, _>(|scope| {
            scope
                .input_from(&mut input)
                .container::<Vec<Record>>()
                .profile_sized(&config, Epochs::default(), &assignment, |r| r.key, |r| r.value, |_| SIZE)
                .unwrap()
                .inspect_core(move |event| {
                    if let Ok((stamp, profiles)) = event {
                        let time = *stamp.expect_singleton();
                        profiles.iter().for_each(|p| sender.send((time, p.clone())).unwrap());
                    }
                })
                .probe_with(&probe);
        });
        let index = worker.index();
        for record in records.iter().filter(|r| r.worker == index) {
            input.advance_to(record.epoch);
            input.send(*record);
        }
        input.close();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !probe.done() {
            assert!(Instant::now() < deadline, "the dataflow does not end");
            worker.step_or_park(Some(Duration::from_millis(10)));
        }
    });
    guards.unwrap().join().into_iter().for_each(|result| result.unwrap());
    let mut all: Vec<(u64, Profile)> = receiver.iter().collect();
    all.sort_by_key(|(time, profile)| (*time, profile.range));
    all
}

/// What is known of one shard from these records.
fn check_figures(summary: &thalweg::profile::Summary, records: &[&Record]) {
    let total = records.len() as f64;
    let mean = records.iter().map(|r| r.value).sum::<f64>() / total;
    let deviation = (records.iter().map(|r| (r.value - mean).powi(2)).sum::<f64>() / total).sqrt();
    assert_eq!(summary.records, records.len() as u64);
    assert!((summary.mean - mean).abs() < 1e-6 && (summary.deviation - deviation).abs() < 1e-6);
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    records.iter().for_each(|r| *counts.entry(r.key).or_default() += 1);
    assert!((summary.distinct / counts.len() as f64 - 1.0).abs() < 0.05);
    let most = counts.values().max().unwrap();
    assert!((summary.heavy[0].share - *most as f64 / total).abs() < 1e-9);
    assert_eq!(counts[&summary.heavy[0].key], *most);
    assert_eq!((summary.sizes.max, summary.sizes.p50, summary.sizes.mean), (24, 24, 24.0));
    assert!(summary.sample.iter().all(|key| counts.contains_key(key)));
}

fn check(communication: CommunicationConfig, workers: usize) {
    const WINDOW: u64 = 3;
    let config = ProfileConfig { window: WINDOW as usize, sample: 1.0, ..ProfileConfig::default() };
    let assignment = Assignment::even(4, workers).unwrap();
    let records = input(workers);
    let profiles = profiles(communication, config, assignment.clone(), records.clone());

    let range = |key| assignment.range(assignment.find(key));
    let expected: BTreeSet<(u64, KeyRange)> = records.iter().map(|r| (r.epoch, range(r.key))).collect();
    assert!(profiles.iter().map(|(time, p)| (*time, p.range)).eq(expected), "one per live shard and epoch");

    for (time, profile) in &profiles {
        let of_shard = |r: &&Record| range(r.key) == profile.range;
        let last: Vec<&Record> = records.iter().filter(of_shard).filter(|r| r.epoch == *time).collect();
        let first = (time + 1).saturating_sub(WINDOW);
        let rolling: Vec<&Record> =
            records.iter().filter(of_shard).filter(|r| (first..=*time).contains(&r.epoch)).collect();
        check_figures(&profile.last, &last);
        check_figures(&profile.rolling, &rolling);
        let all = records.iter().filter(|r| r.epoch == *time).count();
        assert_eq!(profile.epoch, *time);
        assert_eq!(profile.health, health(last.len() as f64, all as f64 / workers as f64));
        let seen_by = |worker| last.iter().filter(|r| r.worker == worker).count();
        assert_eq!(seen_by(profile.worker), (0..workers).map(seen_by).max().unwrap());
    }
}

#[test]
fn one_worker() {
    check(CommunicationConfig::Thread, 1);
}

#[test]
fn three_workers_that_see_the_same_shards() {
    check(CommunicationConfig::Process(3), 3);
}

#[test]
fn three_workers_with_everything_on_the_wire() {
    check(CommunicationConfig::ProcessBinary(3), 3);
}

#[test]
fn an_idle_shard_and_an_idle_epoch_yield_nothing() {
    let assignment = Assignment::even(2, 2).unwrap();
    let record = |epoch, key| Record { epoch, worker: 0, key, value: 1.0 };
    let records = vec![record(0, 1), record(0, u64::MAX), record(1, 1), record(3, u64::MAX)];
    let profiles = profiles(CommunicationConfig::Process(2), ProfileConfig::default(), assignment, records);
    let seen: Vec<_> =
        profiles.iter().map(|(time, p)| (*time, p.range.contains(1), p.last.records, p.rolling.records)).collect();
    assert_eq!(seen, [(0, true, 1, 1), (0, false, 1, 1), (1, true, 1, 2), (3, false, 1, 2)]);
    assert_eq!(profiles[3].1.rolling.epochs, 4);
}

#[test]
fn a_configuration_that_cannot_be_is_an_error() {
    let refused = timely::execute_directly(|worker| {
        let mut input = InputHandle::new();
        let config = ProfileConfig { window: 0, sample: 1.0, ..ProfileConfig::default() };
        let assignment = Assignment::even(2, 1).unwrap();
        worker.dataflow::<u64, _, _>(|scope| {
            let stream = scope.input_from(&mut input).container::<Vec<u64>>();
            let result = stream.profile(&config, Epochs::default(), &assignment, |i| *i, |_| 0.0);
            input.close();
            result.err()
        })
    });
    assert!(matches!(refused, Some(Error::Usage { .. })));
}
