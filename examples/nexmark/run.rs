//! Running one program: each worker makes its share of the events when they are due, and worker 0 looks at what is out.

use std::cell::RefCell;
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle, StreamVec};
use timely::worker::Worker;

use crate::arguments::Arguments;
use crate::event::{Event, Inputs};
use crate::generate::Generator;
use crate::latency::{Latencies, due};

/// After how long a worker with nothing to do looks whether another one has given up.
const NAP: Duration = Duration::from_millis(10);

/// From when the first dataflow is built to when the events begin.
const HEAD_START: Duration = Duration::from_millis(50);

/// What comes out of a query.
pub trait Row: Clone + Debug + Ord + Send + 'static {}

impl<R: Clone + Debug + Ord + Send + 'static> Row for R {}

/// What a run was like.
#[derive(Clone, Debug)]
pub struct Outcome<R> {
    pub latencies: Latencies,
    /// How many rows came out.
    pub count: u64,
    /// The rows, if they are kept.
    pub rows: Vec<R>,
    /// From when the first event was due to when all output was there.
    pub elapsed: Duration,
}

/// What the workers share.
struct Shared<R> {
    events: Generator,
    ticks: u64,
    keep_rows: bool,
    start: OnceLock<Instant>,
    /// Some worker has given up: the others would wait for it for ever.
    failed: AtomicBool,
    outcome: Mutex<Outcome<R>>,
}

/// Runs what `build` makes of the events.
pub fn run<R: Row, B>(arguments: &Arguments, build: B) -> Result<Outcome<R>>
where
    B: for<'scope> Fn(Inputs<'scope>) -> Result<StreamVec<'scope, u64, R>> + Send + Sync + 'static,
{
    let shared = Arc::new(Shared {
        events: Generator::new(arguments.seed, arguments.rate, arguments.hot_dwell),
        ticks: arguments.ticks(),
        keep_rows: arguments.verify,
        start: OnceLock::new(),
        failed: AtomicBool::new(false),
        outcome: Mutex::new(Outcome {
            latencies: Latencies::default(),
            count: 0,
            rows: Vec::new(),
            elapsed: Duration::ZERO,
        }),
    });
    let running = Arc::clone(&shared);
    let config = timely::Config::process(arguments.workers.into());
    let guards = timely::execute(config, move |worker| work(worker, &running, &build)).map_err(|what| anyhow!(what))?;
    let (results, panics): (Vec<_>, Vec<_>) = guards.join().into_iter().partition(Result::is_ok);
    if let Some(panic) = panics.into_iter().find_map(Result::err) {
        bail!("a worker has panicked: {panic}");
    }
    results.into_iter().flatten().collect::<Result<()>>()?;
    let shared = Arc::into_inner(shared).ok_or_else(|| anyhow!("a worker is still there"))?;
    Ok(shared.outcome.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn work<R: Row, B>(worker: &mut Worker, shared: &Shared<R>, build: &B) -> Result<()>
where
    B: for<'scope> Fn(Inputs<'scope>) -> Result<StreamVec<'scope, u64, R>>,
{
    let _end = End(&shared.failed);
    let result = replay(worker, shared, build);
    if result.is_err() {
        shared.failed.store(true, Ordering::Relaxed);
        // What is still installed would be waited for.
        worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
    }
    result
}

/// Tells the other workers when this one panics.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

fn replay<R: Row, B>(worker: &mut Worker, shared: &Shared<R>, build: &B) -> Result<()>
where
    B: for<'scope> Fn(Inputs<'scope>) -> Result<StreamVec<'scope, u64, R>>,
{
    let (mut input, probe) = (InputHandle::<u64, _>::new(), ProbeHandle::new());
    let rows = Rc::new(RefCell::new((0, Vec::new())));
    let (sink, keep) = (Rc::clone(&rows), shared.keep_rows);
    worker.dataflow::<u64, _, _>(|scope| {
        let events = scope.input_from(&mut input).container::<Vec<Event>>();
        build(Inputs::new(events))?
            .inspect_core(move |event| {
                let (count, rows) = &mut *sink.borrow_mut();
                let Ok((_, batch)) = event else { return };
                *count += batch.len() as u64;
                if keep {
                    rows.extend_from_slice(batch);
                }
            })
            .probe_with(&probe);
        Ok::<_, anyhow::Error>(())
    })?;
    let start = *shared.start.get_or_init(|| Instant::now() + HEAD_START);
    let mut latencies = Latencies::default();
    let look = |latencies: &mut Latencies| {
        let passed = probe.with_frontier(|frontier| frontier.first().copied().unwrap_or(shared.ticks));
        latencies.pass(passed.min(shared.ticks), start.elapsed());
    };
    for tick in 0..shared.ticks {
        loop {
            let early = due(tick).saturating_sub(start.elapsed());
            if early.is_zero() {
                break;
            }
            shared.step(worker, early.min(NAP))?;
            look(&mut latencies);
        }
        let (first, end) = (shared.events.first_at(tick), shared.events.first_at(tick + 1));
        let mine = (first..end).filter(|number| number % worker.peers() as u64 == worker.index() as u64);
        mine.for_each(|number| input.send(shared.events.event(number)));
        input.advance_to(tick + 1);
        shared.step(worker, Duration::ZERO)?;
        look(&mut latencies);
    }
    drop(input);
    while shared.step(worker, NAP)? {
        look(&mut latencies);
    }
    look(&mut latencies);
    shared.finish(worker.index(), latencies, rows.take(), start.elapsed());
    Ok(())
}

impl<R> Shared<R> {
    /// Steps the worker, or waits for so long that there is something to do; whether anything is left to do.
    fn step(&self, worker: &mut Worker, wait: Duration) -> Result<bool> {
        let active = worker.step_or_park(Some(wait));
        if self.failed.load(Ordering::Relaxed) {
            bail!("another worker has given up");
        }
        Ok(active)
    }

    fn finish(&self, worker: usize, latencies: Latencies, (count, mut rows): (u64, Vec<R>), elapsed: Duration) {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.count += count;
        outcome.rows.append(&mut rows);
        outcome.elapsed = outcome.elapsed.max(elapsed);
        if worker == 0 {
            outcome.latencies = latencies;
        }
    }
}
