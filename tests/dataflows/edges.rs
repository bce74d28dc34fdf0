//! What lies at the edges: the last times there are, many timers at one time, configurations that do not fit.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{Channels, Run, drive, timely_config};
use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Fingerprint, Manifest, Memory};
use thalweg::keyed::{Context, Fault};
use thalweg::observe::Event;
use thalweg::policy::{Policy, Script, View};
use thalweg::windows::{Gap, Late, Windows};
use thalweg::{Command, Config, DivideLate, Epochs, Error, Loop, Rebalance, RoutingError, Ticks, stable_hash};
use timely::dataflow::operators::{Capture, Input, Inspect, Probe, ToStream, capture::Extract};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::progress::timestamp::Refines;

fn checkpoints(store: &Memory) -> Checkpoints {
    let config = CheckpointConfig { trigger: "every:3".parse().unwrap(), ..CheckpointConfig::default() };
    Checkpoints::resume(Arc::new(store.clone()), Fingerprint::default(), config).unwrap()
}

#[test]
fn a_checkpoint_of_epochs_of_another_length_is_refused() {
    let store = Memory::default();
    Run { epochs: 12, ..Run::default() }.outputs(Some(&checkpoints(&store)));
    let resume = checkpoints(&store);
    assert!(resume.epoch() > 0);
    let refused = timely::execute_directly(move |worker| {
        worker.dataflow::<u64, _, _>(|scope| {
            let config = Config { epochs: Epochs::of(10).unwrap(), ..Config::default() };
            Loop::new(scope, &config).unwrap().checkpoint_to(&resume, &Fault::new()).unwrap_err()
        })
    });
    assert!(matches!(refused, Error::Incompatible { .. }), "{refused:?}");
    assert!(refused.to_string().contains("its epochs have 1 ticks, those of this run 10"), "{refused}");
}

/// Asks for a fold of the same key again and again.
#[derive(Clone)]
struct Folding;

impl Policy for Folding {
    fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        assert!(!view.can_fold);
        vec![Command::Fold { key: 7 }]
    }
}

#[test]
fn folds_of_what_has_no_merge_are_refused() {
    let run = Run { epochs: 6, ..Run::default() };
    let (outputs, events) = run.outputs_under(|| Folding, None);
    assert!(outputs == run.expected());
    let refused = |event: &Event| match event {
        Event::Epoch(event) => {
            assert!(event.commands.is_empty());
            event.refused == [(Command::Fold { key: 7 }, RoutingError::NoMerge { key: 7 })]
        }
        Event::Checkpoint(_) => false,
    };
    assert!(events.iter().filter(|event| refused(event)).count() >= 6);
    let known = || "3 fold 7".parse::<Script>().unwrap();
    let begin = checkpoints(&Memory::default());
    let refused = catch_unwind(AssertUnwindSafe(|| run.outputs_under(known, Some(&begin)))).unwrap_err();
    let refused = refused.downcast_ref::<String>().unwrap();
    assert!(refused.contains("is going to fold keys"), "{refused}");
}

