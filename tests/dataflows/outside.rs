//! What sources and sinks wait for, with a source that counts and a sink that can be held up.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::flow::{fingerprint, when_commanded};
use crate::common::{Channels, drive, step, step_until, timely_config};
use thalweg::checkpoint::{Checkpoints, Manifest, Memory};
use thalweg::keyed::Fault;
use thalweg::policy::Script;
use thalweg::sink::{EpochSink, EpochWriter, Share, When};
use thalweg::source::{EPOCHS_AHEAD, Epoching, PartitionReader, ReplaySource, WRITING_AHEAD};
use thalweg::{Config, Error, Loop, Rebalance, stable_hash};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::vec::input::Handle as InputHandle;
use timely::dataflow::operators::{Input, Probe};
use timely::worker::Worker;

/// Numbers from 0 on, one an epoch, without end; counts how many have been read.
struct Numbers(Arc<AtomicU64>);

struct Counting {
    read: Arc<AtomicU64>,
    last: u64,
    next: u64,
}

impl ReplaySource for Numbers {
    type Record = u64;
    type Position = u64;
    type Reader = Counting;

    fn partitions(&self) -> Result<Vec<String>, Error> {
        Ok(vec!["all".into()])
    }

    fn open(&self, _: &str, position: &u64) -> Result<Counting, Error> {
        Ok(Counting { read: Arc::clone(&self.0), last: *position, next: *position })
    }
}

impl PartitionReader for Counting {
    type Record = u64;
    type Position = u64;

    fn next(&mut self) -> Result<Option<u64>, Error> {
        self.last = self.next;
        self.next += 1;
        self.read.store(self.next, Ordering::SeqCst);
        Ok(Some(self.last))
    }

    fn position(&self) -> Result<u64, Error> {
        Ok(self.last)
    }
}

/// Writes nothing, when it may; notes what it is asked for.
#[derive(Clone)]
struct Held {
    gate: Arc<Mutex<()>>,
    written: Arc<Mutex<BTreeSet<u64>>>,
    published: Arc<AtomicU64>,
    when: When,
    /// Writing fails from this epoch on.
    fails_at: u64,
    /// This record can't be encoded.
    unwritable: u64,
}

impl Held {
    fn new(when: When) -> Self {
        let (gate, written, published) = Default::default();
        Held { gate, written, published, when, fails_at: u64::MAX, unwritable: u64::MAX }
    }
}

impl EpochSink for Held {
    type Record = u64;
    type Writer = Held;

    fn when(&self) -> When {
        self.when
    }

    fn encode(&self, epoch: u64, record: &u64, row: &mut Vec<u8>) -> Result<(), Error> {
        assert_eq!(epoch, *record);
        if *record == self.unwritable {
            return Err(Error::Usage { what: format!("{record} can't be written"), source: None });
        }
        row.push(b'x');
        Ok(())
    }

    fn open(&self, _: Share) -> Result<Held, Error> {
        Ok(self.clone())
    }
}

impl EpochWriter for Held {
    fn write(&mut self, epoch: u64, _: &[u8]) -> Result<(), Error> {
        drop(self.gate.lock().unwrap());
        if epoch >= self.fails_at {
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(Error::Store { action: "write", object: format!("epoch {epoch}"), source });
        }
        self.written.lock().unwrap().insert(epoch);
        Ok(())
    }

    fn publish(&mut self, before: Option<u64>) -> Result<(), Error> {
        self.published.store(before.unwrap_or(u64::MAX), Ordering::SeqCst);
        Ok(())
    }
}

fn give_up(worker: &mut Worker) {
    worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
}

/// A dataflow from [`Numbers`] to [`Held`].
struct Numbered {
    /// How many have been read.
    read: Arc<AtomicU64>,
    other: InputHandle<u64, u64>,
    /// On what is durable.
    durable: ProbeHandle<u64>,
}

/// Numbers are counted by key and given to the sink; another input is part of the same loop.
fn numbers_to(
    worker: &mut Worker,
    sink: &Held,
    (checkpoints, fault): (Option<&Checkpoints>, &Fault),
    script: &str,
) -> Numbered {
    let (read, mut other, probe) = (Arc::new(AtomicU64::new(0)), InputHandle::new(), ProbeHandle::new());
    worker.dataflow::<u64, _, _>(|scope| {
        let mut looped = Loop::new(scope, &Config { lead: 3, ..Config::default() }).unwrap().faults_to(fault);
        if let Some(checkpoints) = checkpoints {
            looped = looped.checkpoint_to(checkpoints, fault).unwrap();
        }
        let keys = looped.key_space("keys").unwrap().policy(script.parse::<Script>().unwrap()).unwrap();
        let count = |_: u64, count: &mut u64, _: &mut thalweg::keyed::Context<'_, u64, u64, ()>| *count += 1;
        let input = scope.input_from(&mut other);
        input.rebalance(&keys, stable_hash).unwrap().named("other").unwrap().fold_keyed(|key| *key, count);
        let source = looped.source("numbers", Numbers(Arc::clone(&read)), Epoching::by(|n: &u64| *n)).unwrap();
        let numbers = source.rebalance(&keys, stable_hash).unwrap().named("count").unwrap();
        let numbers = numbers.fold_keyed(
            |key| *key,
            |key, count: &mut u64, out| {
                *count += 1;
                out.give(key);
            },
        );
        looped.sink("held", numbers, sink.clone()).unwrap().probe_with(&probe);
    });
    Numbered { read, other, durable: probe }
}

