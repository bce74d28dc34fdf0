use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How closely shards are watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct ProfileConfig {
    /// Epochs that the rolling figures cover, at least 1.
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "EPOCHS", default_value_t = Self::WINDOW)
    )]
    pub window: usize,
    /// Share of a busy shard's records that costly sketches see, above 0 and at most 1.
    ///
    /// Taken as one record in n for the nearest whole n. The first records of each shard and epoch are always seen.
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "SHARE", default_value_t = Self::SAMPLE)
    )]
    pub sample: f64,
    /// Share of a worker's records in an epoch from which on a shard's keys are looked at, from 0 (all shards) to 1.
    ///
    /// Of a lighter shard records are only counted and summed up. Policies take it for one point.
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "SHARE", default_value_t = Self::DETAIL)
    )]
    pub detail: f64,
}

impl Default for ProfileConfig {
    fn default() -> Self {
        ProfileConfig { window: Self::WINDOW, sample: Self::SAMPLE, detail: Self::DETAIL }
    }
}

impl ProfileConfig {
    /// Eight epochs smooth out chance and still follow a change of load within a few decisions.
    pub const WINDOW: usize = 8;

    /// With one record in sixteen the sketches take about a third of what the profile takes, and the share of a key
    /// with a tenth of 20,000 records is known to within a tenth.
    pub const SAMPLE: f64 = 0.0625;

    /// Half of what policies tell apart inside a shard (a 256th of a worker's fair share), so that nothing is lost to
    /// them on a worker with less than twice its fair share.
    pub const DETAIL: f64 = 1.0 / 512.0;

    /// Checks that the figures are possible.
    pub fn validate(&self) -> Result<(), Error> {
        if self.window == 0 {
            return Err(Error::usage("a profile window of 0 epochs covers nothing: give at least 1"));
        }
        if !(self.sample > 0.0 && self.sample <= 1.0) {
            return Err(Error::usage(format!(
                "{} is not a share of records to sample: give a number above 0 and at most 1, such as {}",
                self.sample,
                Self::SAMPLE
            )));
        }
        if !(0.0..=1.0).contains(&self.detail) {
            return Err(Error::usage(format!(
                "{} is not a share of a worker's records: give a number from 0 to 1, such as {}",
                self.detail,
                Self::DETAIL
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_figures_are_named() {
        let check = |window, sample| {
            ProfileConfig { window, sample, ..ProfileConfig::default() }.validate().map_err(|e| e.to_string())
        };
        assert_eq!(check(1, 1.0), Ok(()));
        assert!(check(0, 0.5).unwrap_err().contains("at least 1"));
        for sample in [0.0, -0.5, 1.5, f64::NAN, f64::INFINITY] {
            assert!(check(8, sample).unwrap_err().starts_with(&sample.to_string()));
        }
        for detail in [-0.1, 1.1, f64::NAN] {
            let error = ProfileConfig { detail, ..ProfileConfig::default() }.validate().unwrap_err().to_string();
            assert!(error.starts_with(&detail.to_string()), "{error}");
        }
        assert!(ProfileConfig { detail: 0.0, ..ProfileConfig::default() }.validate().is_ok());
    }

    #[test]
    fn what_is_left_out_of_a_file_has_its_default() {
        assert_eq!(serde_json::from_str::<ProfileConfig>("{}").unwrap(), ProfileConfig::default());
        assert_eq!(serde_json::from_str::<ProfileConfig>(r#"{"window": 3}"#).unwrap().sample, ProfileConfig::SAMPLE);
    }

    #[cfg(feature = "clap")]
    #[test]
    fn the_command_line_has_the_same_defaults() {
        #[derive(clap::Parser)]
        struct Program {
            #[command(flatten)]
            profile: ProfileConfig,
        }
        let parse = |arguments: &[&str]| <Program as clap::Parser>::try_parse_from(arguments).unwrap().profile;
        assert_eq!(parse(&["program"]), ProfileConfig::default());
        let given = parse(&["program", "--window", "3", "--sample=1", "--detail=0"]);
        assert_eq!(given, ProfileConfig { window: 3, sample: 1.0, detail: 0.0 });
    }
}
