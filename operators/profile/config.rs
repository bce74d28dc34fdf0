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
}

impl Default for ProfileConfig {
    fn default() -> Self {
        ProfileConfig { window: Self::WINDOW, sample: Self::SAMPLE }
    }
}

impl ProfileConfig {
    /// Eight epochs smooth out chance and still follow a change of load within a few decisions.
    pub const WINDOW: usize = 8;

    /// With one record in sixteen the sketches take about a third of what the profile takes, and the share of a key with
    /// a tenth of 20,000 records is known to within a tenth.
    pub const SAMPLE: f64 = 0.0625;

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
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_figures_are_named() {
        let check = |window, sample| ProfileConfig { window, sample }.validate().map_err(|e| e.to_string());
        assert_eq!(check(1, 1.0), Ok(()));
        assert!(check(0, 0.5).unwrap_err().contains("at least 1"));
        for sample in [0.0, -0.5, 1.5, f64::NAN, f64::INFINITY] {
            assert!(check(8, sample).unwrap_err().starts_with(&sample.to_string()));
        }
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
        let given = parse(&["program", "--window", "3", "--sample=1"]);
        assert_eq!(given, ProfileConfig { window: 3, sample: 1.0 });
    }
}
