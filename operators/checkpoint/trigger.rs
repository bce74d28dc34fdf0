use std::fmt;

use super::config::{CheckpointConfig, TriggerKind};
use super::estimate::{RecoveryEstimate, Speeds, smooth};
use crate::error::Error;

/// What one complete epoch saw, over all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observation {
    /// The number of the epoch.
    pub epoch: u64,
    /// Records that arrived in it.
    pub records: u64,
    /// Wall time that it took.
    pub seconds: f64,
    /// Bytes of state at its end.
    pub state_bytes: u64,
}

/// Why a checkpoint is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// So many epochs lie between the last checkpoint's boundary and this one's.
    Every {
        /// The epochs.
        epochs: u64,
    },
    /// More records would arrive during a recovery than the threshold allows.
    Literal {
        /// Predicted arrival rate, in records per second.
        rate: f64,
        /// What a recovery would take.
        recovery: RecoveryEstimate,
        /// The threshold, in records.
        threshold: f64,
    },
    /// A failure is expected to have delayed as many records since the last checkpoint as a checkpoint would.
    Integral {
        /// Records expected to be delayed by failures since the last checkpoint.
        loss: f64,
        /// Records that a checkpoint delays.
        cost: f64,
        /// Wall time since the last checkpoint.
        seconds: f64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Every { epochs } => write!(f, "every: {epochs} epochs since the last checkpoint"),
            Reason::Literal { rate, recovery, threshold } => {
                let records = rate * recovery.seconds();
                write!(f, "literal: {rate:.1} records/s x {recovery} = {records:.0} > {threshold} records")
            }
            Reason::Integral { loss, cost, seconds } => {
                write!(
                    f,
                    "integral: {loss:.3} records expected to be delayed in {seconds:.3} s >= {cost:.3} for a checkpoint"
                )
            }
        }
    }
}

/// The least share of its mean since the last checkpoint that the arrival rate is taken for: a lull makes a
/// checkpoint cheap but not free, so that the interval does not fall below √0.1 ≈ 0.3 of what it would be.
pub const LULL: f64 = 0.1;

/// Decides when to take a checkpoint. Pure: time comes in with the [`Observation`]s and measurements.
///
/// - `every:N`: each N epochs, counted between boundaries.
/// - `literal`: when predicted arrival rate × estimated recovery time exceeds a threshold. It forgets how long the
///   exposure has lasted, and with a threshold below rate × restoring alone it fires again and again.
/// - `integral`, the default: each epoch adds failure rate × its seconds × predicted arrival rate × seconds of replay,
///   the records a failure is expected to have delayed and a checkpoint would have spared; it fires when they reach
///   predicted arrival rate × a checkpoint's seconds. Where replay is as fast as arrival and the rate `r` constant, that
///   is after `t` with `r t² / (2 MTBF) = r C`: Young's `√(2 C MTBF)`. Restoring takes as long after a checkpoint as
///   before it, and so is no reason for one; only `literal`, as first written, counts it.
///
/// No checkpoint is taken before a record has arrived since the last one, but for `every:N`; nor, but for `every:N`,
/// while one is in flight, that is, neither [`completed`](Trigger::completed) nor [`abandoned`](Trigger::abandoned).
///
/// ```
/// use thalweg::checkpoint::{CheckpointConfig, Observation, Trigger};
///
/// let config = CheckpointConfig { trigger: "every:10".parse().unwrap(), ..Default::default() };
/// let mut trigger = Trigger::new(&config, 0).unwrap();
/// let lead = 2;
/// let boundaries: Vec<u64> = (0..40)
///     .filter(|&epoch| trigger.decide(&Observation { epoch, ..Default::default() }, None, epoch + lead).is_some())
///     .map(|epoch| epoch + lead)
///     .collect();
/// assert_eq!(boundaries, [10, 20, 30, 40]);
/// ```
#[derive(Clone, Debug)]
pub struct Trigger {
    config: CheckpointConfig,
    speeds: Speeds,
    /// What would be lost, since the boundary of the last complete checkpoint and of each in flight. Never empty.
    since: Vec<Exposure>,
    rate: Option<f64>,
    state_bytes: u64,
}

/// What a failure would cost if the checkpoint at this boundary were the last.
#[derive(Clone, Copy, Debug, Default)]
struct Exposure {
    boundary: u64,
    records: u64,
    seconds: f64,
    loss: f64,
}

