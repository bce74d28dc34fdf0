//! Several keyed operators in one loop: in one key space and in two, one behind the other, with one input and with two.
//! Each gives what a plain program gives, and a checkpoint covers them all or does not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use crate::common::flow::{
    Building, Collected, Flow, Source, Timed, assert_same, before, fingerprint, from, refusal, sorted, when_commanded,
};
use crate::common::hooked::before_writing;
use crate::common::ledger::{self, Left, Right, Row};
use crate::common::processes::{cluster, rows_of_two};
use crate::common::{Channels, Run, drive, runs, timely_config};
use proptest::prelude::*;
use thalweg::checkpoint::{Checkpoints, Manifest, Memory, Store};
use thalweg::keyed::{Context, Fault};
use thalweg::observe::Event;
use thalweg::policy::Script;
use thalweg::{Config, Epochs, Error, Loop, Rebalance, stable_hash};
use timely::dataflow::operators::ToStream;
use timely::dataflow::operators::vec::Map;

const OPERATORS: [&str; 5] = ["ledger", "count", "spread", "values", "both"];

/// What becomes of a row in the second key space.
fn value(row: Row) -> Left {
    (row.1 % 13, row.1 % 1000 + u64::from(row.2))
}

fn text(row: Row) -> Right {
    ((row.1 % 11).to_string(), (row.1 % 777) as u32)
}

/// Runs of five operators over two inputs:
///
/// | operator | key space | takes                              |
/// |----------|-----------|------------------------------------|
/// | ledger   | accounts  | both inputs                        |
/// | count    | accounts  | the left input                     |
/// | spread   | accounts  | what ledger gives; it keeps no state |
/// | values   | values    | what ledger gives, by another key  |
/// | both     | values    | what count and values give, by other keys |
#[derive(Clone, Debug)]
struct Several {
    flow: Flow,
    reach: u64,
    left: Source<Left>,
    right: Source<Right>,
    /// An operator that the program does not have.
    lacks: Option<&'static str>,
}

/// What each operator gives, and the worker of each key in the first key space.
#[derive(Clone, Default)]
struct Seen {
    rows: BTreeMap<&'static str, Collected<Row>>,
    owners: Collected<(u64, usize)>,
}

impl Seen {
    fn new() -> Self {
        Seen { rows: OPERATORS.map(|name| (name, Collected::default())).into(), ..Seen::default() }
    }

    fn sorted(&self) -> BTreeMap<&'static str, Timed<Row>> {
        self.rows.iter().map(|(name, rows)| (*name, sorted(rows))).collect()
    }

    /// Invariant 2: at every time, each key has one owner for all operators of its key space.
    fn check_owners(&self) {
        for (at, owners) in sorted(&self.owners) {
            let mut of_keys: BTreeMap<u64, usize> = BTreeMap::new();
            for (key, owner) in owners {
                assert_eq!(*of_keys.entry(key).or_insert(owner), owner, "the owners of key {key} at {at}");
            }
        }
    }
}

fn map<D>(rows: &Timed<Row>, of_row: fn(Row) -> D) -> Timed<D> {
    rows.iter().map(|(at, rows)| (*at, rows.iter().copied().map(of_row).collect())).collect()
}

impl Several {
    fn new(run: &Run, ticks: u64, records: [u64; 2], lags: [(usize, bool); 2]) -> Self {
        let (end, seed, keys) = (run.epochs * ticks, run.seed, run.keys);
        let flow =
            Flow { epochs: Epochs::of(ticks).unwrap(), stride: ticks.div_ceil(3), ..Flow::new(run.clone(), end) };
        let [left, right] = lags;
        Several {
            flow,
            reach: 4 * ticks - 1,
            left: Source { records: ledger::lefts(seed, records[0], keys, end), lag: left.0, ends_early: left.1 },
            right: Source { records: ledger::rights(seed, records[1], keys, end), lag: right.0, ends_early: right.1 },
            lacks: None,
        }
    }

