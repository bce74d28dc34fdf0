use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// When a sink makes the output of an epoch visible. As text: `epoch` or `checkpoint`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// As soon as it is complete. What a recovery replays is compared with it.
    #[default]
    #[serde(rename = "epoch")]
    EpochComplete,
    /// Once a checkpoint exists whose boundary is after it, so that nothing visible is ever replayed, unless that
    /// checkpoint is damaged. The end of the input covers all.
    #[serde(rename = "checkpoint")]
    Checkpointed,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            When::EpochComplete => "epoch",
            When::Checkpointed => "checkpoint",
        })
    }
}

impl FromStr for When {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "epoch" => Ok(When::EpochComplete),
            "checkpoint" => Ok(When::Checkpointed),
            _ => {
                Err(Error::usage(format!("output can't be made visible at {text:?}: expected `epoch` or `checkpoint`")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_printed() {
        for when in [When::EpochComplete, When::Checkpointed] {
            assert_eq!(when.to_string().parse::<When>().unwrap(), when);
            assert_eq!(serde_json::to_string(&when).unwrap(), format!("{:?}", when.to_string()));
        }
        assert!("Epoch".parse::<When>().unwrap_err().to_string().contains("expected `epoch`"));
    }
}
