use serde::{Deserialize, Serialize};

use crate::epoch::{Epochs, Ticks};
use crate::error::Error;
use crate::keyspace::Assignment;
use crate::policy::PolicyConfig;
use crate::profile::ProfileConfig;

/// What stays fixed for the life of a rebalanced dataflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct Config {
    /// Ticks of the timestamp that make an epoch: 1 where timestamps count epochs.
    #[cfg_attr(feature = "clap", arg(skip))]
    pub epochs: Epochs,
    /// Epochs from the one a command is decided from to its boundary, at least 1. It bounds the epochs in flight.
    #[cfg_attr(feature = "clap", arg(long, value_name = "EPOCHS", default_value_t = Self::LEAD))]
    pub lead: u64,
    /// Shards at the start, of equal width, dealt to the workers in turn.
    #[cfg_attr(feature = "clap", arg(long, value_name = "COUNT", default_value_t = Self::SHARDS))]
    pub shards: usize,
    /// Length at which a chunk of state is sent or written, in bytes.
    #[cfg_attr(feature = "clap", arg(long, value_name = "BYTES", default_value_t = Self::CHUNK_BYTES))]
    pub chunk_bytes: usize,
    /// Whether keys that are to leave are copied while they are still served, so that from the boundary on only what
    /// has changed since must be sent. Without, all is sent from the boundary on.
    #[cfg_attr(feature = "clap", arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set))]
    pub pre_copy: bool,
    /// How closely shards are watched.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub profile: ProfileConfig,
    /// When a policy acts, and how much it may do.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub policy: PolicyConfig,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            epochs: Epochs::default(),
            lead: Self::LEAD,
            shards: Self::SHARDS,
            chunk_bytes: Self::CHUNK_BYTES,
            pre_copy: true,
            profile: ProfileConfig::default(),
            policy: PolicyConfig::default(),
        }
    }
}

impl Config {
    /// One epoch of lead is a barrier per epoch; two let an epoch be decided on while the next is worked on.
    pub const LEAD: u64 = 2;

    /// Eight shards for each of eight workers, before any is split.
    pub const SHARDS: usize = 64;

    /// Large enough that headers and messages cost nothing, small enough to be encoded in well under a millisecond.
    pub const CHUNK_BYTES: usize = 64 << 10;

    /// Refuses what can't work.
    pub fn validate(&self) -> Result<(), Error> {
        if self.lead == 0 {
            return Err(Error::usage(
                "the lead must be at least 1 epoch: a command can't take effect in the epoch it is decided from",
            ));
        }
        if self.chunk_bytes == 0 {
            return Err(Error::usage("chunks must have at least 1 byte; 65536 is usual"));
        }
        self.profile.validate()?;
        self.policy.validate()
    }

    /// The assignment of a run that begins with no state.
    pub fn initial(&self, workers: usize) -> Result<Assignment, Error> {
        Ok(Assignment::even(self.shards, workers)?)
    }

    /// The lead as a timestamp summary.
    pub(crate) fn lead_summary<T: Ticks>(&self) -> Result<T::Summary, Error> {
        let too_long = || Error::usage(format!("a lead of {} epochs does not fit the timestamp", self.lead));
        self.epochs.lead::<T>(self.lead).ok_or_else(too_long)
    }
}