    fn expected(&self) -> BTreeMap<&'static str, Timed<Row>> {
        let ledger = ledger::expected(self.reach, &self.left.records, &self.right.records);
        let count = ledger::expected(self.reach, &self.left.records, &Timed::new());
        let values = ledger::expected(self.reach, &map(&ledger, value), &Timed::new());
        let both = ledger::expected(self.reach, &map(&count, value), &map(&values, text));
        [("spread", ledger.clone()), ("ledger", ledger), ("count", count), ("values", values), ("both", both)].into()
    }

    fn build(&self, building: &mut Building<'_, u64>, seen: &Seen) {
        let (reach, index) = (self.reach, building.scope.index());
        let (left, right) = (building.input(&self.left), building.input(&self.right));
        let looped = building.looped();
        let accounts = looped.key_space("accounts").unwrap().policy(building.policy(1)).unwrap();
        let values = looped.key_space("values").unwrap().policy(building.policy(2)).unwrap();
        let ledger = left.clone().rebalance(&accounts, ledger::route_left).unwrap().named("ledger").unwrap();
        let ledger = ledger.with(right, ledger::route_right).keyed(
            ledger::left_key,
            ledger::right_key,
            ledger::on_left(reach),
            ledger::on_right(reach),
            ledger::on_timer(reach),
        );
        let count = left.rebalance(&accounts, ledger::route_left).unwrap().named("count").unwrap();
        let count = count.keyed(ledger::left_key, ledger::on_left(reach), ledger::on_timer(reach));
        let mut streams = vec![("ledger", ledger.clone()), ("count", count.clone())];
        if self.lacks != Some("spread") {
            let spread = ledger.clone().rebalance(&accounts, |row| stable_hash(&row.0)).unwrap();
            streams.push(("spread", spread.named("spread").unwrap().distribute()));
        }
        for (_, stream) in &streams {
            building.collect(stream.clone().map(move |row| (row.0, index)), &seen.owners);
        }
        let by_value = ledger.map(value).rebalance(&values, ledger::route_left).unwrap().named("values").unwrap();
        let by_value = by_value.keyed(ledger::left_key, ledger::on_left(reach), ledger::on_timer(reach));
        streams.push(("values", by_value.clone()));
        if self.lacks != Some("both") {
            let both = count.map(value).rebalance(&values, ledger::route_left).unwrap().named("both").unwrap();
            let both = both.with(by_value.map(text), ledger::route_right).keyed(
                ledger::left_key,
                ledger::right_key,
                ledger::on_left(reach),
                ledger::on_right(reach),
                ledger::on_timer(reach),
            );
            streams.push(("both", both));
        }
        for (name, stream) in streams {
            building.collect(stream, &seen.rows[name]);
        }
    }

    fn outputs_on(&self, config: timely::Config) -> (Seen, Vec<Event>) {
        let (seen, several) = (Seen::new(), self.clone());
        let into = seen.clone();
        let events = self.flow.execute_on(config, move |building: &mut Building<'_, u64>| {
            several.build(building, &into);
        });
        (seen, events)
    }

    fn outputs(&self) -> (Seen, Vec<Event>) {
        self.outputs_on(timely_config(self.flow.run.workers, self.flow.run.channels))
    }

    fn checkpointed(&self, checkpoints: &Checkpoints) -> Self {
        Several { flow: self.flow.clone().checkpointed(checkpoints), ..self.clone() }
    }

    /// Goes on on other workers from the newest checkpoint in the store, and is compared with the rest of what it must
    /// give.
    fn check_resumed(&self, store: impl Store, then: usize) {
        let resume = Checkpoints::resume(Arc::new(store), fingerprint(), when_commanded()).unwrap();
        let Run { seed, .. } = self.flow.run;
        let run = Run { workers: then, seed: !seed, crash_at: None, ..self.flow.run.clone() };
        let again = Several { flow: Flow { run, ..self.flow.clone() }, ..self.clone() }.checkpointed(&resume);
        let (seen, _) = again.outputs();
        let expected = self.expected();
        for (name, rows) in seen.sorted() {
            assert_same(&rows, &from(&expected[name], again.flow.start()));
        }
        seen.check_owners();
    }

    /// Compares what has been given before a crash, if there was one.
    fn check_until_crash(&self, seen: &Seen) {
        let expected = self.expected();
        let end = self.flow.run.crash_at.map_or(u64::MAX, |crash| crash.min(self.flow.end));
        for (name, rows) in seen.sorted() {
            assert_same(&before(&rows, end), &before(&expected[name], end));
        }
        seen.check_owners();
    }
}

/// Each checkpoint is of all operators, each with its key space.
fn check_manifests(store: &Memory) -> Vec<u64> {
    let taken = Manifest::list(store).unwrap();
    for epoch in &taken {
        let manifest = Manifest::read(store, *epoch).unwrap();
        let operators = |space: &str| manifest.spaces[space].operators.clone();
        assert_eq!(operators("accounts"), ["count", "ledger"]);
        assert_eq!(operators("values"), ["both", "values"]);
    }
    taken
}

