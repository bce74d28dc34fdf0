use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use timely::order::TotalOrder;
use timely::progress::Timestamp;

use crate::error::Error;

/// A timestamp that counts ticks: of a clock, of an input, or epochs themselves.
///
/// Only totally ordered timestamps count: a boundary is *the* instant before an epoch, and "all data before it" has no
/// meaning where two times are incomparable. So the operators can't be used inside an iterative scope; the compiler
/// says so.
///
/// ```compile_fail
/// fn counts<T: thalweg::Ticks>() {}
/// counts::<timely::order::Product<u64, u64>>();
/// ```
pub trait Ticks: Timestamp + TotalOrder {
    /// The latest time there is.
    fn latest() -> Self;

    /// Ticks since the minimum.
    fn ticks(&self) -> u64;

    /// The time of so many ticks, if the type can hold it.
    fn from_ticks(ticks: u64) -> Option<Self>;

    /// What advances a timestamp by so many ticks, if the type can hold it.
    fn advance_by(ticks: u64) -> Option<Self::Summary>;
}

macro_rules! ticks {
    ($($integer:ty),*) => { $(
        impl Ticks for $integer {
            fn latest() -> Self { <$integer>::MAX }
            fn ticks(&self) -> u64 { *self as u64 }
            fn from_ticks(ticks: u64) -> Option<Self> { Self::try_from(ticks).ok() }
            fn advance_by(ticks: u64) -> Option<Self::Summary> { <$integer>::try_from(ticks).ok() }
        }
    )* };
}
ticks!(u64, u32, u16, usize);

/// Ticks are nanoseconds; what lies behind the 584th year counts as its end.
impl Ticks for Duration {
    fn latest() -> Self {
        Duration::MAX
    }

    fn ticks(&self) -> u64 {
        u64::try_from(self.as_nanos()).unwrap_or(u64::MAX)
    }

    fn from_ticks(ticks: u64) -> Option<Self> {
        Some(Duration::from_nanos(ticks))
    }

    fn advance_by(ticks: u64) -> Option<Self::Summary> {
        Some(Duration::from_nanos(ticks))
    }
}

/// How many ticks of a timestamp make an epoch: all epochs are of equal length, the first begins at the minimum.
///
/// With the default of one tick, timestamps count epochs. Where timestamps are finer, decisions are made per epoch, and
/// data keeps its times.
///
/// ```
/// use thalweg::Epochs;
///
/// let epochs = Epochs::of(100)?;      // timestamps in milliseconds, epochs of a tenth of a second
/// assert_eq!(epochs.number(&250u64), 2);
/// assert_eq!((epochs.start(2), epochs.last(2)), (Some(200u64), Some(299u64)));
/// # Ok::<_, thalweg::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epochs(NonZeroU64);

impl Epochs {
    /// Epochs of so many ticks, at least 1.
    pub fn of(ticks: u64) -> Result<Self, Error> {
        let none = || Error::usage("an epoch must have at least 1 tick of the timestamp");
        NonZeroU64::new(ticks).map(Epochs).ok_or_else(none)
    }

    /// Ticks of an epoch.
    pub fn ticks(&self) -> u64 {
        self.0.get()
    }

    /// The number of the epoch that a time lies in.
    pub fn number<T: Ticks>(&self, time: &T) -> u64 {
        time.ticks() / self.0
    }

    /// The first time of an epoch, if the type can hold it.
    pub fn start<T: Ticks>(&self, epoch: u64) -> Option<T> {
        T::from_ticks(epoch.checked_mul(self.ticks())?)
    }

    /// The last time of an epoch, if the type can hold its first.
    pub fn last<T: Ticks>(&self, epoch: u64) -> Option<T> {
        let start: T = self.start(epoch)?;
        let last = start.ticks().checked_add(self.ticks() - 1).filter(|last| *last < T::latest().ticks());
        last.map_or_else(|| Some(T::latest()), T::from_ticks)
    }

    /// The first and the last time of the epoch that a time lies in.
    pub fn around<T: Ticks>(&self, time: &T) -> (T, T) {
        let epoch = self.number(time);
        let around = self.start(epoch).zip(self.last(epoch));
        around.expect("an epoch begins at or before any time in it")
    }

    /// The first time of the epoch after the one that a time lies in, if there is one.
    pub fn next<T: Ticks>(&self, time: &T) -> Option<T> {
        self.start(self.number(time).checked_add(1)?)
    }

    /// What advances the last time of an epoch to the first one so many epochs later, at least 1, if the type can hold
    /// it.
    pub(crate) fn lead<T: Ticks>(&self, epochs: u64) -> Option<T::Summary> {
        T::advance_by(epochs.checked_sub(1)?.checked_mul(self.ticks())?.checked_add(1)?)
    }
}

impl Default for Epochs {
    fn default() -> Self {
        Epochs(NonZeroU64::MIN)
    }
}

impl fmt::Display for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use timely::progress::PathSummary;

    use super::*;

    #[test]
    fn epochs_divide_time() {
        for ticks in [1, 2, 7, 1000] {
            let epochs = Epochs::of(ticks).unwrap();
            for time in [0u32, 1, 6, 7, 8, 999, 1000, u32::MAX - 1, u32::MAX] {
                let (first, last) = epochs.around(&time);
                assert!(first <= time && time <= last, "{time} in {first}..={last}");
                assert_eq!((epochs.number(&first), epochs.number(&last)), (epochs.number(&time), epochs.number(&time)));
                assert_eq!(epochs.next(&time), last.checked_add(1));
            }
        }
        assert!(Epochs::of(0).is_err());
    }

    #[test]
    fn a_command_decided_from_an_epoch_takes_effect_at_the_start_of_a_later_one() {
        for (ticks, lead) in [(1, 1), (1, 3), (100, 1), (100, 2)] {
            let epochs = Epochs::of(ticks).unwrap();
            let edge = epochs.lead::<u64>(lead).unwrap();
            let last = epochs.last::<u64>(5).unwrap();
            assert_eq!(edge.results_in(&last), epochs.start(5 + lead));
        }
        assert_eq!(Epochs::of(1 << 40).unwrap().lead::<u32>(2), None);
    }

    #[test]
    fn durations_count_nanoseconds() {
        let epochs = Epochs::of(1_000_000).unwrap();
        assert_eq!(epochs.number(&Duration::from_micros(2_500)), 2);
        assert_eq!(epochs.last(2), Some(Duration::from_nanos(2_999_999)));
        assert_eq!(epochs.around(&Duration::MAX).1, Duration::MAX);
    }
}
