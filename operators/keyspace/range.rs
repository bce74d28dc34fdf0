use std::fmt;
use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive};

use serde::{Deserialize, Serialize};

/// A half-open, non-empty range of routing keys. Its ends may lie at any routing key, down to a
/// range of a single one.
///
/// ```
/// use thalweg::KeyRange;
///
/// let range = KeyRange::new(0x10, 0x20).unwrap();
/// assert!(range.contains(0x1f) && !range.contains(0x20));
/// assert_eq!(range.split(0x18), Some((KeyRange::new(0x10, 0x18).unwrap(), KeyRange::new(0x18, 0x20).unwrap())));
/// assert_eq!(KeyRange::ALL.end(), 1 << 64);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u64, u64)", into = "(u64, u64)")]
pub struct KeyRange {
    start: u64,
    last: u64,
}

impl KeyRange {
    /// The whole key space.
    pub const ALL: KeyRange = KeyRange { start: 0, last: u64::MAX };

    /// The routing keys from `start` up to and without `end`; `None` if there are none.
    /// The end of the key space is `1 << 64`, hence the type of `end`.
    pub fn new(start: u64, end: u128) -> Option<Self> {
        let last = u64::try_from(end.checked_sub(1)?).ok()?;
        (start <= last).then_some(KeyRange { start, last })
    }

    /// The range of one routing key.
    pub fn single(key: u64) -> Self {
        KeyRange { start: key, last: key }
    }

    /// The first routing key.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The last routing key, which the range contains.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The routing key after the last one; `1 << 64` at the end of the key space.
    pub fn end(&self) -> u128 {
        u128::from(self.last) + 1
    }

    /// Whether the range holds a single routing key, so that it can't be split.
    pub fn is_single(&self) -> bool {
        self.start == self.last
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: u64) -> bool {
        self.start <= key && key <= self.last
    }

    /// Whether all of `other` lies in this range.
    pub fn covers(&self, other: &KeyRange) -> bool {
        self.start <= other.start && other.last <= self.last
    }

    /// The routing keys in both ranges.
    pub fn intersection(&self, other: &KeyRange) -> Option<KeyRange> {
        let (start, last) = (self.start.max(other.start), self.last.min(other.last));
        (start <= last).then_some(KeyRange { start, last })
    }

    /// The smallest range that covers both.
    pub fn hull(&self, other: &KeyRange) -> KeyRange {
        KeyRange { start: self.start.min(other.start), last: self.last.max(other.last) }
    }

    /// The parts before `at`, and from `at` on; `None` unless both hold a routing key.
    pub fn split(&self, at: u64) -> Option<(KeyRange, KeyRange)> {
        (self.start < at && at <= self.last)
            .then(|| (KeyRange { start: self.start, last: at - 1 }, KeyRange { start: at, last: self.last }))
    }
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#x}, {:#x})", self.start, self.end())
    }
}

impl From<KeyRange> for (u64, u64) {
    fn from(range: KeyRange) -> Self {
        (range.start, range.last)
    }
}

impl TryFrom<(u64, u64)> for KeyRange {
    type Error = String;

    fn try_from((start, last): (u64, u64)) -> Result<Self, String> {
        if start <= last {
            Ok(KeyRange { start, last })
        } else {
            Err(format!("a key range from {start:#x} to {last:#x} is empty"))
        }
    }
}

impl From<RangeFull> for KeyRange {
    fn from(_: RangeFull) -> Self {
        KeyRange::ALL
    }
}

impl From<RangeFrom<u64>> for KeyRange {
    fn from(range: RangeFrom<u64>) -> Self {
        KeyRange { start: range.start, last: u64::MAX }
    }
}

impl TryFrom<Range<u64>> for KeyRange {
    type Error = String;

    fn try_from(range: Range<u64>) -> Result<Self, String> {
        KeyRange::new(range.start, u128::from(range.end)).ok_or_else(|| format!("the key range {range:?} is empty"))
    }
}

impl TryFrom<RangeInclusive<u64>> for KeyRange {
    type Error = String;

    fn try_from(range: RangeInclusive<u64>) -> Result<Self, String> {
        KeyRange::try_from(range.into_inner())
    }
}
