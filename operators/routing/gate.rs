//! The gate.
//!
//! *Emits* the data of each epoch once its routing is settled, and brings the versions behind the pact up to date.
//! *Waits*: data at `t` for "no command at or before `t` can still come". *Holds* the data of at most `lead` epochs
//! while the loop keeps up.
//!
//! | port    |     | connected to |
//! |---------|-----|--------------|
//! | data    | in  | gated        |
//! | control | in  | gated        |
//! | gated   | out |              |

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::order::TotalOrder;
use timely::progress::Timestamp;

use super::SharedVersions;
use crate::keyspace::Command;
use crate::pending::Pending;

/// Holds the data of each time until its routing is settled, and settles it.
///
/// `control` brings the commands, each at its boundary; what they make of the assignment is installed in `versions`,
/// which a [`Routed`](super::Routed) pact right behind the gate shares. Commands that can't be carried out are left
/// out, as they are by every other worker. Versions behind the frontier are dropped.
pub fn gate<'scope, T, D>(
    data: StreamVec<'scope, T, D>,
    control: StreamVec<'scope, T, Command>,
    versions: SharedVersions<T>,
) -> StreamVec<'scope, T, D>
where
    T: Timestamp + TotalOrder,
    D: 'static,
{
    data.binary_frontier(control, Pipeline, Pipeline, "Gate", |initial, _| {
        drop(initial);
        let mut held: Pending<T, Vec<Vec<D>>> = Pending::new();
        let mut commands: Pending<T, Vec<Command>, ()> = Pending::new();
        move |(data, data_frontier), (control, control_frontier), output| {
            control.for_each_stamp(|capability, batches| {
                let Some(at) = capability.least() else { return };
                commands.entry(at, || ()).extend(batches.flat_map(|batch| batch.drain(..)));
            });
            data.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                held.entry(&capability.time().clone(), || capability).extend(batches.map(std::mem::take));
            });
            while let Some((at, (), commands)) = commands.release(control_frontier) {
                let next = versions.borrow().latest().apply_valid(commands).assignment;
                versions.borrow_mut().install(at, next);
            }
            while let Some((_, capability, mut batches)) = held.release(control_frontier) {
                output.session(&capability).give_containers(batches.iter_mut());
            }
            if let Some(next) = held.first().into_iter().chain(data_frontier.frontier().iter()).min() {
                versions.borrow_mut().drop_before(next);
            }
        }
    })
}
