//! What workers tell of an epoch, whichever way and however late: as it was at the epoch's end, and once.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use crate::common::counting::counted;
use crate::common::{Channels, Random, RandomPolicy, drive, timely_config};
use thalweg::keyed::{Context, Report};
use thalweg::observe::{EpochEvent, Event};
use thalweg::orchestrate::{Orchestrator, Space};
use thalweg::policy::{Policy, Script, Sight, View};
use thalweg::profile::{CountedShards, Profile, ProfileConfig, Sampler, ShardCount, ShardEpoch, Statistics};
use thalweg::{Assignment, Command, Config, KeyRange, Rebalance, stable_hash};
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

/// Decides as another policy, and keeps the sums of what profiles say: the epoch, records, keys, bytes.
struct Sums<P>(P, Arc<Mutex<Vec<[u64; 4]>>>);

impl<P: Policy> Policy for Sums<P> {
    fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        let sum = |of: fn(&Profile) -> u64| view.profiles.iter().map(of).sum::<u64>();
        let sums = [view.epoch, sum(|p| p.last.records), sum(|p| p.keys), sum(|p| p.state_bytes)];
        self.1.lock().unwrap().push(sums);
        self.0.decide(view)
    }

    fn sight(&self) -> Sight {
        Sight::Epoch
    }
}

/// Does nothing.
struct Idle;

impl Policy for Idle {
    fn decide(&mut self, _: &View<'_>) -> Vec<Command> {
        Vec::new()
    }
}

fn described(keys: u64, state_bytes: u64) -> Report {
    let (mut statistics, mut sampler) = (Statistics::default(), Sampler::new(1.0, 0));
    (0..5).for_each(|key| _ = statistics.observe(key, 1.0, 8, &mut sampler));
    Report::Shards(vec![ShardEpoch { range: KeyRange::ALL, worker: 0, keys, state_bytes, statistics }])
}

/// What a policy sees of these reports of two operators of one key space.
fn seen(reports: Vec<(usize, Report)>) -> Vec<[u64; 4]> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (initial, policy) = (Assignment::even(1, 1).unwrap(), Box::new(Sums(Idle, Arc::clone(&seen))));
    let space = Space { name: "keys".into(), initial, policy, known: BTreeMap::new(), can_fold: false };
    Orchestrator::new(vec![space], vec![0, 0], 1, 4).decide(0, reports, 1.0);
    seen.lock().unwrap().clone()
}

#[test]
fn states_of_two_operators_of_a_key_space_add_up() {
    assert_eq!(seen(vec![(0, described(10, 1000)), (1, described(20, 100))]), [[0, 10, 30, 1100]]);
}

#[test]
fn the_last_part_says_what_is_held_whatever_its_kind() {
    let shards = vec![ShardCount { range: KeyRange::ALL, records: 2, keys: 10 }];
    let counted = CountedShards { worker: 0, value: 1.0, size: 8, row_bytes: 100.0, records: 2, shards };
    assert_eq!(seen(vec![(0, Report::Counted(counted.clone())), (0, described(13, 1300))]), [[0, 7, 13, 1300]]);
    assert_eq!(seen(vec![(0, described(13, 1300)), (0, Report::Counted(counted))]), [[0, 7, 10, 1000]]);
}

