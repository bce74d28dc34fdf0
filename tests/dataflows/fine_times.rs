//! Timestamps finer than an epoch: decisions are made per epoch, data keeps its times, and nothing waits for a tick.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::flow::{
    Building, Collected, Flow, Source, Timed, assert_same, before, fingerprint, from, sorted, when_commanded,
};
use crate::common::ledger::{self, Left, Right, Row};
use crate::common::{Channels, Run, drive, runs, timely_config};
use proptest::prelude::*;
use thalweg::checkpoint::{Checkpoints, Manifest, Memory};
use thalweg::observe::Event;
use thalweg::routing::gate;
use thalweg::{Assignment, Command, Config, Epochs, Rebalance, Ticks, stable_hash};
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::progress::timestamp::Refines;

/// A run over fine times.
#[derive(Clone, Debug)]
struct Fine {
    flow: Flow,
    /// Timers are at most so many ticks away.
    reach: u64,
    left: Source<Left>,
    right: Source<Right>,
}

impl Fine {
    fn expected<T: Ticks>(&self) -> Timed<Row> {
        ledger::expected_until(T::latest().ticks(), self.reach, &self.left.records, &self.right.records)
    }

    fn outputs<T: Ticks + Refines<()>>(&self) -> (Timed<Row>, Vec<Event>) {
        let outputs = Collected::default();
        let (into, fine) = (Arc::clone(&outputs), self.clone());
        let events = self.flow.execute(move |building: &mut Building<'_, T>| {
            let keys = building.looped().key_space("keys").unwrap().policy(building.policy(0)).unwrap();
            let (left, right) = (building.input(&fine.left), building.input(&fine.right));
            let rows = left.rebalance(&keys, ledger::route_left).unwrap().with(right, ledger::route_right).keyed(
                ledger::left_key,
                ledger::right_key,
                ledger::on_left(fine.reach),
                ledger::on_right(fine.reach),
                ledger::on_timer(fine.reach),
            );
            building.collect(rows, &into);
        });
        (sorted(&outputs), events)
    }
}

/// Runs over few or many ticks, in strides that are shorter or longer than an epoch.
fn cases() -> impl Strategy<Value = Fine> {
    let ticks = prop_oneof![Just(1u64), Just(7), Just(1000)];
    let records = prop_oneof![1 => Just(0), 4 => 1..400u64];
    (runs(), ticks, (1..12u64, 1..5u64), [records.clone(), records], ledger::lags(), 1..30u64).prop_map(
        |(run, ticks, (parts, whole), [lefts, rights], [left, right], reach)| {
            let (end, keys) = (run.epochs * ticks + ticks / 2, run.keys);
            let stride = if whole > 2 { ticks * (whole - 2) } else { ticks.div_ceil(parts) };
            let flow = Flow { epochs: Epochs::of(ticks).unwrap(), stride, ..Flow::new(run, end) };
            let seed = flow.run.seed;
            Fine {
                flow,
                reach: (reach * ticks).div_ceil(10),
                left: Source { records: ledger::lefts(seed, lefts, keys, end), lag: left.0, ends_early: left.1 },
                right: Source { records: ledger::rights(seed, rights, keys, end), lag: right.0, ends_early: right.1 },
            }
        },
    )
}

