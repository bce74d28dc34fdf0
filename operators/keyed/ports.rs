//! The outputs of a keyed operator, and what entitles it to send there.

use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::generic::OutputBuilderSession;
use timely::dataflow::operators::{Capability, InputCapability};

use super::chunk::Transfer;
use super::{Report, SnapshotPart};
use crate::epoch::Ticks;
use crate::pending::Delay;

pub(super) const OUTPUT: usize = 0;
pub(super) const REPORTS: usize = 1;
pub(super) const SNAPSHOTS: usize = 2;
pub(super) const MOVED: usize = 3;

type Port<'a, T, D> = OutputBuilderSession<'a, T, CapacityContainerBuilder<Vec<D>>>;

pub(super) struct Ports<'a, T: Ticks, R: Clone + 'static> {
    pub output: Port<'a, T, R>,
    pub reports: Port<'a, T, Report>,
    pub snapshots: Port<'a, T, SnapshotPart>,
    pub moved: Port<'a, T, Transfer>,
}

/// What entitles us to do what data and timers of one time may lead to: to give output at it, and to report on its
/// epoch.
#[derive(Clone)]
pub(super) struct DataCapabilities<T: Ticks> {
    pub output: Capability<T>,
    /// At the same time, or at the last one of its epoch.
    pub reports: Capability<T>,
}

impl<T: Ticks> DataCapabilities<T> {
    pub fn at_start(initial: &[Capability<T>], time: &T) -> Self {
        DataCapabilities { output: initial[OUTPUT].delayed(time), reports: initial[REPORTS].delayed(time) }
    }

    pub fn of(message: &InputCapability<T>, time: &T) -> Self {
        DataCapabilities { output: message.delayed(time, OUTPUT), reports: message.delayed(time, REPORTS) }
    }
}

impl<T: Ticks> Delay<T> for DataCapabilities<T> {
    fn delayed(&self, time: &T) -> Self {
        DataCapabilities { output: self.output.delayed(time), reports: self.reports.delayed(time) }
    }
}

/// What entitles us to do what commands of one boundary may lead to: to send state as of it, and to report on its
/// epoch.
#[derive(Clone)]
pub(super) struct BoundaryCapabilities<T: Ticks> {
    pub reports: Capability<T>,
    pub snapshots: Capability<T>,
    pub moved: Capability<T>,
}

impl<T: Ticks> BoundaryCapabilities<T> {
    pub fn of(message: &InputCapability<T>, time: &T) -> Self {
        BoundaryCapabilities {
            reports: message.delayed(time, REPORTS),
            snapshots: message.delayed(time, SNAPSHOTS),
            moved: message.delayed(time, MOVED),
        }
    }
}

impl<T: Ticks> Delay<T> for BoundaryCapabilities<T> {
    fn delayed(&self, time: &T) -> Self {
        BoundaryCapabilities {
            reports: self.reports.delayed(time),
            snapshots: self.snapshots.delayed(time),
            moved: self.moved.delayed(time),
        }
    }
}

/// What is held until a chunk has been sent, which says where it goes too. Nothing more than that is held: while a
/// snapshot is being taken, state moves and epochs become complete.
#[derive(Clone)]
pub(super) enum Hold<T: Ticks> {
    Leaving { to: usize, moved: Capability<T>, reports: Capability<T> },
    Saving { snapshots: Capability<T> },
}
