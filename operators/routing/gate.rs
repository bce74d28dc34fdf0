//! The gate.
//!
//! *Emits* the data of each epoch once its routing is settled, and brings the versions behind the pact up to date.
//! *Waits*: data for "no command at or before its epoch's start can still come". *Holds* the data of at most `lead`
//! epochs while the loop keeps up.
//!
//! | port    |     | connected to |
//! |---------|-----|--------------|
//! | data    | in  | gated        |
//! | control | in  | gated        |
//! | gated   | out |              |

use std::cell::RefCell;
use std::rc::Rc;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::InputCapability;
use timely::dataflow::operators::generic::Operator;
use timely::progress::frontier::MutableAntichain;

use super::{SharedVersions, Versions};
use crate::epoch::{Epochs, Ticks};
use crate::keyspace::{Assignment, Command};
use crate::pending::Pending;

/// A stream the routing of which is settled.
#[allow(missing_debug_implementations, reason = "streams are not Debug")]
pub struct Gated<'scope, T: Ticks, D: 'static> {
    /// The data, ready for a [`Routed`](super::Routed) pact right behind the gate.
    pub data: StreamVec<'scope, T, D>,
    /// What the pact routes by.
    pub versions: SharedVersions<T>,
}

impl<T: Ticks, D> Gated<'_, T, D> {
    /// The assignment that holds from the latest time on.
    pub fn latest(&self) -> Assignment {
        self.versions.borrow().latest().clone()
    }
}

/// Holds the data of each epoch until its routing is settled, and settles it.
///
/// `control` brings the commands, each at the start of the epoch before which it takes effect; what they make of the
/// `initial` assignment is installed in the versions. Commands that can't be carried out are left out, as they are by
/// every other worker. Versions behind the frontier are dropped.
pub fn gate<'scope, T: Ticks, D: 'static>(
    data: StreamVec<'scope, T, D>,
    control: StreamVec<'scope, T, Command>,
    initial: Assignment,
    epochs: Epochs,
) -> Gated<'scope, T, D> {
    let mut routing = Settling::new(initial, epochs);
    let versions = Rc::clone(&routing.versions);
    let data = data.binary_frontier(control, Pipeline, Pipeline, "Gate", |initial, _| {
        drop(initial);
        let mut held: Pending<T, Vec<Vec<D>>> = Pending::new();
        move |(data, data_frontier), (control, control_frontier), output| {
            control.for_each(|capability, commands| routing.receive(&capability, commands.drain(..)));
            data.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                held.entry(&capability.time().clone(), || capability).extend(batches.map(std::mem::take));
            });
            routing.settle(control_frontier);
            while let Some((_, capability, mut batches)) =
                held.release_if(|at, _| routing.is_settled(at, control_frontier))
            {
                output.session(&capability).give_containers(batches.iter_mut());
            }
            routing.drop_before(held.first().into_iter().chain(data_frontier.frontier().iter()).min());
        }
    });
    Gated { data, versions }
}

/// Versions, and the commands on their way into them.
pub(crate) struct Settling<T: Ticks> {
    pub versions: SharedVersions<T>,
    commands: Pending<T, Vec<Command>, ()>,
    epochs: Epochs,
}

impl<T: Ticks> Settling<T> {
    pub fn new(initial: Assignment, epochs: Epochs) -> Self {
        let versions = Rc::new(RefCell::new(Versions::new(initial)));
        Settling { versions, commands: Pending::new(), epochs }
    }

    pub fn receive(&mut self, capability: &InputCapability<T>, commands: impl Iterator<Item = Command>) {
        let Some(at) = capability.least() else { return };
        self.commands.entry(at, || ()).extend(commands);
    }

    /// Installs what can't change any more.
    pub fn settle(&mut self, control: &MutableAntichain<T>) {
        while let Some((at, (), commands)) = self.commands.release(control) {
            let next = self.versions.borrow().latest().apply_valid(commands).assignment;
            self.versions.borrow_mut().install(at, next);
        }
    }

    /// Whether no command at or before the start of the time's epoch can still come.
    pub fn is_settled(&self, at: &T, control: &MutableAntichain<T>) -> bool {
        !control.less_equal(&self.epochs.around(at).0)
    }

    /// Drops the versions that are not in force at `time` or later.
    pub fn drop_before(&self, time: Option<&T>) {
        if let Some(time) = time {
            self.versions.borrow_mut().drop_before(time);
        }
    }
}