/// The epochs that have been decided on, in order.
fn decided(events: &[Event]) -> Vec<u64> {
    let epoch = |event: &Event| if let Event::Epoch(epoch) = event { Some(epoch.epoch) } else { None };
    events.iter().filter_map(epoch).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn outputs_keep_their_times_and_decisions_are_per_epoch(fine in cases()) {
        let (outputs, events) = fine.outputs::<u64>();
        assert_same(&outputs, &fine.expected::<u64>());
        let decided = decided(&events);
        prop_assert!(decided.is_sorted_by(|a, b| a < b), "one decision an epoch: {:?}", decided);
        let of_outputs: BTreeSet<u64> = outputs.keys().map(|at| fine.flow.epochs.number(at)).collect();
        let mut arrived: BTreeMap<u64, u64> = BTreeMap::new();
        let lefts = fine.left.records.iter().map(|(at, records)| (at, records.len()));
        for (at, records) in lefts.chain(fine.right.records.iter().map(|(at, records)| (at, records.len()))) {
            *arrived.entry(fine.flow.epochs.number(at)).or_default() += records as u64;
        }
        for event in &events {
            let Event::Epoch(event) = event else { continue };
            prop_assert_eq!(event.records, arrived.get(&event.epoch).copied().unwrap_or(0));
        }
        prop_assert!(of_outputs.iter().all(|epoch| decided.contains(epoch)), "{:?} of {:?}", decided, of_outputs);
    }

    #[test]
    fn a_resumed_run_gives_the_rest(fine in cases(), crash in 2..20u64, part in 0..7u64, then in 1..5usize) {
        let ticks = fine.flow.epochs.ticks();
        let crash = crash * ticks + part * ticks / 7;
        let run = Run { checkpoint_every: 2, crash_at: Some(crash), ..fine.flow.run };
        let fine = Fine { flow: Flow { run: run.clone(), ..fine.flow.clone() }, ..fine };
        let store = Memory::default();
        let begin = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), when_commanded()).unwrap();
        let first = Fine { flow: fine.flow.clone().checkpointed(&begin), ..fine.clone() };
        let expected = fine.expected::<u64>();
        let crash = crash.min(fine.flow.end);
        assert_same(&before(&first.outputs::<u64>().0, crash), &before(&expected, crash));
        let resume = Checkpoints::resume(Arc::new(store.clone()), fingerprint(), when_commanded()).unwrap();
        prop_assert_eq!(resume.epoch(), Manifest::list(&store).unwrap().last().copied().unwrap_or(0));
        let again = Run { workers: then, seed: !run.seed, crash_at: None, ..run };
        let flow = Flow { run: again, ..fine.flow.clone() }.checkpointed(&resume);
        let (second, events) = Fine { flow: flow.clone(), ..fine }.outputs::<u64>();
        prop_assert!(decided(&events).iter().all(|epoch| *epoch >= resume.epoch()), "{:?}", decided(&events));
        assert_same(&second, &from(&expected, flow.start()));
    }
}

/// About `epochs` epochs of `ticks` ticks each, up to the latest time at `end`.
fn over(epochs: Epochs, end: u64, stride: u64) -> Fine {
    let run = Run { workers: 2, lead: 1, commands: 5, chunk_bytes: 1, ..Run::default() };
    let reach = epochs.ticks() * 2;
    let (left, right) = (ledger::lefts(3, 300, 50, end), ledger::rights(3, 300, 50, end));
    Fine { flow: Flow { epochs, stride, ..Flow::new(run, end) }, reach, left: left.into(), right: right.into() }
}

#[test]
fn timestamps_may_be_of_any_kind() {
    fn check<T: Ticks + Refines<()>>(fine: &Fine) {
        let (outputs, events) = fine.outputs::<T>();
        assert_same(&outputs, &fine.expected::<T>());
        let latest = fine.flow.epochs.number(outputs.keys().next_back().unwrap());
        // State that moves after all outputs is told of, and nothing is decided from that.
        let after = events.iter().filter(|event| matches!(event, Event::Epoch(epoch) if epoch.epoch > latest));
        assert!(after.clone().all(|event| matches!(event, Event::Epoch(epoch) if epoch.commands.is_empty())));
        assert!(decided(&events).len() as u64 <= latest + 1 + fine.flow.run.lead);
    }
    let epochs = |ticks| Epochs::of(ticks).unwrap();
    check::<u32>(&over(epochs(1000), 20_000, 350));
    check::<usize>(&over(epochs(7), 140, 3));
    // An epoch that the type can hold the beginning of alone, and timers behind the end.
    check::<u16>(&over(epochs(1000), u64::from(u16::MAX), 2900));
    check::<u16>(&over(epochs(7), u64::from(u16::MAX), 2900));
    let second = Duration::from_secs(1).ticks();
    check::<Duration>(&over(epochs(second / 10), second * 3, second / 33));
}

