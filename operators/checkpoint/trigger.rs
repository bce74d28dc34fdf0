mod calibration;
mod exposure;
mod foresight;
mod paper;
mod plan;
mod reason;

use super::config::{CheckpointConfig, TriggerKind};
use super::cost::Costs;
use super::estimate::{RecoveryEstimate, SMOOTHING, Speeds};
use crate::error::Error;
use exposure::Exposure;
pub use exposure::LULL;
use foresight::{Foresight, Outlook};
pub use reason::Reason;

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

/// Epochs that are worth forecasting for [`Trigger::decide`]: two intervals of 30 epochs. Over 25 traces, 32 cost 0.2 %
/// more, and 16 cost 0.5 %. With intervals of 200 epochs, 400 were no better.
pub const LOOK_AHEAD: usize = 64;

/// Epochs after which an abandoned checkpoint is tried again at the latest: one that fails for minutes would otherwise
/// not be tried for hours.
const LONGEST_WAIT: u64 = 64;

/// Decides when to take a checkpoint. Pure: time comes in with the [`Observation`]s and measurements.
///
/// - `every:N`: each N epochs, counted between boundaries.
/// - `literal`: when predicted arrival rate × estimated recovery time exceeds a threshold. It forgets how long the
///   exposure has lasted, and with a threshold below rate × restoring alone it fires again and again.
/// - `integral`: when what failures are expected to have cost since the last checkpoint reaches the cost of one, each
///   by the [cost model](super::CostModel). Each epoch adds failure rate × its seconds × what a checkpoint would have
///   spared of a failure in it; with `delay`, that is its arrival rate × seconds of replay, and at a constant rate `r`
///   it fires after `t` with `r t² / (2 MTBF) = r C`: Young's `√(2 C MTBF)`, where replay is as fast as arrival.
///   Restoring takes as long after a checkpoint as before it, and so is no reason for one; only `literal`, as first
///   written, counts it.
/// - `foresight`, the default: when a checkpoint at the boundary costs less than at any later one, over the epochs that
///   are forecast. It waits for a cheaper moment, or hurries before a burst. Until forecasts have been worth
///   something, or where there are none, it is `integral`.
///
/// What they cost relative to the best fixed interval chosen in hindsight, as geometric mean over eleven made-up traces
/// and four recorded ones (`cargo bench --bench triggers`), under each cost model; and the least that was possible. At
/// the mean rate the best interval is 30 epochs, or 200:
///
/// | trigger                               | replay | delay | backlog | replay, 200 | delay | backlog |
/// |---------------------------------------|--------|-------|---------|-------------|-------|---------|
/// | `literal` with the best threshold     | 1.23   | 1.35  | 2.84    | 1.19        | 2.11  | 4.25    |
/// | `integral`                            | 0.95   | 0.92  | 0.83    | 1.00        | 0.90  | 1.08    |
/// | `foresight`                           | 0.90   | 0.90  | 0.77    | 0.97        | 0.83  | 0.83    |
/// | [the optimum](super::Hindsight::optimum) | 0.89 | 0.79 | 0.60    | 0.94        | 0.69  | 0.61    |
///
/// Measured before, on 15 traces that are not among these: `literal` 1.22, 2.5 and 3.8; `integral` 0.88, 0.70 and 0.69;
/// the optimum 0.83, 0.58 and 0.49.
///
/// No checkpoint is taken before a record has arrived since the last one, but for `every:N`; nor, but for `every:N`,
/// while one is in flight, that is, neither [`completed`](Trigger::completed) nor [`abandoned`](Trigger::abandoned).
/// One that was abandoned is due again at the next boundary; if it is abandoned again two epochs later, then four, and
/// so on up to 64.
///
/// ```
/// use thalweg::checkpoint::{CheckpointConfig, Observation, Trigger};
///
/// let config = CheckpointConfig { trigger: "every:10".parse().unwrap(), ..Default::default() };
/// let mut trigger = Trigger::new(&config, 0).unwrap();
/// let lead = 2;
/// let boundaries: Vec<u64> = (0..40)
///     .filter(|&epoch| trigger.decide(&Observation { epoch, ..Default::default() }, &[], epoch + lead).is_some())
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
    foresight: Foresight,
    /// Records and seconds of an epoch, smoothed each, as epochs that had to wait are complete together: then one has
    /// all of the time.
    epoch_records: Option<f64>,
    epoch_seconds: Option<f64>,
    state_bytes: u64,
    /// The latest boundary asked for, and the first one at which a checkpoint may be taken.
    asked: u64,
    wait_until: u64,
    /// Checkpoints abandoned one after the other.
    abandoned: u32,
}

