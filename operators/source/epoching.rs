use std::fmt;
use std::num::NonZeroU64;
use std::rc::Rc;

use crate::error::Error;

/// How the records of a partition make epochs: a function of the record and its place in the partition alone, so that a
/// record that is replayed is in the epoch that it was in.
pub struct Epoching<R>(Rule<R>);

enum Rule<R> {
    Records(NonZeroU64),
    By(Rc<dyn Fn(&R) -> u64>),
}

impl<R> Epoching<R> {
    /// Each so many records of a partition, at least 1, are an epoch.
    pub fn records(count: u64) -> Result<Self, Error> {
        let none = || Error::usage("an epoch must have at least 1 record of a partition");
        NonZeroU64::new(count).map(|count| Epoching(Rule::Records(count))).ok_or_else(none)
    }

    /// `epoch` says in which epoch a record is. One that comes late, after a record of a later epoch in its partition,
    /// is in that later one.
    pub fn by(epoch: impl Fn(&R) -> u64 + 'static) -> Self {
        Epoching(Rule::By(Rc::new(epoch)))
    }

    /// The epoch of a record with so many before it in the partition, the last of them in the epoch `current`.
    pub(super) fn epoch(&self, record: &R, before: u64, current: u64) -> u64 {
        let epoch = match &self.0 {
            Rule::Records(count) => before / count.get(),
            Rule::By(epoch) => epoch(record),
        };
        epoch.max(current)
    }
}

impl<R> Clone for Epoching<R> {
    fn clone(&self) -> Self {
        Epoching(match &self.0 {
            Rule::Records(count) => Rule::Records(*count),
            Rule::By(epoch) => Rule::By(Rc::clone(epoch)),
        })
    }
}

impl<R> fmt::Debug for Epoching<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Rule::Records(count) => f.debug_tuple("Records").field(count).finish(),
            Rule::By(_) => f.write_str("By"),
        }
    }
}