impl Trigger {
    /// For a run that begins at this epoch: 0, or the boundary of the checkpoint it resumes from.
    pub fn new(config: &CheckpointConfig, start: u64) -> Result<Self, Error> {
        config.validate()?;
        let since = vec![Exposure { boundary: start, ..Exposure::default() }];
        Ok(Trigger { config: config.clone(), speeds: Speeds::default(), since, rate: None, state_bytes: 0 })
    }

    /// Takes what a complete epoch saw, and says whether and why to take a checkpoint at `boundary`, which is the
    /// epoch and the loop's lead. `predicted` is the arrival rate forecast over the prediction horizon, in records per
    /// second; without one, the rate seen so far, smoothed exponentially.
    pub fn decide(&mut self, observation: &Observation, predicted: Option<f64>, boundary: u64) -> Option<Reason> {
        let seconds = if observation.seconds.is_finite() { observation.seconds.max(0.0) } else { 0.0 };
        self.state_bytes = observation.state_bytes;
        smooth(&mut self.rate, observation.records as f64 / seconds);
        let rate = predicted.filter(|rate| rate.is_finite() && *rate >= 0.0).or(self.rate).unwrap_or(0.0);
        for exposure in self.since.iter_mut().filter(|e| e.boundary <= observation.epoch) {
            exposure.add(observation.records, seconds, rate, &self.speeds, self.config.mean_time_between_failures);
        }
        let reason = self.due(rate, boundary)?;
        self.since.push(Exposure { boundary, ..Exposure::default() });
        Some(reason)
    }

    fn due(&self, rate: f64, boundary: u64) -> Option<Reason> {
        let last = self.since.last()?;
        if let TriggerKind::Every(every) = self.config.trigger {
            let epochs = boundary.saturating_sub(last.boundary);
            return (epochs >= every).then_some(Reason::Every { epochs });
        }
        if self.since.len() > 1 || last.records == 0 {
            return None;
        }
        if self.config.trigger == TriggerKind::Literal {
            let (recovery, threshold) = (self.recovery(), self.config.checkpoint_threshold);
            let exceeded = rate * recovery.seconds() > threshold;
            return exceeded.then_some(Reason::Literal { rate, recovery, threshold });
        }
        let (loss, seconds) = (last.loss, last.seconds);
        let cost = last.rate(rate) * self.speeds.checkpoint(self.state_bytes);
        (loss > 0.0 && loss >= cost).then_some(Reason::Integral { loss, cost, seconds })
    }

    /// The checkpoint at this boundary is durable; from its boundary on it took so many seconds. Those in flight
    /// before it no longer matter.
    pub fn completed(&mut self, boundary: u64, seconds: f64) {
        if let Some(position) = self.since.iter().position(|e| e.boundary == boundary) {
            self.since.drain(..position);
            self.speeds.checkpointed(seconds);
        }
    }

    /// The checkpoint at this boundary will never be complete: what it would have ended goes on, so that it is due
    /// again.
    pub fn abandoned(&mut self, boundary: u64) {
        let completed = self.since.first().map(|e| e.boundary);
        self.since.retain(|e| e.boundary != boundary || completed == Some(boundary));
    }

    /// How many checkpoints are in flight.
    pub fn in_flight(&self) -> usize {
        self.since.len().saturating_sub(1)
    }

    /// What a recovery would take now, from the last complete checkpoint.
    pub fn recovery(&self) -> RecoveryEstimate {
        let records = self.since.first().map_or(0, |e| e.records);
        self.speeds.recovery(self.state_bytes, records as f64)
    }

    /// What has been measured, to be read.
    pub fn speeds(&self) -> &Speeds {
        &self.speeds
    }

    /// What has been measured, to add to: a restore when a run resumes, and its replay.
    pub fn speeds_mut(&mut self) -> &mut Speeds {
        &mut self.speeds
    }
}

impl Exposure {
    fn add(&mut self, records: u64, seconds: f64, rate: f64, speeds: &Speeds, between_failures: f64) {
        // On average over the epoch, half of its records have arrived.
        let replay = speeds.recovery(0, self.records as f64 + records as f64 / 2.0).replay_seconds;
        self.records = self.records.saturating_add(records);
        self.seconds += seconds;
        self.loss += seconds / between_failures * self.rate(rate) * replay;
    }

    fn rate(&self, predicted: f64) -> f64 {
        let mean = if self.seconds > 0.0 { self.records as f64 / self.seconds } else { 0.0 };
        predicted.max(LULL * mean)
    }
}

#[cfg(test)]
mod tests;