/// The gate waits for the commands at an epoch's start, and for none that can't be at a boundary up to the data's time.
#[test]
fn a_gate_waits_once_an_epoch() {
    drive(timely_config(1, Channels::Moved), |worker, _| {
        let (mut data, mut control, probe) = (InputHandle::new(), InputHandle::new(), ProbeHandle::new());
        let passed = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&passed);
        worker.dataflow::<u64, _, _>(|scope| {
            let data = scope.input_from(&mut data).container::<Vec<u64>>();
            let control = scope.input_from(&mut control).container::<Vec<Command>>();
            let initial = Assignment::even(1, 1).unwrap();
            let gated = gate(data, control, initial, Epochs::of(1000).unwrap());
            gated.data.inspect(move |record| into.lock().unwrap().push(*record)).probe_with(&probe);
        });
        for at in [2000, 2001, 2500, 2999, 3000] {
            data.advance_to(at);
            data.send(at);
        }
        data.flush();
        for (frontier, expected) in [(2000, 0), (2001, 4), (3000, 4), (3001, 5)] {
            control.advance_to(frontier);
            (0..9).for_each(|_| _ = worker.step());
            assert_eq!(passed.lock().unwrap().len(), expected, "with commands from {frontier} on");
        }
        data.close();
        control.close();
        while worker.step() {}
    });
}

/// With a lead of one epoch, an epoch's data is held until the one before it has been decided on, and no longer: here
/// its first half is through, on all workers, while the rest of the epoch may still come.
#[test]
fn data_flows_while_its_epoch_is_open() {
    for (workers, channels, ticks) in
        [(1, Channels::Moved, 1000), (3, Channels::Moved, 7), (2, Channels::Serialised, 1000)]
    {
        let given = drive(timely_config(workers, channels), move |worker, stop| {
            let (probe, mut input) = (ProbeHandle::new(), InputHandle::new());
            let decided = Arc::new(Mutex::new(Vec::new()));
            let (events, given) = (Arc::clone(&decided), Arc::new(Mutex::new(Vec::new())));
            let into = Arc::clone(&given);
            let config = Config { lead: 1, epochs: Epochs::of(ticks).unwrap(), ..Config::default() };
            worker.dataflow::<u64, _, _>(|scope| {
                scope
                    .input_from(&mut input)
                    .container::<Vec<u64>>()
                    .rebalance(&config, stable_hash)
                    .unwrap()
                    .observe(move |event| events.lock().unwrap().push(event.clone()))
                    .keyed(
                        |key| *key,
                        |key, (): &mut (), context| {
                            context.give((key, 0));
                            context.schedule(&(context.time() + 1));
                        },
                        |(), context| context.give((*context.key(), 1)),
                    )
                    .inspect(move |row| into.lock().unwrap().push(*row))
                    .probe_with(&probe);
            });
            for epoch in 0..4 {
                let start = epoch * ticks;
                for at in start..start + ticks / 2 {
                    input.advance_to(at);
                    input.send(at);
                    input.advance_to(at + 1);
                    if at % ticks < 3 || at % ticks == ticks / 2 - 1 {
                        stop.step_until(worker, || !probe.less_than(&(at + 1)));
                    }
                }
                let decided: Vec<u64> = self::decided(&decided.lock().unwrap());
                let earlier: Vec<u64> = if worker.index() == 0 { (0..epoch).collect() } else { Vec::new() };
                assert!(decided == earlier, "no more than {earlier:?} are over: {decided:?}");
            }
            input.close();
            while stop.step(worker) {}
            given.lock().unwrap().len() as u64
        });
        assert_eq!(given.iter().sum::<u64>(), 4 * (ticks / 2) * (workers as u64 + 1));
    }
}
