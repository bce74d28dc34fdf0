//! An open loop: records enter when they are due by a schedule, whether or not the dataflow keeps up with it.
//!
//! Time is cut into slices, each a time of the dataflow. The records of a slice are due at its end, and its latency
//! runs from then, not from when they were sent, to when all that they cause is out: so a dataflow that holds up its
//! own input does not look the better for it (no coordinated omission). What is compared is a window of slices in which
//! something happens with a quiet one of equal length just before it.
#![allow(dead_code, reason = "each bench uses a part")]

use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use thalweg::stable_hash;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

/// A slice: as fine as a latency of some milliseconds needs, and as long as a thousand records need.
pub const SLICE: Duration = Duration::from_millis(1);

/// Slices of an epoch.
pub const EPOCH: u64 = 20;

/// Slices after which a window may begin: the caches are this dataflow's again.
pub const WARM: u64 = 15 * EPOCH;

/// Slices sent ahead of what is out where there is no schedule: enough that no worker ever waits for the other.
const IN_FLIGHT: u64 = 5 * EPOCH;

/// From when the workers agree to begin to when they do.
const HEAD_START: Duration = Duration::from_millis(20);

/// The share of what the workers can do that arrives by the schedule.
const LOAD: f64 = 0.5;

/// How long a worker with nothing to do may sleep.
const NAP: Duration = Duration::from_millis(1);

/// The input of a dataflow on one worker: keys, slice by slice.
pub struct Feed {
    pub input: InputHandle<u64, CapacityContainerBuilder<Vec<u64>>>,
    pub probe: ProbeHandle<u64>,
    /// The slice that is to be sent.
    slice: u64,
    buffer: Vec<u64>,
}

/// What was seen of slices, the first one being `from`.
#[derive(Clone, Default)]
pub struct Seen {
    /// The latency of each slice, in nanoseconds.
    pub latencies: Vec<u64>,
    /// Resident memory of the process at the beginning of each epoch, in bytes.
    pub resident: Vec<u64>,
}

impl Seen {
    /// The latencies of the quiet window of a visit, and of the one in which something happens.
    pub fn windows(&self) -> [Tail; 2] {
        let visited = &self.latencies[WARM as usize..];
        let (quiet, event) = visited.split_at(visited.len() / 2);
        Tail::pair(quiet, event)
    }

    /// By how many bytes more is resident at most in the second window than in the quiet one.
    pub fn rise(&self) -> f64 {
        let visited = &self.resident[(WARM / EPOCH) as usize..];
        let (quiet, event) = visited.split_at(visited.len() / 2);
        let most = |window: &[u64]| window.iter().copied().max().unwrap_or(0) as f64;
        most(event) - most(quiet)
    }
}

/// Appends the keys of a slice that this worker sends.
pub type Keys<'a> = &'a dyn Fn(u64, &mut Vec<u64>);

impl Feed {
    pub fn new() -> Self {
        Feed { input: InputHandle::new(), probe: ProbeHandle::new(), slice: 0, buffer: Vec::new() }
    }

    /// The number of the slice to be sent next.
    pub fn slice(&self) -> u64 {
        self.slice
    }

    fn send(&mut self, keys: Keys<'_>) {
        keys(self.slice, &mut self.buffer);
        self.input.send_batch(&mut self.buffer);
        self.slice += 1;
        self.input.advance_to(self.slice);
    }

    /// Sends so many slices as fast as they are taken, and waits until all is out: a closed loop.
    pub fn closed(&mut self, worker: &mut Worker, slices: u64, keys: Keys<'_>) {
        for _ in 0..slices {
            self.send(keys);
            worker.step();
            while self.probe.less_than(&self.slice.saturating_sub(IN_FLIGHT)) {
                worker.step_or_park(Some(NAP));
            }
        }
        while self.probe.less_than(&self.slice) {
            worker.step_or_park(Some(NAP));
        }
    }

    /// Sends so many slices when they are due, the first one a slice after `start`, and waits until all is out. `each`
    /// is called before each is sent.
    pub fn open(
        &mut self,
        worker: &mut Worker,
        start: Instant,
        slices: u64,
        keys: Keys<'_>,
        mut each: impl FnMut(u64),
    ) -> Seen {
        let (first, mut seen) = (self.slice, Seen::default());
        let due = |slice: u64| start + SLICE * u32::try_from(slice + 1).expect("a visit is short");
        let look = |probe: &ProbeHandle<u64>, seen: &mut Seen| {
            let passed = probe.with_frontier(|frontier| frontier.first().map_or(slices, |at| at.saturating_sub(first)));
            for slice in seen.latencies.len() as u64..passed.min(slices) {
                seen.latencies.push(due(slice).elapsed().as_nanos() as u64);
            }
        };
        for slice in 0..slices {
            if slice % EPOCH == 0 && worker.index() == 0 {
                seen.resident.push(resident());
            }
            each(slice);
            while let Some(early) = due(slice).checked_duration_since(Instant::now()).filter(|d| !d.is_zero()) {
                worker.step_or_park(Some(early));
                look(&self.probe, &mut seen);
            }
            self.send(keys);
            worker.step();
            look(&self.probe, &mut seen);
        }
        while self.probe.less_than(&self.slice) {
            worker.step_or_park(Some(NAP));
            look(&self.probe, &mut seen);
        }
        look(&self.probe, &mut seen);
        seen
    }
}

