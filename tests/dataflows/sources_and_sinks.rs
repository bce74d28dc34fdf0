//! From files to files, exactly once: whatever crashes, whatever moves, and on whatever number of workers, the bytes of
//! the output are those of a run without faults.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::flow::{fingerprint, refusal, when_commanded};
use crate::common::{Channels, Random, RandomPolicy, Stop, drive, timely_config};
use proptest::prelude::*;
use thalweg::checkpoint::{Checkpoints, Manifest, Memory, Store};
use thalweg::keyed::Fault;
use thalweg::sink::{EpochFiles, When};
use thalweg::source::{CsvFiles, Epoching};
use thalweg::{Config, Error, Loop, Rebalance, stable_hash};
use timely::dataflow::operators::generic::operator::empty;
use timely::worker::Worker;

/// What files hold: an event time, and a key.
type Record = (u64, u64);

/// The records of each file.
type Input = Vec<Vec<Record>>;

/// The text of each file of output, by name.
type Output = BTreeMap<String, String>;

/// How records make epochs.
#[derive(Clone, Copy, Debug)]
enum Rule {
    Times,
    Records(u64),
}

/// What stays the same from run to run.
#[derive(Clone, Copy, Debug)]
struct Program {
    rule: Rule,
    when: When,
    epochs_per_file: u64,
}

/// One run of it.
#[derive(Clone, Copy, Debug)]
struct Run {
    workers: usize,
    channels: Channels,
    seed: u64,
    lead: u64,
    /// Steps of worker 0 after which the run is given up.
    crash_after: Option<usize>,
    /// The newest checkpoint is lost before it begins.
    loses_newest: bool,
}

impl Default for Run {
    fn default() -> Self {
        Run { workers: 2, channels: Channels::Moved, seed: 1, lead: 2, crash_after: None, loses_newest: false }
    }
}

/// The directories in which it all happens.
struct Place {
    root: tempfile::TempDir,
    store: Memory,
    files: usize,
}

impl Place {
    fn new(input: &Input) -> Self {
        let root = tempfile::tempdir().unwrap();
        for (number, records) in input.iter().enumerate() {
            let rows = records.iter().map(|(time, key)| format!("{time},{key}\n"));
            let text: String = ["time,key\n".to_owned()].into_iter().chain(rows).collect();
            std::fs::write(root.path().join(format!("{number}.csv")), text).unwrap();
        }
        Place { root, store: Memory::default(), files: input.len() }
    }

    fn source(&self) -> Vec<std::path::PathBuf> {
        (0..self.files).map(|number| self.root.path().join(format!("{number}.csv"))).collect()
    }

    fn sink(&self) -> std::path::PathBuf {
        self.root.path().join("output")
    }

    fn output(&self) -> Output {
        output(&self.sink())
    }

    /// How many files there will be of what is pending.
    fn pending_files(&self, program: Program) -> usize {
        let pending = names(&self.sink().join(".pending"));
        let firsts = pending.filter_map(|name| Some(name.get(..20)?.parse::<u64>().ok()? / program.epochs_per_file));
        firsts.collect::<BTreeSet<u64>>().len()
    }

    /// Runs, and says which checkpoint it began from.
    fn run(&self, program: Program, run: Run) -> u64 {
        let known = Manifest::list(&self.store).unwrap();
        if let [_, .., newest] = known[..]
            && run.loses_newest
        {
            self.store.delete(&Manifest::name_at(newest)).unwrap();
        }
        let checkpoints = Checkpoints::resume(Arc::new(self.store.clone()), fingerprint(), when_commanded()).unwrap();
        let from = checkpoints.epoch();
        self.run_with(program, run, checkpoints);
        from
    }

    fn run_with(&self, program: Program, run: Run, checkpoints: Checkpoints) {
        let crashed = Arc::new(AtomicBool::new(false));
        let (source, sink) = (self.source(), self.sink());
        drive(timely_config(run.workers, run.channels), move |worker, stop| {
            let fault = Fault::new();
            build(worker, program, run, &checkpoints, &fault, (&source, &sink)).unwrap();
            work(worker, stop, &fault, run, &crashed);
        });
    }
}