impl Trigger {
    /// For a run that begins at this epoch: 0, or the boundary of the checkpoint it resumes from.
    pub fn new(config: &CheckpointConfig, start: u64) -> Result<Self, Error> {
        config.validate()?;
        Ok(Trigger {
            config: config.clone(),
            speeds: Speeds::default(),
            since: vec![Exposure::from(start)],
            foresight: Foresight::from(start),
            epoch_records: None,
            epoch_seconds: None,
            state_bytes: 0,
            asked: start,
            wait_until: start,
            abandoned: 0,
        })
    }

    /// Takes what a complete epoch saw, and says whether and why to take a checkpoint at `boundary`, which is the
    /// epoch and the loop's lead. `forecast` has the records forecast for each of the epochs after it, [`LOOK_AHEAD`]
    /// of them or fewer, and is empty where there is no forecast.
    pub fn decide(&mut self, observation: &Observation, forecast: &[f64], boundary: u64) -> Option<Reason> {
        let Observation { epoch, records, seconds, state_bytes } = *observation;
        let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
        let records = records as f64;
        self.state_bytes = state_bytes;
        self.asked = boundary;
        smooth_any(&mut self.epoch_records, records);
        smooth_any(&mut self.epoch_seconds, seconds);
        let costs = self.costs();
        for exposure in &mut self.since {
            exposure.add(epoch, records, seconds, &costs);
        }
        let reason = match self.config.trigger {
            TriggerKind::Every(every) => self.every(every, boundary),
            TriggerKind::Literal => self.literal(forecast, epoch, boundary),
            TriggerKind::Integral => self.integral(&costs),
            TriggerKind::Foresight => {
                self.foresight.observe(epoch, records, seconds, &costs);
                self.foresee(&costs, forecast, epoch, boundary)
            }
        };
        if reason.is_some() {
            self.since.push(Exposure::from(boundary));
        }
        reason
    }

    fn every(&self, every: u64, boundary: u64) -> Option<Reason> {
        let epochs = boundary.saturating_sub(self.since.last()?.boundary);
        (epochs >= every && !self.waits()).then_some(Reason::Every { epochs })
    }

    fn literal(&self, forecast: &[f64], epoch: u64, boundary: u64) -> Option<Reason> {
        self.exposure()?;
        let threshold = self.config.checkpoint_threshold;
        let (rate, recovery) = (self.predicted(forecast, late(epoch, boundary)), self.recovery());
        let exceeded = rate * recovery.seconds() > threshold;
        exceeded.then_some(Reason::Literal { rate, recovery, threshold })
    }

    fn integral(&self, costs: &Costs) -> Option<Reason> {
        self.exposure()?.is_due(self.rate(), costs)
    }

    /// Rules on paper go on while a checkpoint is in flight.
    fn foresee(&mut self, costs: &Costs, forecast: &[f64], epoch: u64, boundary: u64) -> Option<Reason> {
        let (rate, seconds, path) = (self.rate(), self.epoch_seconds.unwrap_or(0.0), forecast.to_vec());
        let exposure = self.exposure().copied();
        let outlook = Outlook { costs, seconds, path, rate, late: late(epoch, boundary), boundary };
        self.foresight.is_due(exposure.as_ref(), outlook)
    }

