//! Dataflows that a test builds from parts, with inputs that may lag behind each other, under a [`Run`]'s settings.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Fingerprint};
use thalweg::keyed::Fault;
use thalweg::observe::Event;
use thalweg::{Config, Epochs, Loop, Ticks};
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle, Scope, StreamVec};
use timely::progress::timestamp::Refines;
use timely::worker::Worker;

use super::{Random, RandomPolicy, Run, Stop, drive, timely_config};

/// What comes in or goes out, by ticks.
pub type Timed<D> = BTreeMap<u64, Vec<D>>;

/// Where the workers put what a stream gives, by ticks.
pub type Collected<D> = Arc<Mutex<Timed<D>>>;

/// What has been collected, each time's sorted.
pub fn sorted<D: Ord + Clone>(collected: &Collected<D>) -> Timed<D> {
    let mut outputs = collected.lock().unwrap().clone();
    outputs.values_mut().for_each(|rows| rows.sort_unstable());
    outputs
}

/// The part of some outputs that is at or after a time.
pub fn from<D: Clone>(outputs: &Timed<D>, ticks: u64) -> Timed<D> {
    outputs.range(ticks..).map(|(at, rows)| (*at, rows.clone())).collect()
}

/// The part of some outputs that is before a time.
pub fn before<D: Clone>(outputs: &Timed<D>, ticks: u64) -> Timed<D> {
    outputs.range(..ticks).map(|(at, rows)| (*at, rows.clone())).collect()
}

/// Compares what has been given with what must be, and tells where they first differ, and in what.
#[track_caller]
pub fn assert_same<D: Ord + Clone + Debug>(given: &Timed<D>, expected: &Timed<D>) {
    let times: BTreeSet<&u64> = given.keys().chain(expected.keys()).collect();
    let Some(at) = times.into_iter().find(|at| given.get(at) != expected.get(at)) else { return };
    let mut missing = expected.get(at).cloned().unwrap_or_default();
    let mut extra = given.get(at).cloned().unwrap_or_default();
    extra.retain(|row| missing.binary_search(row).map(|index| missing.remove(index)).is_err());
    panic!("at {at}, {extra:?} should not be there, and {missing:?} should");
}

pub fn fingerprint() -> Fingerprint {
    Fingerprint::default().with("logic", "flow")
}

/// Checkpoints where a policy commands them, all of them kept.
pub fn when_commanded() -> CheckpointConfig {
    CheckpointConfig { trigger: "every:1000000".parse().unwrap(), keep: 1000, ..CheckpointConfig::default() }
}

/// What a run that fails says.
pub fn refusal<R>(run: impl FnOnce() -> R) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).err().expect("the run is refused");
    panic.downcast_ref::<String>().expect("a message").clone()
}

/// How a dataflow is driven: by what is in a [`Run`], over times of its own.
#[derive(Clone, Debug)]
pub struct Flow {
    pub run: Run,
    pub epochs: Epochs,
    /// Inputs advance by so many ticks at once.
    pub stride: u64,
    /// Inputs advance up to this time, and end there.
    pub end: u64,
    pub checkpoints: Option<Checkpoints>,
}

impl Flow {
    /// Over epochs of one tick.
    pub fn new(run: Run, end: u64) -> Self {
        Flow { run, epochs: Epochs::default(), stride: 1, end, checkpoints: None }
    }

    pub fn checkpointed(self, checkpoints: &Checkpoints) -> Self {
        Flow { checkpoints: Some(checkpoints.clone()), ..self }
    }

    /// The first time of the epoch from which it goes on.
    pub fn start(&self) -> u64 {
        self.checkpoints.as_ref().map_or(0, Checkpoints::epoch) * self.epochs.ticks()
    }

    /// Builds the dataflow on the run's workers, and drives it to its end or crash. Gives the events.
    pub fn execute<T: Ticks + Refines<()>>(
        &self,
        build: impl for<'scope> Fn(&mut Building<'scope, T>) + Send + Sync + 'static,
    ) -> Vec<Event> {
        self.execute_on(timely_config(self.run.workers, self.run.channels), build)
    }

    /// As [`execute`](Flow::execute), on the workers of `config`.
    pub fn execute_on<T: Ticks + Refines<()>>(
        &self,
        config: timely::Config,
        build: impl for<'scope> Fn(&mut Building<'scope, T>) + Send + Sync + 'static,
    ) -> Vec<Event> {
        let events = Arc::new(Mutex::new(Vec::new()));
        let (flow, seen) = (self.clone(), Arc::clone(&events));
        drive(config, move |worker, stop| {
            let (fault, probe) = (Fault::new(), ProbeHandle::new());
            let sources = worker.dataflow::<T, _, _>(|scope| {
                let (fault, probe, events) = (fault.clone(), probe.clone(), Arc::clone(&seen));
                let mut building = Building { scope, flow: flow.clone(), fault, probe, events, sources: Vec::new() };
                build(&mut building);
                building.sources
            });
            flow.pump(worker, stop, sources, &probe, &fault);
        });
        std::mem::take(&mut events.lock().unwrap())
    }

    fn pump<T: Ticks>(
        &self,
        worker: &mut Worker,
        stop: &Stop,
        mut sources: Vec<Box<dyn Advance<T>>>,
        probe: &ProbeHandle<T>,
        fault: &Fault,
    ) {
        let Run { ahead, crash_at, .. } = self.run;
        let start = self.start();
        let steps: Vec<u64> = (0..).map(|step| start + step * self.stride).take_while(|at| *at < self.end).collect();
        let steps: Vec<T> = steps.into_iter().chain([self.end.max(start)]).filter_map(T::from_ticks).collect();
        let lag = sources.iter().map(|source| source.lag()).max().unwrap_or(0);
        for step in 0..steps.len() + lag {
            for source in &mut sources {
                let Some(own) = step.checked_sub(source.lag()) else { continue };
                source.advance(steps.get(own));
            }
            worker.step();
            let wait = |worker: &mut Worker, time: &T| {
                stop.step_until(worker, || fault.check().map(|()| !probe.less_than(time)).unwrap());
            };
            let Some(all) = step.checked_sub(lag).and_then(|step| steps.get(step)) else { continue };
            if crash_at.is_some_and(|crash| all.ticks() >= crash) {
                wait(worker, all);
                return stop.give_up(worker);
            }
            let behind = (step - lag).checked_sub(ahead as usize).filter(|_| ahead > 0);
            behind.into_iter().for_each(|step| wait(worker, &steps[step]));
        }
        drop(sources);
        while stop.step(worker) {
            fault.check().unwrap();
        }
    }
}

