//! The keyed operator.
//!
//! *Emits* at each time what the logic gives at it; a report of each live shard at every complete epoch; the chunks of a
//! snapshot at its boundary; the chunks of a shard that leaves at the boundary where it leaves.
//! *Waits* as [`super::waits`] says. *Holds* data of epochs whose turn has not come, data of shards whose state is still
//! on its way, timers, and the shards.
//!
//! | port      |     | connected to                | carries                                           |
//! |-----------|-----|-----------------------------|---------------------------------------------------|
//! | data      | in  | output, reports             | records, routed by the assignment at their time   |
//! | control   | in  | reports, snapshots, moved   | commands, the same for all workers                |
//! | arrivals  | in  | output, reports             | chunks from `moved` of all workers                |
//! | output    | out |                             | what the logic gives                              |
//! | reports   | out |                             | what shards have seen, what has been moved        |
//! | snapshots | out |                             | ranges and chunks of the shards, for the store    |
//! | moved     | out |                             | chunks, each for one worker                       |
//!
//! `moved` comes back as `arrivals` by a feedback edge with the zero summary. `arrivals` is not connected to `moved`, so that
//! edge closes no cycle.

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{ConnectLoop, Feedback};
use timely::progress::Antichain;
use timely::progress::frontier::MutableAntichain;

use super::chunk::Chunk;
use super::codec::Codec;
use super::logic::Logic;
use super::ports::{MOVED, OUTPUT, Ports, REPORTS, SNAPSHOTS};
use super::waits::{Frontiers, Step};
use super::worker::Worker;
use super::{Fault, Report, Restore, SnapshotPart};
use crate::epoch::Epoch;
use crate::error::Error;
use crate::keyspace::Command;
use crate::routing::{Routed, SharedVersions};

/// How a keyed operator is set up.
#[derive(Debug)]
pub struct KeyedSettings {
    /// The operator's name in logs, events and checkpoints: one for each keyed operator of a dataflow.
    pub name: String,
    /// The key space that the operator belongs to: all operators of it are routed by one assignment.
    pub space: String,
    /// Length at which a chunk of state is sent, in bytes.
    pub chunk_bytes: usize,
    /// The share of records that costly sketches see, in (0, 1].
    pub sample: f64,
    /// Where states come from, if the run does not begin with none.
    pub restore: Option<Restore>,
    /// Where an error is put that ends the operator's work.
    pub fault: Fault,
}

/// The streams that leave a keyed operator.
#[allow(missing_debug_implementations, reason = "streams are not Debug")]
pub struct KeyedStreams<'scope, T: Epoch, R> {
    /// What the logic gave.
    pub output: StreamVec<'scope, T, R>,
    /// What shards have seen in each complete epoch, and what has been moved.
    pub reports: StreamVec<'scope, T, Report>,
    /// The parts of snapshots, at the boundaries as of which they were taken.
    pub snapshots: StreamVec<'scope, T, SnapshotPart>,
}

/// Applies `logic` to records, key by key, wherever the assignment puts their keys.
///
/// `data` must have passed a [`gate`](crate::routing::gate) that shares `versions` and has the same `control`; `control`
/// must bring the same commands to every worker, each at its boundary. Refuses versions that begin with an assignment for
/// another number of workers.
pub fn keyed<'scope, T, L, C>(
    data: StreamVec<'scope, T, L::Record>,
    control: StreamVec<'scope, T, Command>,
    versions: SharedVersions<T>,
    logic: L,
    routing_key: impl Fn(&L::Record) -> u64 + 'static,
    settings: KeyedSettings,
) -> Result<KeyedStreams<'scope, T, L::Output>, Error>
where
    T: Epoch,
    L: Logic<T>,
    C: Codec<L::Key, L::State>,
{
    let scope = data.scope();
    let index = scope.index();
    let assignment = versions.borrow().latest().as_ref().clone();
    if assignment.workers() != scope.peers() {
        let (assigned, running) = (assignment.workers(), scope.peers());
        return Err(Error::usage(format!(
            "the assignment is for {assigned} workers and {running} run: make one for these"
        )));
    }
    let (moving, arrivals) = scope.feedback::<Vec<(usize, Chunk)>>(Default::default());
    let same = || Antichain::from_elem(T::Summary::default());

    let mut builder = OperatorBuilder::new(format!("Keyed {}", settings.name), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let (output, output_stream) = builder.new_output();
    let (reports, reports_stream) = builder.new_output();
    let (snapshots, snapshots_stream) = builder.new_output();
    let (moved, moved_stream) = builder.new_output();
    moved_stream.connect_loop(moving);
    let pact = Routed::new(versions, routing_key);
    let mut data = builder.new_input_connection(data, pact, [(OUTPUT, same()), (REPORTS, same())]);
    let answers = [(REPORTS, same()), (SNAPSHOTS, same()), (MOVED, same())];
    let mut control = builder.new_input_connection(control, Pipeline, answers);
    let pact = Exchange::new(|(to, _): &(usize, Chunk)| *to as u64);
    let mut arrivals = builder.new_input_connection(arrivals, pact, [(OUTPUT, same()), (REPORTS, same())]);
    let (mut output, mut reports) = (OutputBuilder::from(output), OutputBuilder::from(reports));
    let (mut snapshots, mut moved) = (OutputBuilder::from(snapshots), OutputBuilder::from(moved));

    builder.build(move |initial| {
        let mut worker = Worker::<T, L, C>::new(index, logic, assignment, settings, &initial);
        drop(initial);
        move |frontiers: &[MutableAntichain<T>]| {
            let [data_frontier, control_frontier, arrivals_frontier] = frontiers else { unreachable!("three inputs") };
            let frontiers = Frontiers { data: data_frontier, control: control_frontier, arrivals: arrivals_frontier };
            let mut ports = Ports {
                output: output.activate(),
                reports: reports.activate(),
                snapshots: snapshots.activate(),
                moved: moved.activate(),
            };
            arrivals.for_each_stamp(|capability, batches| {
                worker.receive_chunks(&capability, batches.flat_map(|batch| batch.drain(..)));
            });
            control.for_each_stamp(|capability, batches| {
                worker.receive_commands(&capability, batches.flat_map(|batch| batch.drain(..)));
            });
            data.for_each_stamp(|capability, batches| worker.receive_data(&capability, batches.map(std::mem::take)));
            while let Some(step) = worker.next_step(frontiers) {
                match step {
                    Step::Boundary(at) => worker.cross(&at, &mut ports),
                    Step::Epoch(at) => worker.apply(&at, &mut ports),
                }
            }
            if worker.work(&mut ports) {
                activator.activate();
            }
            worker.close(frontiers, &mut ports);
        }
    });
    Ok(KeyedStreams { output: output_stream, reports: reports_stream, snapshots: snapshots_stream })
}
