//! What worker 0 notes of a run while it goes on.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Instant;

use anyhow::Result;
use hdrhistogram::Histogram;
use thalweg::observe::{CheckpointEvent, EpochEvent, Event};

use crate::dataflow::{END, Row, Total};
use crate::feed::StaticLoads;
use crate::output::{EventLog, Meter};
use crate::report::{CheckpointReport, EpochReport, Verdict};

/// Notes of a run, and where they are written meanwhile.
pub struct Notes {
    pub epochs: Vec<EpochReport>,
    pub checkpoints: Vec<CheckpointReport>,
    pub troubles: Vec<String>,
    pub recovery_seconds: Option<f64>,
    pub quiet: Histogram<u64>,
    pub moving: Histogram<u64>,
    log: Option<EventLog>,
    static_loads: StaticLoads,
    meter: Option<Meter>,
    /// Epochs that may still change.
    open: BTreeMap<u64, EpochReport>,
    /// When the last record of an epoch had gone in.
    ended: BTreeMap<u64, Instant>,
    last: Option<u64>,
    /// The last epoch whose event has come: they come in order.
    told: Option<u64>,
    records: u64,
    difference: Option<(u64, String)>,
    error: Option<anyhow::Error>,
}

impl Notes {
    pub fn new(log: Option<EventLog>, static_loads: StaticLoads, meter: Meter, records: u64) -> Result<Self> {
        Ok(Notes {
            epochs: Vec::new(),
            checkpoints: Vec::new(),
            troubles: Vec::new(),
            recovery_seconds: None,
            quiet: latencies()?,
            moving: latencies()?,
            log,
            static_loads,
            meter: Some(meter),
            open: BTreeMap::new(),
            ended: BTreeMap::new(),
            last: None,
            told: None,
            records,
            difference: None,
            error: None,
        })
    }

    /// The last record before this epoch has gone in.
    pub fn epoch_is_in(&mut self, next: u64) {
        if let Some(last) = self.last {
            self.ended.insert(last, Instant::now());
        }
        self.last = Some(next);
    }

    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Epoch(epoch) if epoch.epoch == END => {}
            Event::Epoch(epoch) => self.epoch(epoch),
            Event::Checkpoint(checkpoint) => self.checkpoint(checkpoint),
        }
    }

    fn epoch(&mut self, event: &EpochEvent) {
        self.told = Some(event.epoch);
        let report = self.open.entry(event.epoch).or_default();
        report.epoch = event.epoch;
        report.records += event.records;
        report.loads.clone_from(&event.loads);
        report.moved_bytes = event.moved_bytes;
        report.forecast = event.forecast;
        let moving = event.moved_bytes > 0;
        let next = self.open.entry(event.boundary).or_default();
        next.epoch = event.boundary;
        next.commands.extend(event.commands.iter().map(ToString::to_string));
        next.checkpoint.clone_from(&event.checkpoint);
        self.recovery_seconds = event.recovery_seconds;
        if let Some(ended) = self.ended.remove(&event.epoch) {
            let nanos = u64::try_from(ended.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let latency = if moving { &mut self.moving } else { &mut self.quiet };
            latency.saturating_record(nanos);
        }
        self.records += event.records;
        if let Some(meter) = &self.meter {
            meter.show(event.epoch, self.records, Some(event.max_mean()));
        }
    }

    fn checkpoint(&mut self, event: &CheckpointEvent) {
        let saved_share = event.saved_share();
        let CheckpointEvent { epoch, reason, bytes, seconds, error, retention_error, merge_error, .. } = event.clone();
        self.troubles
            .extend(retention_error.map(|error| format!("after checkpoint {epoch}, older ones stay: {error}")));
        self.troubles.extend(merge_error.map(|error| format!("at checkpoint {epoch}, older ones stay apart: {error}")));
        match error {
            Some(error) => self.troubles.push(format!("checkpoint before epoch {epoch} abandoned: {error}")),
            None => {
                let report = CheckpointReport { epoch, reason, bytes, saved_share, seconds };
                let written = self.log.as_mut().map_or(Ok(()), |log| log.checkpoint(&report));
                self.keep_error(written);
                self.checkpoints.push(report);
            }
        }
    }

    pub fn total(&mut self, total: &Total) {
        if total.epoch != END {
            let totals = &mut self.open.entry(total.epoch).or_default().totals;
            totals.keys += total.keys;
            totals.moments.merge(&total.moments);
        }
    }

    pub fn difference(&mut self, (epoch, key, moments, _): &Row, more: isize) {
        if self.difference.as_ref().is_none_or(|(first, _)| epoch < first) {
            let (count, mean) = (moments.count(), moments.mean());
            let what = format!("key {key:?}, count {count}, mean {mean}: {more:+} times");
            self.difference = Some((*epoch, what));
        }
    }

    /// Writes down the epochs that can't change any more: those whose output is settled and whose event has come.
    pub fn settle(&mut self, settled: impl Fn(u64) -> bool) {
        let told = self.told;
        self.write(|epoch| settled(epoch) && told.is_some_and(|told| epoch <= told));
    }

    fn write(&mut self, done: impl Fn(u64) -> bool) {
        while let Some(entry) = self.open.first_entry().filter(|entry| done(*entry.key())) {
            let mut report = entry.remove();
            let mut static_loads = self.static_loads.lock().unwrap_or_else(PoisonError::into_inner);
            report.static_loads = static_loads.remove(&report.epoch).unwrap_or_default();
            drop(static_loads);
            // The timers of the last epoch's keys fire in one that has no records.
            if report.records > 0 {
                let written = self.log.as_mut().map_or(Ok(()), |log| log.epoch(&report));
                self.keep_error(written);
                self.epochs.push(report);
            }
        }
    }

    /// The run stops here: what is open comes again when it is resumed.
    pub fn stop(&mut self) {
        self.open.clear();
    }

    /// Ends the notes: the run is over.
    pub fn finish(&mut self) -> Result<()> {
        self.write(|_| true);
        self.meter = None;
        let flushed = self.log.as_mut().map_or(Ok(()), EventLog::flush);
        self.keep_error(flushed);
        self.error.take().map_or(Ok(()), Err)
    }

    pub fn verdict(&self) -> Verdict {
        match &self.difference {
            None => Verdict::Same { epochs: self.epochs.len() as u64 },
            Some((epoch, what)) => Verdict::Different { epoch: *epoch, what: what.clone() },
        }
    }

    fn keep_error(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }
}

/// A histogram of nanoseconds up to an hour, to three digits.
fn latencies() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 3_600_000_000_000, 3)?)
}