fn cases() -> impl Strategy<Value = Several> {
    let records = prop_oneof![1 => Just(0), 8 => 1..150u64];
    (runs(), prop_oneof![Just(1u64), Just(7)], [records.clone(), records], ledger::lags())
        .prop_map(|(run, ticks, records, lags)| Several::new(&run, ticks, records, lags))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn all_operators_give_what_a_plain_program_gives(several in cases()) {
        several.check_until_crash(&several.outputs().0);
    }

    #[test]
    fn a_resumed_run_gives_the_rest_of_each_operator(
        several in cases(), crash in 2..20u64, then in 1..5usize, lose in 0..3usize,
    ) {
        let crash_at = Some(crash * several.flow.epochs.ticks());
        let run = Run { checkpoint_every: 2, crash_at, ..several.flow.run };
        let several = Several { flow: Flow { run, ..several.flow.clone() }, ..several };
        let store = Memory::default();
        let begin = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), when_commanded()).unwrap();
        let (seen, events) = several.checkpointed(&begin).outputs();
        several.check_until_crash(&seen);
        let abandoned = |event: &&Event| matches!(event, Event::Checkpoint(checkpoint) if checkpoint.error.is_some());
        prop_assert!(!events.iter().any(|event| abandoned(&event)), "{:?}", events.iter().find(abandoned));
        let taken = check_manifests(&store);
        // Resumes from the newest, or from one before it.
        for epoch in taken.iter().rev().take(lose) {
            store.delete(&Manifest::read(&store, *epoch).unwrap().name()).unwrap();
        }
        several.check_resumed(store, then);
    }

    /// Invariant 7: where anything of a checkpoint can't be written, for whichever operator, there is no manifest.
    #[test]
    fn a_checkpoint_covers_all_operators_or_none(several in cases(), salt: u64, one_in in 2..12u64, then in 1..4usize) {
        let run = Run { checkpoint_every: 1, ..several.flow.run };
        let several = Several { flow: Flow { run, ..several.flow.clone() }, ..several };
        let (store, failed) = (Memory::default(), Arc::new(Mutex::new(BTreeSet::new())));
        let into = Arc::clone(&failed);
        let before_put = move |_: &Memory, name: &str, _: &[u8]| {
            if name.contains("-merged-") || !stable_hash(&(name, salt)).is_multiple_of(one_in) {
                return Ok(());
            }
            let epoch: String = name.chars().filter(char::is_ascii_digit).take(20).collect();
            into.lock().unwrap().insert(epoch.parse::<u64>().unwrap());
            let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
            Err(Error::Store { action: "write", object: name.into(), source })
        };
        let flaky = before_writing(store.clone(), before_put);
        let begin = Checkpoints::begin(Arc::new(flaky), fingerprint(), when_commanded()).unwrap();
        let (seen, events) = several.checkpointed(&begin).outputs();
        several.check_until_crash(&seen);
        let outcome = |event: &Event| {
            if let Event::Checkpoint(checkpoint) = event { Some((checkpoint.epoch, checkpoint.error.is_some())) } else { None }
        };
        let outcomes: BTreeMap<u64, bool> = events.iter().filter_map(outcome).collect();
        // One that was to build upon an abandoned one is abandoned with it.
        let abandoned = events.iter().filter_map(|event| match event {
            Event::Checkpoint(checkpoint) => Some((checkpoint.epoch, checkpoint.error.as_ref()?)),
            _ => None,
        });
        let builds = |error: &str| error.contains("builds upon the checkpoint");
        let wrong: BTreeSet<u64> = abandoned.filter(|(_, error)| !builds(error)).map(|(epoch, _)| epoch).collect();
        let failed = failed.lock().unwrap();
        prop_assert!(wrong.is_subset(&failed) && failed.iter().all(|epoch| outcomes[epoch]), "{wrong:?}, {failed:?}");
        let taken = check_manifests(&store);
        let right: Vec<u64> = outcomes.iter().filter(|(_, failed)| !**failed).map(|(epoch, _)| *epoch).collect();
        prop_assert_eq!(taken, right);
        several.check_resumed(store, then);
    }
}

fn few() -> Several {
    let run = Run { workers: 2, epochs: 12, ..Run::default() };
    Several::new(&run, 1, [60, 60], [(0, false); 2])
}

/// A store with a checkpoint of a program.
fn taken(several: &Several) -> Memory {
    let store = Memory::default();
    let begin = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), when_commanded()).unwrap();
    let run = Run { checkpoint_every: 1, ..several.flow.run.clone() };
    Several { flow: Flow { run, ..several.flow.clone() }, ..several.clone() }.checkpointed(&begin).outputs();
    store
}

