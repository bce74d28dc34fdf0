use std::fmt;

use serde::{Deserialize, Serialize};

use super::cost::{CostModel, Costs};

/// Bandwidth of restoring until it has been measured: that of a slow disk.
pub const DEFAULT_RESTORE_BYTES_PER_SECOND: f64 = 100e6;

/// Rate of replaying until it has been measured: what one worker does with cheap records.
pub const DEFAULT_REPLAY_RECORDS_PER_SECOND: f64 = 1e6;

/// The least that a checkpoint is thought to take until one has been measured: making a few files durable.
pub const DEFAULT_CHECKPOINT_SECONDS: f64 = 0.1;

/// The weight of the newest measurement: a change shows within about three, one outlier does not count for much.
pub const SMOOTHING: f64 = 0.3;

/// What has been measured so far, smoothed exponentially. Clocks are read elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Speeds {
    /// Bytes of state restored per second; [`DEFAULT_RESTORE_BYTES_PER_SECOND`] until measured.
    pub restore_bytes_per_second: Option<f64>,
    /// Records replayed per second; [`DEFAULT_REPLAY_RECORDS_PER_SECOND`] until measured.
    pub replay_records_per_second: Option<f64>,
    /// Seconds from a checkpoint's boundary until it was complete. Until measured: what writing the state takes at
    /// the bandwidth of restoring, and [`DEFAULT_CHECKPOINT_SECONDS`] at least.
    pub checkpoint_seconds: Option<f64>,
}

impl Speeds {
    /// Notes that restoring so many bytes took so long.
    pub fn restored(&mut self, bytes: u64, seconds: f64) {
        smooth(&mut self.restore_bytes_per_second, bytes as f64 / seconds);
    }

    /// Notes that replaying so many records took so long.
    pub fn replayed(&mut self, records: u64, seconds: f64) {
        smooth(&mut self.replay_records_per_second, records as f64 / seconds);
    }

    /// Notes that a checkpoint took so long.
    pub fn checkpointed(&mut self, seconds: f64) {
        smooth(&mut self.checkpoint_seconds, seconds);
    }

    /// What recovering would take with so much state, and so many records since the last checkpoint.
    pub fn recovery(&self, state_bytes: u64, records: f64) -> RecoveryEstimate {
        RecoveryEstimate {
            restore_seconds: state_bytes as f64 / self.restore_bandwidth(),
            replay_seconds: records / self.replay_rate(),
        }
    }

    /// How long a checkpoint of so much state is thought to take, in seconds.
    pub fn checkpoint(&self, state_bytes: u64) -> f64 {
        let unmeasured = || (state_bytes as f64 / self.restore_bandwidth()).max(DEFAULT_CHECKPOINT_SECONDS);
        self.checkpoint_seconds.unwrap_or_else(unmeasured)
    }

    /// What is to be paid, counted by this model, with so much state and so many seconds between failures.
    pub fn costs(&self, model: CostModel, state_bytes: u64, mean_time_between_failures: f64) -> Costs {
        Costs {
            model,
            service_rate: self.replay_rate(),
            checkpoint_seconds: self.checkpoint(state_bytes),
            outage_seconds: self.recovery(state_bytes, 0.0).restore_seconds,
            failure_rate: 1.0 / mean_time_between_failures,
        }
    }

    fn replay_rate(&self) -> f64 {
        self.replay_records_per_second.unwrap_or(DEFAULT_REPLAY_RECORDS_PER_SECOND)
    }

    fn restore_bandwidth(&self) -> f64 {
        self.restore_bytes_per_second.unwrap_or(DEFAULT_RESTORE_BYTES_PER_SECOND)
    }
}

/// Moves a smoothed value towards a measurement. One that is no positive number says nothing, and is passed over.
pub(super) fn smooth(value: &mut Option<f64>, measured: f64) {
    if measured.is_finite() && measured > 0.0 {
        *value = Some(value.map_or(measured, |before| before + SMOOTHING * (measured - before)));
    }
}

/// What a recovery would take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecoveryEstimate {
    /// Reading the state of the last checkpoint.
    pub restore_seconds: f64,
    /// Processing again what was consumed since.
    pub replay_seconds: f64,
}

impl RecoveryEstimate {
    /// Both.
    pub fn seconds(&self) -> f64 {
        self.restore_seconds + self.replay_seconds
    }
}

impl fmt::Display for RecoveryEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.3} s ({:.3} s to restore, {:.3} s to replay)",
            self.seconds(),
            self.restore_seconds,
            self.replay_seconds
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_replace_defaults_and_are_smoothed() {
        let mut measured = Speeds::default();
        assert_eq!(measured.recovery(200_000_000, 3e6).seconds(), 5.0);
        assert_eq!((measured.checkpoint(0), measured.checkpoint(200_000_000)), (0.1, 2.0));
        measured.restored(50, 1.0);
        measured.replayed(10, 1.0);
        measured.replayed(20, 1.0);
        measured.checkpointed(4.0);
        let recovery = measured.recovery(100, 26.0);
        assert_eq!((recovery.restore_seconds, recovery.replay_seconds), (2.0, 2.0));
        assert_eq!(measured.checkpoint(1 << 40), 4.0);
        assert_eq!(recovery.to_string(), "4.000 s (2.000 s to restore, 2.000 s to replay)");
    }

    #[test]
    fn what_is_no_measurement_changes_nothing() {
        let mut measured = Speeds::default();
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            measured.checkpointed(seconds);
            measured.restored(0, seconds);
            measured.replayed(if seconds > 0.0 { 0 } else { 7 }, seconds);
        }
        assert_eq!(measured, Speeds::default());
    }
}