/// More timers than are fired in one activation, while their shards move, and data at the time at which they fire.
#[test]
fn all_timers_of_a_time_fire_before_its_data() {
    const KEYS: u64 = 10_000;
    for workers in [1, 2] {
        let seen = Arc::new(Mutex::new(BTreeMap::<u64, Vec<(u64, u64)>>::new()));
        let rows = Arc::clone(&seen);
        drive(timely_config(workers, Channels::Moved), move |worker, stop| {
            let (mut input, rows, index) = (InputHandle::new(), Arc::clone(&rows), worker.index() as u64);
            let peers = worker.peers() as u64;
            worker.dataflow::<u64, _, _>(|scope| {
                let to = peers as usize - 1;
                let script = format!("5 move 0 {to}\n 5 move 0x8000000000000000 0\n 6 move 0 0\n");
                scope
                    .input_from(&mut input)
                    .container::<Vec<u64>>()
                    .rebalance(&Config { shards: 2, ..Config::default() }, stable_hash)
                    .unwrap()
                    .policy(script.parse::<Script>().unwrap())
                    .unwrap()
                    .keyed(
                        |key| *key,
                        |key, fired: &mut u64, context: &mut Context<'_, u64, u64, (u64, u64, u64)>| {
                            context.schedule(&5);
                            context.give((*context.time(), key, *fired));
                        },
                        |fired, _| *fired += 1,
                    )
                    .inspect(move |(at, key, fired)| rows.lock().unwrap().entry(*at).or_default().push((*key, *fired)));
            });
            for epoch in [0, 5, 6] {
                input.advance_to(epoch);
                (0..KEYS).filter(|key| key % peers == index).for_each(|key| input.send(key));
            }
            input.close();
            while stop.step(worker) {}
        });
        let mut seen = seen.lock().unwrap();
        for (at, fired) in [(0, 0), (5, 1), (6, 2)] {
            let rows = seen.get_mut(&at).unwrap();
            rows.sort_unstable();
            assert!(rows.iter().copied().eq((0..KEYS).map(|key| (key, fired))), "{workers} workers, at {at}");
        }
    }
}

/// Counts records at the last times there are, with timers at the very last.
fn at_the_end<T: Ticks + Refines<()> + Sync>(epochs: u64, times: [T; 3]) -> Vec<(T, u64)> {
    let captured = timely::execute_directly(move |worker| {
        let (mut input, probe) = (InputHandle::new(), ProbeHandle::new());
        let captured = worker.dataflow::<T, _, _>(|scope| {
            let config = Config { epochs: Epochs::of(epochs).unwrap(), ..Config::default() };
            scope
                .input_from(&mut input)
                .container::<Vec<u64>>()
                .rebalance(&config, stable_hash)
                .unwrap()
                .keyed(
                    |_| (),
                    |_, count: &mut u64, context: &mut Context<'_, T, (), u64>| {
                        *count += 1;
                        context.give(*count);
                        context.schedule(&T::latest());
                    },
                    |count, context| context.give(100 + *count),
                )
                .probe_with(&probe)
                .capture()
        });
        for time in times {
            input.advance_to(time);
            input.send(1);
        }
        input.close();
        while !probe.done() {
            worker.step_or_park(None);
        }
        captured
    });
    captured
        .extract()
        .into_iter()
        .flat_map(|(time, rows)| rows.into_iter().map(move |row| (time.clone(), row)))
        .collect()
}

#[test]
fn the_last_times_there_are_can_be_used() {
    for epochs in [1, 1000] {
        let [first, second] = [Duration::from_secs(600 * 366 * 86_400), Duration::MAX - Duration::from_nanos(1)];
        let rows = at_the_end(epochs, [first, second, Duration::MAX]);
        assert_eq!(rows, [(first, 1), (second, 2), (Duration::MAX, 3)], "they are one tick, which has no timers");
        let [first, second] = [u32::MAX - 1000, u32::MAX - 1];
        let rows = at_the_end(epochs, [first, second, u32::MAX]);
        assert_eq!(rows, [(first, 1), (second, 2), (u32::MAX, 3), (u32::MAX, 102)]);
    }
}

/// What is in time of a stream of its timestamps, and what is late, where event times lie behind by so much.
fn divided(windowing: impl thalweg::windows::Windowing + Send + Sync, behind: u64) -> (Vec<u64>, Vec<u64>) {
    timely::execute_directly(move |worker| {
        let mut input = InputHandle::new();
        let (in_time, late) = worker.dataflow::<u64, _, _>(|scope| {
            let times = scope.input_from(&mut input).container::<Vec<u64>>();
            let (in_time, late) =
                times.divide_late(windowing, Epochs::of(5).unwrap(), move |time| time.saturating_sub(behind));
            (in_time.capture(), late.capture())
        });
        for time in 0..40 {
            input.advance_to(time);
            input.send(time);
        }
        input.close();
        while worker.step() {}
        let all = |captured: std::sync::mpsc::Receiver<_>| {
            captured.extract().into_iter().flat_map(|(_, times): (u64, Vec<u64>)| times).collect()
        };
        (all(in_time), all(late))
    })
}