#[test]
fn a_program_with_other_operators_than_the_checkpoint_is_refused() {
    let [whole, spread, both] = [None, Some("spread"), Some("both")].map(|lacks| Several { lacks, ..few() });
    for (before, now, told) in [(&whole, &both, r#"["both"], which would be lost"#), (&both, &whole, r#""both""#)] {
        let resume = Checkpoints::resume(Arc::new(taken(before)), fingerprint(), when_commanded()).unwrap();
        assert!(resume.epoch() > 0);
        let refusal = refusal(|| now.checkpointed(&resume).outputs()).replace('\\', "");
        assert!(refusal.contains("Incompatible") && refusal.contains(told), "{refusal}");
        assert!(refusal.contains("as before"), "{refusal}");
    }
    for (before, now) in [(&whole, &spread), (&spread, &whole)] {
        let resume = Checkpoints::resume(Arc::new(taken(before)), fingerprint(), when_commanded()).unwrap();
        now.checkpointed(&resume).outputs();
    }
}

/// What is refused while a dataflow is built, and why.
fn refused(
    build: impl for<'scope> Fn(timely::dataflow::Scope<'scope, u64>) -> Error + Send + Sync + 'static,
) -> String {
    let error = timely::execute_directly(move |worker| worker.dataflow::<u64, _, _>(build));
    assert!(matches!(error, Error::Usage { .. }), "{error:?}");
    error.to_string()
}

fn pass(record: u64, _: &mut u64, context: &mut Context<'_, u64, u64, u64>) {
    context.give(record);
}

fn begin() -> Checkpoints {
    Checkpoints::begin(Arc::new(Memory::default()), fingerprint(), when_commanded()).unwrap()
}

