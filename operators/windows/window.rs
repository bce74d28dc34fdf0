use std::fmt;

use columnar::Columnar;
use serde::{Deserialize, Serialize};

/// A half-open range of event time, in ticks: from `start` up to and without `end`.
///
/// A window is clipped where it would begin before 0 or end after `u64::MAX`; one that ends at `u64::MAX` holds that
/// tick too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Columnar)]
pub struct Window {
    /// The first tick.
    pub start: u64,
    /// The tick after the last one.
    pub end: u64,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}