#[test]
fn a_source_reads_no_further_than_the_loop_can_follow() {
    timely::execute_directly(|worker| {
        let sink = Held::new(When::EpochComplete);
        let Numbered { read, mut other, .. } = numbers_to(worker, &sink, (None, &Fault::new()), "");
        for time in [0, 1, 10] {
            other.advance_to(time);
            // With a lead of 3; the record that is looked at is one more.
            let ahead = time + 3 + EPOCHS_AHEAD + 1;
            step_until(worker, || read.load(Ordering::SeqCst) >= ahead);
            step(worker);
            assert_eq!(read.load(Ordering::SeqCst), ahead);
        }
        give_up(worker);
    });
}

#[test]
fn a_source_reads_no_further_than_sinks_can_follow_and_only_what_is_written_is_told_durable() {
    timely::execute_directly(|worker| {
        let sink = Held::new(When::EpochComplete);
        let held = sink.gate.lock().unwrap();
        let Numbered { read, other, durable } = numbers_to(worker, &sink, (None, &Fault::new()), "");
        drop(other);
        step_until(worker, || read.load(Ordering::SeqCst) > WRITING_AHEAD);
        step(worker);
        assert_eq!((read.load(Ordering::SeqCst), sink.written.lock().unwrap().len()), (WRITING_AHEAD + 1, 0));
        assert!(durable.less_equal(&0), "nothing is durable");
        drop(held);
        step_until(worker, || !durable.less_equal(&100));
        assert!((0..=100).all(|epoch| sink.written.lock().unwrap().contains(&epoch)));
        give_up(worker);
    });
}

/// A checkpoint that exists covers what is published, and one that does not exist yet covers nothing.
#[test]
fn a_sink_that_waits_for_checkpoints_publishes_what_they_cover() {
    timely::execute_directly(|worker| {
        let store = Memory::default();
        let checkpoints = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), when_commanded()).unwrap();
        let (sink, fault) = (Held::new(When::Checkpointed), Fault::new());
        let script = "5 checkpoint\n9 checkpoint";
        let Numbered { other, durable, .. } = numbers_to(worker, &sink, (Some(&checkpoints), &fault), script);
        drop(other);
        step_until(worker, || !durable.less_equal(&20) && sink.published.load(Ordering::SeqCst) >= 9);
        step(worker);
        assert_eq!(sink.published.load(Ordering::SeqCst), 9);
        assert_eq!(Manifest::list(&store).unwrap(), [5, 9]);
        fault.check().unwrap();
        give_up(worker);
    });
}

#[test]
fn a_sink_that_fails_is_a_fault_and_no_checkpoint_covers_what_it_has_not_written() {
    timely::execute_directly(|worker| {
        let store = Memory::default();
        let checkpoints = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), when_commanded()).unwrap();
        let (sink, fault) = (Held { fails_at: 7, ..Held::new(When::EpochComplete) }, Fault::new());
        let script = "5 checkpoint\n7 checkpoint\n8 checkpoint\n9 checkpoint";
        let Numbered { other, durable, .. } = numbers_to(worker, &sink, (Some(&checkpoints), &fault), script);
        drop(other);
        step_until(worker, || Manifest::list(&store).unwrap().len() == 2);
        step(worker);
        assert_eq!(Manifest::list(&store).unwrap(), [5, 7]);
        assert!(!durable.less_than(&7) && durable.less_equal(&7));
        let error = fault.check().unwrap_err().with_causes();
        assert!(error.contains("can't write epoch 7"), "{error}");
        give_up(worker);
    });
}

/// It may be on another worker that the epoch is to be written.
#[test]
fn an_epoch_is_not_written_without_a_record_that_cannot_be_encoded() {
    for unwritable in 4..8 {
        let sink = Held { unwritable, ..Held::new(When::EpochComplete) };
        let (written, failed) = (Arc::clone(&sink.written), AtomicBool::new(false));
        let told = drive(timely_config(2, Channels::Moved), move |worker, stop| {
            let fault = Fault::new();
            let (numbered, mut told) = (numbers_to(worker, &sink, (None, &fault), ""), None);
            drop(numbered);
            stop.step_until(worker, || {
                told = told.take().or(fault.check().err());
                failed.fetch_or(told.is_some(), Ordering::SeqCst) || told.is_some()
            });
            step(worker);
            give_up(worker);
            told.map(|error| error.to_string())
        });
        assert_eq!(told.into_iter().flatten().collect::<Vec<_>>(), [format!("{unwritable} can't be written")]);
        let written = written.lock().unwrap();
        assert!(written.range(unwritable..).next().is_none(), "{unwritable} is missing in {written:?}");
    }
}