#[test]
fn names_are_given_once() {
    let refusal = refused(|scope| {
        let looped = Loop::new(scope, &Config::default()).unwrap();
        let (a, b) = (looped.key_space("a").unwrap(), looped.key_space("b").unwrap());
        let records = (0..9u64).to_stream(scope).container::<Vec<_>>();
        records.clone().rebalance(&a, stable_hash).unwrap().named("sum").unwrap().distribute();
        records.rebalance(&b, stable_hash).unwrap().named("sum").unwrap_err()
    });
    assert!(refusal.contains(r#"an operator "sum" already"#), "{refusal}");
    let refusal = refused(|scope| {
        let looped = Loop::new(scope, &Config::default()).unwrap();
        looped.key_space("a").unwrap();
        looped.key_space("a").unwrap_err()
    });
    assert!(refusal.contains(r#"a key space "a" already"#), "{refusal}");
}

/// Two operators that are given their states by their names, one of which has none that the user knows.
#[test]
fn operators_of_one_checkpoint_must_have_names() {
    drive(timely_config(1, Channels::Moved), |worker, stop| {
        for name in ["keyed", "sum"] {
            let fault = Fault::new();
            worker.dataflow::<u64, _, _>(|scope| {
                let looped = Loop::new(scope, &Config::default()).unwrap().checkpoint_to(&begin(), &fault).unwrap();
                let keys = looped.key_space("keys").unwrap();
                let records = (0..9u64).to_stream(scope).container::<Vec<_>>();
                let stage = || records.clone().rebalance(&keys, stable_hash).unwrap();
                stage().named(name).unwrap().fold_keyed(|key| *key, pass);
                stage().fold_keyed(|key| *key, pass);
            });
            let error = fault.check().unwrap_err().to_string();
            let given = if name == "keyed" { "keyed-2" } else { "keyed" };
            assert!(error.contains(&format!("the operator {given:?} was given no name")), "{error}");
            stop.give_up(worker);
        }
    });
}

#[test]
fn checkpoints_are_of_one_loop_from_its_beginning() {
    let refusal = refused(|scope| {
        let looped = Loop::new(scope, &Config::default()).unwrap();
        let keys = looped.key_space("keys").unwrap();
        let records = (0..9u64).to_stream(scope).container::<Vec<_>>();
        records.rebalance(&keys, stable_hash).unwrap().fold_keyed(|key| *key, pass);
        looped.checkpoint_to(&begin(), &Fault::new()).unwrap_err()
    });
    assert!(refusal.contains("the loop has operators already"), "{refusal}");
    let refusal = refused(|scope| {
        let checkpoints = begin();
        let records = (0..9u64).to_stream(scope).container::<Vec<_>>();
        let [first, second] = [(); 2].map(|()| Loop::new(scope, &Config::default()).unwrap());
        let first = first.checkpoint_to(&checkpoints, &Fault::new()).unwrap();
        records.rebalance(&first.key_space("keys").unwrap(), stable_hash).unwrap().fold_keyed(|key| *key, pass);
        second.checkpoint_to(&checkpoints, &Fault::new()).unwrap_err()
    });
    assert!(refusal.contains("another loop of this worker"), "{refusal}");
}

/// A command is for its key space alone, but for a checkpoint, which is of all.
#[test]
fn key_spaces_have_assignments_of_their_own() {
    let store = Memory::default();
    let begin = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), when_commanded()).unwrap();
    let flow = Flow::new(Run { workers: 2, shards: 2, ..Run::default() }, 8).checkpointed(&begin);
    let source = Source::from(ledger::lefts(1, 50, 20, 8));
    flow.execute(move |building: &mut Building<'_, u64>| {
        let (input, looped) = (building.input(&source).map(|left| left.0), building.looped());
        for (space, script) in [("a", "3 move 0 1"), ("b", "4 split 0x10\n 5 checkpoint"), ("c", "")] {
            let keys = looped.key_space(space).unwrap().policy(script.parse::<Script>().unwrap()).unwrap();
            let stage = input.clone().rebalance(&keys, stable_hash).unwrap().named(space).unwrap();
            building.collect(stage.fold_keyed(|key| *key, pass), &Collected::default());
        }
    });
    let spaces = Manifest::read(&store, 5).unwrap().spaces;
    let owners = |space: &str| spaces[space].assignment.iter().map(|(_, owner)| owner).collect::<Vec<_>>();
    assert_eq!([owners("a"), owners("b"), owners("c")], [vec![1, 1], vec![0, 0, 1], vec![0, 1]]);
}

/// An operator that has met an error acts no more, also when the program has been told of it.
#[test]
fn nothing_goes_on_after_an_error() {
    let resume = Checkpoints::resume(Arc::new(taken(&few())), fingerprint(), when_commanded()).unwrap();
    drive(timely_config(1, Channels::Moved), move |worker, _| {
        let (fault, outputs) = (Fault::new(), Collected::default());
        let start = resume.epoch();
        let (probe, mut input) = (timely::dataflow::ProbeHandle::new(), timely::dataflow::InputHandle::new());
        worker.dataflow::<u64, _, _>(|scope| {
            use timely::dataflow::operators::{Input, Inspect, Probe};
            let into: Collected<u64> = Arc::clone(&outputs);
            let looped = Loop::new(scope, &Config::default()).unwrap().checkpoint_to(&resume, &fault).unwrap();
            let keys = looped.key_space("keys").unwrap();
            let records = scope.input_from(&mut input).container::<Vec<u64>>();
            let records = records.rebalance(&keys, stable_hash).unwrap().named("count").unwrap();
            let records = records.fold_keyed(|key| *key, pass);
            let give = move |record: &u64| into.lock().unwrap().entry(0).or_default().push(*record);
            records.inspect(give).probe_with(&probe);
        });
        input.advance_to(start);
        (0..10).for_each(|_| _ = worker.step());
        assert!(matches!(fault.check(), Err(Error::Incompatible { .. })));
        (0..100).for_each(|record| input.send(record));
        input.close();
        (0..100).for_each(|_| _ = worker.step());
        assert!(outputs.lock().unwrap().is_empty() && !probe.done());
        worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
    });
}

fn in_processes() -> Several {
    let run = Run { workers: 2, lead: 2, commands: 4, checkpoint_every: 0, epochs: 20, seed: 3, ..Run::default() };
    Several::new(&run, 7, [150, 150], [(0, false), (2, false)])
}

/// One of the processes: prints its part of the output.
#[test]
#[ignore = "run by `two_processes_give_the_same_answer`, as each of its processes"]
fn one_of_two_processes() {
    for (name, rows) in in_processes().outputs_on(cluster()).0.sorted() {
        for (at, row) in rows.iter().flat_map(|(at, rows)| rows.iter().map(move |row| (at, row))) {
            println!("row {name} {at} {} {} {}", row.0, row.1, row.2);
        }
    }
}

#[test]
fn two_processes_give_the_same_answer() {
    let mut outputs: BTreeMap<String, Timed<Row>> = BTreeMap::new();
    for row in rows_of_two("several::one_of_two_processes") {
        let (name, row) = row.split_once(' ').unwrap();
        let row: Vec<u64> = row.split(' ').map(|word| word.parse().unwrap()).collect();
        let rows = outputs.entry(name.to_owned()).or_default();
        rows.entry(row[0]).or_default().push((row[1], row[2], row[3] as u8));
    }
    for (name, expected) in in_processes().expected() {
        let rows = outputs.get_mut(name).unwrap();
        rows.values_mut().for_each(|rows| rows.sort_unstable());
        assert_same(rows, &expected);
    }
}
