//! Asking for a checkpoint: from any worker of any process, by what it reports.

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator as _;

use crate::checkpoint::Checkpoints;
use crate::epoch::Ticks;
use crate::keyed::Report;

/// Adds to the reports of this worker that the program has asked for a checkpoint, once each time that it has.
pub(super) fn with_requests<'scope, T: Ticks>(
    reports: StreamVec<'scope, T, (usize, Report)>,
    checkpoints: &Checkpoints,
) -> StreamVec<'scope, T, (usize, Report)> {
    let checkpoints = checkpoints.clone();
    reports.unary(Pipeline, "Request", |_, _| {
        move |input, output| {
            input.for_each(|capability, reports| {
                let request = checkpoints.take_request().then_some((0, Report::CheckpointRequested));
                output.session(&capability).give_iterator(reports.drain(..).chain(request));
            });
        }
    })
}