    /// Whether an abandoned checkpoint is not to be tried again yet.
    fn waits(&self) -> bool {
        self.asked < self.wait_until
    }

    /// What has been exposed since the last checkpoint; none while one is in flight, or is not to be tried again yet,
    /// or no record has arrived since.
    fn exposure(&self) -> Option<&Exposure> {
        let may_be_taken = self.since.len() == 1 && !self.waits();
        self.since.first().filter(|exposure| may_be_taken && exposure.records > 0.0)
    }

    /// Arrivals as seen so far, smoothed, in records per second.
    fn rate(&self) -> f64 {
        self.epoch_records.zip(self.epoch_seconds).map_or(0.0, |(records, seconds)| sane(records / seconds))
    }

    /// Arrivals forecast for the epoch after the boundary; without a forecast, as seen.
    fn predicted(&self, forecast: &[f64], late: usize) -> f64 {
        let forecast = forecast.get(late).zip(self.epoch_seconds);
        let rate = forecast.map(|(records, seconds)| records / seconds);
        rate.filter(|rate| rate.is_finite() && *rate >= 0.0).unwrap_or(self.rate())
    }

    fn costs(&self) -> Costs {
        let CheckpointConfig { cost_model, mean_time_between_failures, .. } = self.config;
        self.speeds.costs(cost_model, self.state_bytes, mean_time_between_failures)
    }

    /// A checkpoint at this boundary has been commanded, whatever was decided.
    pub fn commanded(&mut self, boundary: u64) {
        if self.since.last().is_none_or(|exposure| exposure.boundary < boundary) {
            self.since.push(Exposure::from(boundary));
        }
    }

    /// The checkpoint at this boundary is durable; from its boundary on it took so many seconds. Those in flight
    /// before it no longer matter.
    pub fn completed(&mut self, boundary: u64, seconds: f64) {
        if let Some(position) = self.since.iter().position(|e| e.boundary == boundary) {
            self.since.drain(..position);
            self.abandoned = 0;
            self.speeds.checkpointed(seconds);
        }
    }

    /// The checkpoint at this boundary will never be complete: what it would have ended goes on, so that it is due
    /// again, after a while.
    pub fn abandoned(&mut self, boundary: u64) {
        let Some(position) = self.since.iter().skip(1).position(|e| e.boundary == boundary) else { return };
        self.since.remove(position + 1);
        // Those that were in flight with one that failed, and may have failed with it, are not further tries.
        if boundary < self.wait_until {
            return;
        }
        let wait = 1u64.checked_shl(self.abandoned).map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT));
        self.wait_until = self.asked.saturating_add(wait);
        self.abandoned = self.abandoned.saturating_add(1);
    }

    /// How many checkpoints are in flight.
    pub fn in_flight(&self) -> usize {
        self.since.len().saturating_sub(1)
    }

    /// What a recovery would take now, from the last complete checkpoint.
    pub fn recovery(&self) -> RecoveryEstimate {
        let records = self.since.first().map_or(0.0, |e| e.records);
        self.speeds.recovery(self.state_bytes, records)
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

/// How many epochs after this one are over at the boundary.
fn late(epoch: u64, boundary: u64) -> usize {
    usize::try_from(boundary.saturating_sub(epoch).saturating_sub(1)).unwrap_or(usize::MAX)
}

/// Moves a smoothed value towards a measurement, which unlike a speed may be 0.
fn smooth_any(value: &mut Option<f64>, measured: f64) {
    *value = Some(value.map_or(measured, |before| before + SMOOTHING * (measured - before)));
}

/// A rate as it may be counted with.
fn sane(rate: f64) -> f64 {
    if rate.is_finite() { rate.clamp(0.0, MOST) } else { 0.0 }
}

/// No rate is higher: its square can still be added up.
const MOST: f64 = 1e100;

#[cfg(test)]
mod tests;