fn names(directory: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap())
}

fn output(directory: &Path) -> Output {
    let visible = names(directory).filter(|name| !name.starts_with('.'));
    visible.map(|name| (name.clone(), std::fs::read_to_string(directory.join(name)).unwrap())).collect()
}

fn build(
    worker: &mut Worker,
    program: Program,
    run: Run,
    checkpoints: &Checkpoints,
    fault: &Fault,
    (source, sink): (&[std::path::PathBuf], &Path),
) -> Result<(), Error> {
    let config = Config { lead: run.lead, shards: 5, chunk_bytes: 100, ..Config::default() };
    worker.dataflow::<u64, _, _>(|scope| {
        let looped = Loop::new(scope, &config)?.checkpoint_to(checkpoints, fault)?;
        let policy = RandomPolicy { random: Random(run.seed), keys: 20, commands: 3, checkpoint_every: 3 };
        let keys = looped.key_space("keys")?.policy(policy)?;
        let epoching = match program.rule {
            Rule::Times => Epoching::by(|record: &Record| record.0),
            Rule::Records(count) => Epoching::records(count)?,
        };
        let counts = looped
            .source("events", CsvFiles::<Record>::new(source)?, epoching)?
            .rebalance(&keys, |record| stable_hash(&record.1))?
            .fold_keyed(
                |record| record.1,
                |(_, key), count: &mut u64, out| {
                    *count += 1;
                    out.give((*out.time(), key, *count));
                },
            );
        let files = EpochFiles::csv(sink).epochs_per_file(program.epochs_per_file)?.visible(program.when);
        looped.sink("counts", counts, files)?;
        Ok(())
    })
}

fn work(worker: &mut Worker, stop: &Stop, fault: &Fault, run: Run, crashed: &AtomicBool) {
    for step in 0.. {
        if run.crash_after.is_some_and(|steps| worker.index() == 0 && step >= steps) {
            crashed.store(true, Ordering::SeqCst);
        }
        if crashed.load(Ordering::SeqCst) {
            return stop.give_up(worker);
        }
        if !stop.step(worker) {
            return;
        }
        fault.check().unwrap();
    }
}

/// What the program gives, one record after the other.
fn expected(program: Program, input: &Input) -> Output {
    let mut keys_by_epoch: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for records in input {
        let mut current = 0;
        for (index, (time, key)) in records.iter().enumerate() {
            current = match program.rule {
                Rule::Times => current.max(*time),
                Rule::Records(count) => index as u64 / count,
            };
            keys_by_epoch.entry(current).or_default().push(*key);
        }
    }
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut output = Output::new();
    for (epoch, keys) in keys_by_epoch {
        let count = |key| {
            let count = counts.entry(key).or_default();
            *count += 1;
            format!("{epoch},{key},{count}\n")
        };
        let mut rows: Vec<String> = keys.into_iter().map(count).collect();
        rows.sort();
        let first = epoch / program.epochs_per_file * program.epochs_per_file;
        output.entry(format!("{first:020}.csv")).or_default().push_str(&rows.concat());
    }
    output
}

/// Whatever is visible, at any time, is what it will always be.
fn check_visible(given: &Output, expected: &Output) {
    for (name, text) in given {
        assert_eq!(Some(text), expected.get(name), "{name}");
    }
}

fn inputs() -> impl Strategy<Value = Input> {
    let file = (any::<u64>(), 0..200usize, 1..8u64).prop_map(|(seed, records, late)| {
        let mut random = Random(seed);
        let mut time = 0;
        let mut record = |_| {
            time += u64::from(random.index(4) == 0) * (1 + random.next() % 3);
            (time.saturating_sub(u64::from(random.index(10) == 0) * late), random.next() % 20)
        };
        (0..records).map(&mut record).collect()
    });
    prop::collection::vec(file, 1..5)
}