/// Counts keys, all of which come in each epoch, which `pace` may wait for; what was decided from the epochs with
/// records.
fn events<P: Policy>(
    workers: usize,
    config: Config,
    policy: impl Fn() -> P + Send + Sync + 'static,
    (epochs, keys): (u64, u64),
    waits: impl Fn(u64) -> Option<u64> + Send + Sync + 'static,
) -> Vec<EpochEvent> {
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    drive(timely_config(workers, Channels::Moved), move |worker, stop| {
        let (index, workers) = (worker.index() as u64, worker.peers() as u64);
        let (probe, mut input, seen) = (ProbeHandle::new(), InputHandle::new(), Arc::clone(&seen));
        worker.dataflow::<u64, _, _>(|scope| {
            let stage = scope.input_from(&mut input).container::<Vec<u64>>().rebalance(&config, stable_hash).unwrap();
            let stage = stage.policy(policy()).unwrap().observe(move |event| seen.lock().unwrap().push(event.clone()));
            stage
                .fold_keyed(|key| *key, |_, count: &mut u64, _: &mut Context<'_, u64, u64, u64>| *count += 1)
                .probe_with(&probe);
        });
        for epoch in 0..epochs {
            (0..keys).filter(|key| key % workers == index).for_each(|key| input.send(key));
            input.advance_to(epoch + 1);
            worker.step();
            if let Some(until) = waits(epoch) {
                stop.step_until(worker, || !probe.less_than(&until));
            }
        }
        input.close();
        while stop.step(worker) {}
    });
    let events = events.lock().unwrap();
    let of = |event: &Event| if let Event::Epoch(event) = event { Some(event.clone()) } else { None };
    events.iter().filter_map(of).filter(|event| event.epoch < epochs).collect()
}

#[test]
fn what_is_held_is_told_as_of_the_end_of_the_epoch() {
    let (keys, shards) = (20_000, 400);
    for pre_copy in [false, true] {
        let profile = ProfileConfig { detail: 0.0, ..ProfileConfig::default() };
        let config = Config { lead: 20, shards, pre_copy, profile, ..Config::default() };
        let assignment = Assignment::even(shards, 2).unwrap();
        let leaving = assignment.iter().filter(|(_, owner)| *owner == 0).step_by(2);
        let text: String = leaving.map(|(range, _)| format!("25 move {:#x} 1\n", range.start())).collect();
        let script = move || text.parse::<Script>().unwrap();
        // Where it does not wait, epochs are over before the one before them has been told of.
        let events = events(2, config, script, (40, keys), |epoch| [0, 10].contains(&epoch).then_some(epoch + 1));
        let wrong: Vec<_> = events.iter().filter(|event| event.keys != keys).map(|e| (e.epoch, e.keys)).collect();
        assert!(events.len() == 40 && wrong.is_empty(), "pre_copy {pre_copy}: {wrong:?}");
    }
}

#[test]
fn records_that_have_waited_for_their_shard_are_told_of_besides_those_of_later_epochs() {
    let (keys, shards) = (20_000, 200);
    let profile = ProfileConfig { detail: 0.0, ..ProfileConfig::default() };
    let config = Config { lead: 4, shards, chunk_bytes: 1, pre_copy: false, profile, ..Config::default() };
    // A chunk of state is taken in at a time: other epochs go on, and are told of in turns, until all have come.
    let script = || "12 move 0 1".parse::<Script>().unwrap();
    let events = events(2, config, script, (30, keys), |epoch| [0, 10].contains(&epoch).then_some(epoch + 1));
    let wrong: Vec<_> = events.iter().filter(|event| event.records != keys).map(|e| (e.epoch, e.records)).collect();
    assert!(events.len() == 30 && wrong.is_empty(), "{wrong:?}");
}

#[test]
fn all_is_told_once_under_any_commands() {
    let keys = 3_000;
    for seed in 0..20u64 {
        let detail = if seed % 3 == 0 { 0.0 } else { 0.05 };
        let profile = ProfileConfig { detail, ..ProfileConfig::default() };
        let (lead, pre_copy) = (1 + seed % 4, seed % 2 == 0);
        let config = Config { lead, shards: 20, chunk_bytes: 300, pre_copy, profile, ..Config::default() };
        let sums = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&sums);
        let policy = move || {
            let random = RandomPolicy { random: Random(seed), keys, commands: 4, checkpoint_every: 0 };
            Sums(random, Arc::clone(&told))
        };
        let waits = move |epoch: u64| (seed % 2 == 0).then(|| epoch.saturating_sub(2));
        let events = events(3, config, policy, (20, keys), waits);
        assert!(events.len() == 20 && events.iter().all(|event| event.records == keys), "seed {seed}: {events:?}");
        let sums: Vec<_> = sums.lock().unwrap().iter().copied().filter(|[epoch, ..]| *epoch < 20).collect();
        let is_all = |[_, records, held, _]: &[u64; 4]| (*records, *held) == (keys, keys);
        assert!(sums.len() == 20 && sums.iter().all(is_all), "seed {seed}: {sums:?}");
    }
}

#[test]
fn shards_are_told_of_in_turns_however_soon_the_next_epochs_come() {
    let (shards, epochs) = (40_000, 5);
    timely::execute_directly(move |worker| {
        let (mut input, probe, told) = (InputHandle::new(), ProbeHandle::new(), Rc::new(Cell::new(0)));
        let assignment = Assignment::even(shards, 1).unwrap();
        let keys: Vec<u64> = assignment.iter().map(|(range, _)| range.start()).collect();
        worker.dataflow::<u64, _, _>(|scope| {
            let told = Rc::clone(&told);
            let counting = counted(scope.input_from(&mut input).container::<Vec<u64>>(), assignment);
            let reports = counting.unwrap().reports;
            reports.inspect(move |report| told.set(told.get() + shards_of(report))).probe_with(&probe);
        });
        for epoch in 0..epochs {
            keys.iter().for_each(|key| input.send(*key));
            input.advance_to(epoch + 1);
        }
        input.close();
        let (mut all, mut most) = (0, 0);
        while !probe.done() {
            worker.step();
            let step = told.take();
            (all, most) = (all + step, most.max(step));
        }
        assert_eq!(all, epochs as usize * shards);
        assert!(most < shards / 8, "{most} shards told of in one step");
    });
}

/// How many shards a report tells of.
fn shards_of(report: &Report) -> usize {
    match report {
        Report::Counted(counted) => counted.shards.len(),
        Report::Shards(shards) => shards.len(),
        _ => 0,
    }
}