#[test]
fn late_records_are_taken_out() {
    assert_eq!(divided(Windows::tumbling(10).unwrap(), 0), ((0..40).collect(), vec![]));
    let late = |time: &u64| (time.saturating_sub(7) / 10 + 1) * 10 <= time / 5 * 5;
    let expected: (Vec<u64>, Vec<u64>) = (0..40).partition(|time| !late(time));
    assert!(!expected.1.is_empty());
    assert_eq!(divided(Windows::tumbling(10).unwrap(), 7), expected);
    assert_eq!(divided(Windows::tumbling(10).unwrap().grace(10), 7), ((0..40).collect(), vec![]));
    let late = |time: &u64| time.saturating_sub(7) + 4 <= time / 5 * 5;
    assert_eq!(divided(Gap::of(4).unwrap(), 7), (0..40).partition(|time| !late(time)));
}

/// A window that is open when the input ends is given; top-k of what was given together.
#[test]
fn the_greatest_of_each_window_are_given() {
    let rows = timely::execute_directly(|worker| {
        worker.dataflow::<u64, _, _>(|scope| {
            let config = Config { shards: 4, ..Config::default() };
            let bids = [(1, 3), (2, 4), (1, 8), (2, 12), (3, 14), (3, 15)];
            let bids = bids.to_stream(scope).container::<Vec<(u64, u64)>>();
            let windows = Windows::tumbling(10).unwrap();
            let counts = bids.rebalance(&config, |bid| stable_hash(&bid.0)).unwrap();
            let counts = counts.windowed(windows, |bid| bid.1, Late::Drop).count(|bid| bid.0);
            let top = counts.rebalance(&config, |row| stable_hash(&row.0.start)).unwrap();
            top.top_k(1, |row| row.0.start, |(_, auction, bids)| (bids, !auction)).capture()
        })
    });
    let rows: Vec<_> = rows.extract().into_iter().flat_map(|(_, rows)| rows).collect();
    assert_eq!(rows, [(0, vec![(2, !1)]), (10, vec![(2, !3)])]);
}

/// Takes in three keys with a timer far ahead, from the first epoch that is not in the checkpoint, and is given up when
/// there is another one.
fn far_ahead<T: Ticks + Refines<()> + Sync>(store: &Memory, at: u64) -> Result<(), Error> {
    let (checkpoints, store) = (checkpoints(store), store.clone());
    timely::execute_directly(move |worker| {
        let (mut input, fault, probe) = (InputHandle::new(), Fault::new(), ProbeHandle::new());
        worker.dataflow::<T, _, _>(|scope| {
            let stage = scope.input_from(&mut input).container::<Vec<u64>>().rebalance(&Config::default(), stable_hash);
            stage
                .and_then(|stage| stage.checkpoint_to(&checkpoints, &fault))
                .unwrap()
                .keyed(
                    |key| *key,
                    move |_, _: &mut u64, context: &mut Context<'_, T, u64, ()>| {
                        T::from_ticks(at).iter().for_each(|time| context.schedule(time));
                    },
                    |_, _| (),
                )
                .probe_with(&probe);
        });
        for epoch in checkpoints.epoch()..checkpoints.epoch() + 1000 {
            input.advance_to(T::from_ticks(epoch).unwrap());
            (0..3).for_each(|key| input.send(key));
            while probe.less_than(input.time()) {
                worker.step_or_park(None);
                let told = fault.check();
                if told.is_err() || !Manifest::list(&store).unwrap().is_empty() && checkpoints.epoch() == 0 {
                    worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
                    return told;
                }
            }
        }
        unreachable!("there is neither a checkpoint nor an error")
    })
}

#[test]
fn a_timer_that_the_timestamp_cannot_hold_is_told() {
    let store = Memory::default();
    far_ahead::<u64>(&store, 1 << 40).unwrap();
    let error = far_ahead::<u32>(&store, 1 << 20).unwrap_err();
    assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
    assert!(error.to_string().contains("a timer at 1099511627776"), "{error}");
}