fn programs() -> impl Strategy<Value = Program> {
    let rule = prop_oneof![Just(Rule::Times), (1..20u64).prop_map(Rule::Records)];
    let when = prop_oneof![Just(When::EpochComplete), Just(When::Checkpointed)];
    (rule, when, 1..4u64).prop_map(|(rule, when, epochs_per_file)| Program { rule, when, epochs_per_file })
}

fn runs() -> impl Strategy<Value = Run> {
    let channels = prop_oneof![Just(Channels::Moved), Just(Channels::Serialised)];
    let faults = (1..300usize, prop::bool::weighted(0.2));
    (1..5usize, channels, any::<u64>(), 1..4u64, faults).prop_map(|(workers, channels, seed, lead, faults)| Run {
        workers,
        channels,
        seed,
        lead,
        crash_after: Some(faults.0),
        loses_newest: faults.1,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn the_output_is_that_of_a_run_without_faults(
        program in programs(), input in inputs(), crashes in prop::collection::vec(runs(), 0..5), last in runs(),
    ) {
        let (place, expected) = (Place::new(&input), expected(program, &input));
        let mut done = false;
        for run in crashes {
            place.run(program, run);
            let visible = place.output();
            check_visible(&visible, &expected);
            done |= visible == expected;
            let newest = Manifest::list(&place.store).unwrap().last().copied().unwrap_or(0);
            if program.when == When::Checkpointed && !done {
                let epochs = visible.keys().map(|name| name[..20].parse::<u64>().unwrap());
                let last = epochs.max().map_or(0, |first| first + program.epochs_per_file);
                // At the end of the input all of it is durable, and becomes visible file by file.
                let durable = visible.len() + place.pending_files(program) >= expected.len();
                prop_assert!(last <= newest || run.loses_newest || durable, "{last} is visible, {newest} is covered");
            }
        }
        place.run(program, Run { crash_after: None, ..last });
        prop_assert_eq!(place.output(), expected);
    }
}

/// Files with a record in each epoch.
fn one_an_epoch(files: usize, epochs: u64) -> Input {
    (0..files as u64).map(|file| (0..epochs).map(|epoch| (epoch, epoch + file)).collect()).collect()
}

const PROGRAM: Program = Program { rule: Rule::Times, when: When::EpochComplete, epochs_per_file: 1 };

/// A place where a run has crashed after some checkpoint.
fn crashed(program: Program, input: &Input) -> Place {
    for steps in 1.. {
        let place = Place::new(input);
        place.run(program, Run { crash_after: Some(20 * steps), ..Run::default() });
        if !Manifest::list(&place.store).unwrap().is_empty() {
            return place;
        }
    }
    unreachable!("there is always a greater number")
}

fn resumed(place: &Place) -> Checkpoints {
    Checkpoints::resume(Arc::new(place.store.clone()), fingerprint(), when_commanded()).unwrap()
}

/// What a run of the program on one worker is refused with.
fn refused(place: &Place, program: Program, checkpoints: Checkpoints) -> Error {
    let (source, sink) = (place.source(), place.sink());
    timely::execute_directly(move |worker| {
        let built = build(worker, program, Run::default(), &checkpoints, &Fault::new(), (&source, &sink));
        worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
        built.unwrap_err()
    })
}

#[test]
fn a_run_that_begins_anew_where_there_is_output_is_refused() {
    let place = Place::new(&one_an_epoch(2, 10));
    place.run(PROGRAM, Run::default());
    let anew = Checkpoints::begin(Arc::new(Memory::default()), fingerprint(), when_commanded()).unwrap();
    let error = refused(&place, PROGRAM, anew);
    assert!(matches!(&error, Error::Usage { .. }) && error.to_string().contains("holds output already"), "{error}");
}

#[test]
fn an_input_that_is_not_what_it_was_is_refused() {
    let input = one_an_epoch(1, 60);
    type Change = fn(&Path);
    let changes: [(Change, &str); 4] = [
        (|file| std::fs::write(file, "time,key\n0,0\n").unwrap(), "but had been read up to byte"),
        (|file| std::fs::write(file, "time,key\n".to_owned() + &"7,7\n".repeat(200)).unwrap(), "not the file that had"),
        (|file| std::fs::remove_file(file).unwrap(), "can't read"),
        (|file| std::fs::write(file, "").unwrap(), "but had been read up to byte"),
    ];
    for (change, told) in changes {
        let place = crashed(PROGRAM, &input);
        change(&place.source()[0]);
        let error = refused(&place, PROGRAM, resumed(&place));
        assert!(matches!(&error, Error::Incompatible { .. } | Error::Store { .. }), "{error:?}");
        assert!(error.to_string().contains("0.csv") && error.to_string().contains(told), "{error}");
    }
}

#[test]
fn other_partitions_than_those_of_the_checkpoint_are_refused() {
    for (files, told) in [(3, r#"["2.csv"] are new"#), (1, r#"["1.csv"] are missing"#)] {
        let mut place = crashed(PROGRAM, &one_an_epoch(2, 60));
        std::fs::write(place.root.path().join("2.csv"), "time,key\n").unwrap();
        place.files = files;
        let error = refused(&place, PROGRAM, resumed(&place));
        assert!(matches!(error, Error::Incompatible { .. }) && error.to_string().contains(told), "{error}");
    }
}

#[test]
fn a_sink_that_the_checkpoint_does_not_know_and_one_that_waits_in_vain_are_refused() {
    let place = crashed(PROGRAM, &one_an_epoch(2, 60));
    let checkpoints = resumed(&place);
    timely::execute_directly(move |worker| {
        worker.dataflow::<u64, _, _>(|scope| {
            let files = |when| EpochFiles::<u64>::csv(place.root.path().join("other")).visible(when);
            let looped = Loop::new(scope, &Config::default()).unwrap();
            let error = looped.sink("counts", empty(scope), files(When::Checkpointed)).unwrap_err();
            assert!(
                matches!(error, Error::Usage { .. }) && error.to_string().contains("waits for checkpoints"),
                "{error}"
            );
            let looped = Loop::new(scope, &Config::default()).unwrap();
            let looped = looped.checkpoint_to(&checkpoints, &Fault::new()).unwrap();
            let error = looped.sink("sums", empty(scope), files(When::Checkpointed)).unwrap_err();
            assert!(matches!(error, Error::Incompatible { .. }), "{error}");
            assert!(error.to_string().contains(r#"it knows no sink "sums", only ["counts"]"#), "{error}");
            let source = CsvFiles::<Record>::new(place.source()).unwrap();
            let error = looped.source("others", source, Epoching::records(1).unwrap()).err().unwrap();
            assert!(error.to_string().contains(r#"no positions of the source "others""#), "{error}");
        });
        worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
    });
}

#[test]
fn a_malformed_row_ends_the_run_with_an_error_that_says_where() {
    let place = Place::new(&one_an_epoch(2, 30));
    let file = place.source().remove(1);
    let text = std::fs::read_to_string(&file).unwrap().replace("17,18\n", "17,many\n");
    std::fs::write(&file, text).unwrap();
    let told = refusal(|| place.run(PROGRAM, Run::default()));
    assert!(told.contains("1.csv, line 19 (byte") && told.contains("the row is not as expected"), "{told}");
    let epochs = place.output().into_keys().map(|name| name[..20].parse::<u64>().unwrap());
    assert!(epochs.max().is_none_or(|last| last < 17), "epoch 17 is not complete");
}

/// Somebody has edited what is visible.
#[test]
fn output_that_is_not_what_is_replayed_ends_the_run_and_no_checkpoint_covers_it() {
    let place = Place::new(&one_an_epoch(2, 30));
    place.run(PROGRAM, Run::default());
    let all = Manifest::list(&place.store).unwrap();
    all.iter().for_each(|epoch| place.store.delete(&Manifest::name_at(*epoch)).unwrap());
    std::fs::write(place.sink().join(format!("{:020}.csv", 12)), "12,12,1\n").unwrap();
    let told = refusal(|| place.run(PROGRAM, Run::default()));
    assert!(told.contains("Corrupt") && told.contains(&format!("{:020}.csv", 12)), "{told}");
    assert!(Manifest::list(&place.store).unwrap().into_iter().all(|boundary| boundary <= 12));
}