/// One worker's end of an input.
trait Advance<T> {
    fn lag(&self) -> usize;
    /// Sends what is before a time, and advances to it; or ends.
    fn advance(&mut self, to: Option<&T>);
}

/// An input: what it is to bring, of all workers together, and when.
#[derive(Clone, Debug)]
pub struct Source<D> {
    pub records: Timed<D>,
    /// Steps that it is behind the others.
    pub lag: usize,
    /// It is closed after its last record, while the others go on.
    pub ends_early: bool,
}

impl<D> From<Timed<D>> for Source<D> {
    fn from(records: Timed<D>) -> Self {
        Source { records, lag: 0, ends_early: false }
    }
}

struct Feeding<T: Ticks, D: ExchangeData + Clone> {
    input: Option<InputHandle<T, CapacityContainerBuilder<Vec<D>>>>,
    share: VecDeque<(T, Vec<D>)>,
    lag: usize,
    ends_early: bool,
}

impl<T: Ticks, D: ExchangeData + Clone> Advance<T> for Feeding<T, D> {
    fn lag(&self) -> usize {
        self.lag
    }

    fn advance(&mut self, to: Option<&T>) {
        let Some(input) = &mut self.input else { return };
        while self.share.front().is_some_and(|(time, _)| to.is_none_or(|to| time < to)) {
            let Some((time, records)) = self.share.pop_front() else { break };
            input.advance_to(time);
            records.into_iter().for_each(|record| input.send(record));
        }
        match to {
            Some(to) if !(self.ends_early && self.share.is_empty()) => input.advance_to(to.clone()),
            _ => self.input = None,
        }
    }
}

/// A dataflow being built on one worker.
pub struct Building<'scope, T: Ticks> {
    pub scope: Scope<'scope, T>,
    pub flow: Flow,
    pub fault: Fault,
    probe: ProbeHandle<T>,
    events: Arc<Mutex<Vec<Event>>>,
    sources: Vec<Box<dyn Advance<T>>>,
}

impl<'scope, T: Ticks> Building<'scope, T> {
    pub fn config(&self) -> Config {
        let Run { lead, shards, chunk_bytes, seed, .. } = self.flow.run;
        Config {
            epochs: self.flow.epochs,
            lead,
            shards,
            chunk_bytes,
            pre_copy: !seed.is_multiple_of(4),
            ..Config::default()
        }
    }

    /// A loop with the flow's checkpoints and observer.
    pub fn looped(&self) -> Loop<'scope, T> {
        let events = Arc::clone(&self.events);
        let looped = Loop::new(self.scope, &self.config()).unwrap();
        let looped = match &self.flow.checkpoints {
            Some(checkpoints) => looped.checkpoint_to(checkpoints, &self.fault).unwrap(),
            None => looped,
        };
        looped.observe(move |event| events.lock().unwrap().push(event.clone()))
    }

    /// The run's commands, others for each `salt`.
    pub fn policy(&self, salt: u64) -> RandomPolicy {
        let Run { seed, keys, commands, checkpoint_every, .. } = self.flow.run;
        RandomPolicy { random: Random(seed ^ salt.rotate_right(8)), keys, commands, checkpoint_every }
    }

    /// An input, from where the run goes on.
    pub fn input<D: ExchangeData + Clone>(&mut self, source: &Source<D>) -> StreamVec<'scope, T, D> {
        let (index, peers, start) = (self.scope.index(), self.scope.peers(), self.flow.start());
        let mut input = InputHandle::new();
        let stream = self.scope.input_from(&mut input);
        input.advance_to(T::from_ticks(start).unwrap());
        let share = |records: &Vec<D>| records.iter().skip(index).step_by(peers).cloned().collect();
        let share = source.records.range(start..).map(|(at, records)| (T::from_ticks(*at).unwrap(), share(records)));
        let Source { lag, ends_early, .. } = *source;
        self.sources.push(Box::new(Feeding { input: Some(input), share: share.collect(), lag, ends_early }));
        stream
    }

    /// Collects what a stream gives; the driver waits for it.
    pub fn collect<D: Clone + Send + 'static>(&self, stream: StreamVec<'scope, T, D>, into: &Collected<D>) {
        let into = Arc::clone(into);
        stream
            .inspect_core(move |event| {
                if let Ok((stamp, batch)) = event {
                    let at = stamp.least().unwrap().ticks();
                    into.lock().unwrap().entry(at).or_default().extend_from_slice(batch);
                }
            })
            .probe_with(&self.probe);
    }
}