/// Records of a slice at half load, where so many slices of so many records have been taken in since `begin`.
pub fn half_load((slices, records): (u64, u64), begin: Instant) -> u64 {
    let capacity = (slices * records) as f64 / begin.elapsed().as_secs_f64();
    (LOAD * capacity * SLICE.as_secs_f64()) as u64
}

/// The keys of a worker's share of so many records in each slice, drawn from `0..keys`.
pub fn drawn(worker: &Worker, records: u64, keys: u64) -> impl Fn(u64, &mut Vec<u64>) + use<> {
    let (index, peers) = (worker.index() as u64, worker.peers() as u64);
    move |slice, buffer| {
        let numbers = (index..records).step_by(peers as usize);
        buffer.extend(numbers.map(|i| scaled(stable_hash(&(slice << 32 | i)), keys)));
    }
}

/// A number below `below`, in proportion to one of 64 bits.
pub fn scaled(number: u64, below: u64) -> u64 {
    ((u128::from(number) * u128::from(below)) >> 64) as u64
}

/// The keys of a worker's share of `keys`, all of them in so many slices from the slice `from` on.
pub fn in_turn(worker: &Worker, keys: u64, from: u64, slices: u64) -> impl Fn(u64, &mut Vec<u64>) + use<> {
    let (index, peers) = (worker.index() as u64, worker.peers() as u64);
    let bound = move |slice: u64| (slice - from) * keys / slices;
    move |slice, buffer| {
        buffer.extend((bound(slice)..bound(slice + 1)).filter(|key| key % peers == index));
    }
}

/// Lets workers begin at the same instant. A worker that waits does not step: nothing may be on its way.
pub struct Start {
    barrier: Barrier,
    at: Mutex<Instant>,
}

impl Start {
    pub fn new(workers: usize) -> Self {
        Start { barrier: Barrier::new(workers), at: Mutex::new(Instant::now()) }
    }

    /// Waits for the others.
    pub fn wait(&self) {
        self.barrier.wait();
    }

    /// Waits for the others, and says when to begin.
    pub fn agree(&self) -> Instant {
        if self.barrier.wait().is_leader() {
            *self.at.lock().expect("no worker panics") = Instant::now() + HEAD_START;
        }
        self.barrier.wait();
        *self.at.lock().expect("no worker panics")
    }
}

/// What all workers have seen: output is there when the last of them knows.
pub fn together(workers: impl IntoIterator<Item = Seen>) -> Seen {
    let mut workers = workers.into_iter();
    let mut all = workers.next().unwrap_or_default();
    for seen in workers {
        all.latencies.iter_mut().zip(&seen.latencies).for_each(|(all, own)| *all = (*all).max(*own));
        all.resident.extend(seen.resident);
    }
    all
}

/// The latencies of a window: milliseconds, and milliseconds times milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    pub median: f64,
    pub p999: f64,
    pub max: f64,
    /// How far latency was over a given median, summed over time.
    pub area: f64,
}

impl Tail {
    /// Of a quiet window, and of the one after it in which something happened: the areas are over the quiet median.
    fn pair(quiet: &[u64], event: &[u64]) -> [Tail; 2] {
        let median = histogram(quiet).value_at_quantile(0.5);
        [Tail::over(quiet, median), Tail::over(event, median)]
    }

    fn over(latencies: &[u64], median: u64) -> Self {
        let histogram = histogram(latencies);
        let millis = |nanos: u64| nanos as f64 * 1e-6;
        let excess = latencies.iter().map(|nanos| millis(nanos.saturating_sub(median)));
        Tail {
            median: millis(histogram.value_at_quantile(0.5)),
            p999: millis(histogram.value_at_quantile(0.999)),
            max: millis(histogram.max()),
            area: excess.sum::<f64>() * SLICE.as_secs_f64() * 1e3,
        }
    }
}

/// To three digits, up to an hour.
pub fn histogram(nanos: &[u64]) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("the bounds are in order");
    nanos.iter().for_each(|nanos| histogram.saturating_record(*nanos));
    histogram
}

/// Memory of this process that is resident, in bytes.
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells of a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.trim().parse::<u64>().ok());
    kib.expect("resident memory is in KiB") << 10
}

/// CPU time of all threads of this process so far, in seconds.
pub fn process_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
