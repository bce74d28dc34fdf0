//! How late the output was, whatever kept the input waiting.
//!
//! The events of a millisecond are due at its end by the schedule. Its latency runs from then, not from when they were
//! sent, so that a program that holds up its own input does not look the better for it.

use std::collections::BTreeSet;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Milliseconds that one histogram is of.
pub const WINDOW: u64 = 250;

/// The latency of each millisecond of a run.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    nanos: Vec<u64>,
}

impl Latencies {
    /// All output before the millisecond `passed` is there, so long after the start.
    pub fn pass(&mut self, passed: u64, elapsed: Duration) {
        for tick in self.nanos.len() as u64..passed {
            let late = elapsed.saturating_sub(due(tick));
            self.nanos.push(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// A histogram for each window, of nanoseconds.
    pub fn windows(&self) -> Vec<Histogram<u64>> {
        self.nanos.chunks(WINDOW as usize).map(|nanos| histogram(nanos.iter().copied())).collect()
    }

    /// The windows in which shards were on their way, when they moved before these milliseconds: from the one in which
    /// a move fell due to the one after all that came before it was out, in which what has piled up is worked off.
    pub fn moving(&self, moved: impl IntoIterator<Item = u64>) -> BTreeSet<usize> {
        let window = |tick: u64| (tick / WINDOW) as usize;
        let until = |tick: u64| self.nanos.get(tick as usize).map_or(tick, |nanos| tick + nanos / 1_000_000);
        moved.into_iter().flat_map(|tick| window(tick)..=window(until(tick)) + 1).collect()
    }

    /// The latencies of quiet windows and of the others, without the first tenth of the run, in which all is new.
    pub fn split(&self, moving: &BTreeSet<usize>) -> (Histogram<u64>, Histogram<u64>) {
        let warm = self.nanos.len() / 10;
        let part = |wanted: bool| {
            let ticks = self.nanos.iter().enumerate().skip(warm);
            let wanted = ticks.filter(|(tick, _)| moving.contains(&(tick / WINDOW as usize)) == wanted);
            histogram(wanted.map(|(_, nanos)| *nanos))
        };
        (part(false), part(true))
    }
}

/// When the events of a millisecond are due, after the start: all of them have happened by its end.
pub fn due(tick: u64) -> Duration {
    Duration::from_millis(tick + 1)
}

/// To three digits, up to an hour.
fn histogram(nanos: impl Iterator<Item = u64>) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("the bounds are in order");
    nanos.for_each(|nanos| histogram.saturating_record(nanos));
    histogram
}
