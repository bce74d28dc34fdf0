//! The keyed operator.
//!
//! *Emits* at each time what the logic gives at it; at the last time of every complete epoch reports of its live
//! shards, a few at a time while it goes on with the next epoch, and then what it holds; at its boundary, the chunks of
//! a snapshot; at the boundary where it leaves, the chunks of a shard, most of them ahead: copies of what is still
//! served here. *Waits* as [`super::waits`] says. *Holds* data whose turn has not come, data of shards whose state is
//! still on its way, timers, and the shards.
//!
//! | port      |     | connected to                | carries                                           |
//! |-----------|-----|-----------------------------|---------------------------------------------------|
//! | control   | in  | reports, snapshots, moved   | commands, the same for all workers                |
//! | arrivals  | in  | output, reports             | chunks from `moved` of all workers                |
//! | data      | in  | output, reports             | records, routed by the assignment at their time   |
//! | … again   | in  | output, reports             | the other input's records, if there are two       |
//! | output    | out |                             | what the logic gives                              |
//! | reports   | out |                             | what shards have seen, what has been moved        |
//! | snapshots | out |                             | ranges and chunks of the shards, for the store    |
//! | moved     | out |                             | chunks, each for one worker                       |
//!
//! `moved` comes back as `arrivals` by a feedback edge with the zero summary. `arrivals` is not connected to `moved`,
//! so that edge closes no cycle.

use std::sync::Arc;

use timely::ExchangeData;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{ConnectLoop, Feedback};
use timely::dataflow::{Scope, StreamVec};
use timely::progress::Antichain;
use timely::progress::frontier::MutableAntichain;

use super::chunk::Transfer;
use super::codec::Codec;
use super::logic::{Either, Logic, OneInput, Side, TwoInputs};
use super::ports::{MOVED, OUTPUT, Ports, REPORTS, SNAPSHOTS};
use super::waits::Frontiers;
use super::worker::Worker;
use super::{Backlog, Context, Fault, Report, Restore, SnapshotPart};
use crate::epoch::{Epochs, Ticks};
use crate::error::Error;
use crate::keyspace::{Assignment, Command};
use crate::profile::ProfileConfig;
use crate::routing::{Gated, Routed};

/// How a keyed operator is set up.
#[derive(Debug)]
pub struct KeyedSettings {
    /// The operator's name in logs, events and checkpoints: one for each keyed operator of a dataflow.
    pub name: String,
    /// What makes an epoch.
    pub epochs: Epochs,
    /// Length at which a chunk of state is sent, in bytes.
    pub chunk_bytes: usize,
    /// Whether keys that are to leave are copied while they are still served.
    pub pre_copy: bool,
    /// How closely its shards are watched.
    pub profile: ProfileConfig,
    /// Where states come from, if the run does not begin with none.
    pub restore: Option<Restore>,
    /// What of its snapshots the store has not taken yet, where there is one.
    pub backlog: Option<Arc<Backlog>>,
    /// Where an error is put that ends the operator's work.
    pub fault: Fault,
}

/// The streams that leave a keyed operator.
#[allow(missing_debug_implementations, reason = "streams are not Debug")]
pub struct KeyedStreams<'scope, T: Ticks, R> {
    /// What the logic gave.
    pub output: StreamVec<'scope, T, R>,
    /// What shards have seen in each complete epoch, and what has been moved.
    pub reports: StreamVec<'scope, T, Report>,
    /// The parts of snapshots, at the boundaries as of which they were taken.
    pub snapshots: StreamVec<'scope, T, SnapshotPart>,
}

/// Applies `logic` to records, key by key, wherever the assignment puts their keys.
///
/// `control` must bring the same commands to every worker, each at the start of its epoch, and must be that of the
/// gate. Refuses an assignment for another number of workers.
pub fn keyed<'scope, T, D, G, C>(
    data: Gated<'scope, T, D::Record>,
    control: StreamVec<'scope, T, Command>,
    logic: OneInput<D, G>,
    routing_key: impl Fn(&D::Record) -> u64 + 'static,
    settings: KeyedSettings,
) -> Result<KeyedStreams<'scope, T, D::Output>, Error>
where
    T: Ticks,
    D: Side<T>,
    G: FnMut(&mut D::State, &mut Context<'_, T, D::Key, D::Output>) + 'static,
    C: Codec<D::Key, D::State>,
{
    let (scope, assignment) = (data.data.scope(), data.latest());
    let inputs = |builder: &mut OperatorBuilder<'scope, T>| vec![receiver(builder, data, routing_key, |batch| batch)];
    build::<_, _, C>(scope, assignment, inputs, control, logic, settings)
}

/// As [`keyed`], with two inputs whose records see the same states.
///
/// Both must have passed a gate with the same control stream. Records of one time are applied as they come, whichever
/// input they come from.
pub fn keyed_pair<'scope, T, A, B, G, C>(
    (left, left_key): (Gated<'scope, T, A::Record>, impl Fn(&A::Record) -> u64 + 'static),
    (right, right_key): (Gated<'scope, T, B::Record>, impl Fn(&B::Record) -> u64 + 'static),
    control: StreamVec<'scope, T, Command>,
    logic: TwoInputs<A, B, G>,
    settings: KeyedSettings,
) -> Result<KeyedStreams<'scope, T, A::Output>, Error>
where
    T: Ticks,
    A: Side<T>,
    B: Side<T, Key = A::Key, State = A::State, Output = A::Output>,
    G: FnMut(&mut A::State, &mut Context<'_, T, A::Key, A::Output>) + 'static,
    C: Codec<A::Key, A::State>,
{
    let (scope, assignment) = (left.data.scope(), left.latest());
    let inputs = |builder: &mut OperatorBuilder<'scope, T>| {
        vec![receiver(builder, left, left_key, Either::Left), receiver(builder, right, right_key, Either::Right)]
    };
    build::<_, _, C>(scope, assignment, inputs, control, logic, settings)
}

/// Hands a worker what has come at one of its data inputs.
type Receiver<T, L, C> = Box<dyn FnMut(&mut Worker<T, L, C>)>;

/// Adds a data input to the operator.
fn receiver<'scope, T, L, C, D>(
    builder: &mut OperatorBuilder<'scope, T>,
    data: Gated<'scope, T, D>,
    routing_key: impl Fn(&D) -> u64 + 'static,
    batch: impl Fn(Vec<D>) -> L::Batch + Copy + 'static,
) -> Receiver<T, L, C>
where
    T: Ticks,
    L: Logic<T>,
    C: Codec<L::Key, L::State>,
    D: ExchangeData,
{
    let pact = Routed::new(data.versions, routing_key);
    let same = || Antichain::from_elem(T::Summary::default());
    let mut input = builder.new_input_connection(data.data, pact, [(OUTPUT, same()), (REPORTS, same())]);
    Box::new(move |worker| {
        input.for_each_stamp(|capability, batches| {
            worker.receive_data(&capability, batches.map(|records| batch(std::mem::take(records))));
        });
    })
}

fn build<'scope, T, L, C>(
    scope: Scope<'scope, T>,
    assignment: Assignment,
    inputs: impl FnOnce(&mut OperatorBuilder<'scope, T>) -> Vec<Receiver<T, L, C>>,
    control: StreamVec<'scope, T, Command>,
    logic: L,
    settings: KeyedSettings,
) -> Result<KeyedStreams<'scope, T, L::Output>, Error>
where
    T: Ticks,
    L: Logic<T>,
    C: Codec<L::Key, L::State>,
{
    if assignment.workers() != scope.peers() {
        let (assigned, running) = (assignment.workers(), scope.peers());
        return Err(Error::usage(format!(
            "the assignment is for {assigned} workers and {running} run: make one for these"
        )));
    }
    let index = scope.index();
    let (moving, arrivals) = scope.feedback::<Vec<Transfer>>(Default::default());
    let same = || Antichain::from_elem(T::Summary::default());

    let mut builder = OperatorBuilder::new(format!("Keyed {}", settings.name), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    if let Some(backlog) = &settings.backlog {
        let activator = scope.worker().sync_activator_for(builder.operator_info().address.to_vec());
        // An activation can fail only when the worker has gone.
        backlog.wake_by(move || _ = activator.activate());
    }
    let (output, output_stream) = builder.new_output();
    let (reports, reports_stream) = builder.new_output();
    let (snapshots, snapshots_stream) = builder.new_output();
    let (moved, moved_stream) = builder.new_output();
    moved_stream.connect_loop(moving);
    let answers = [(REPORTS, same()), (SNAPSHOTS, same()), (MOVED, same())];
    let mut control = builder.new_input_connection(control, Pipeline, answers);
    let pact = Exchange::new(|transfer: &Transfer| transfer.to as u64);
    let mut arrivals = builder.new_input_connection(arrivals, pact, [(OUTPUT, same()), (REPORTS, same())]);
    let mut receivers = inputs(&mut builder);
    let (mut output, mut reports) = (OutputBuilder::from(output), OutputBuilder::from(reports));
    let (mut snapshots, mut moved) = (OutputBuilder::from(snapshots), OutputBuilder::from(moved));

    builder.build(move |initial| {
        let mut worker = Worker::<T, L, C>::new(index, logic, assignment, settings, &initial);
        drop(initial);
        move |frontiers: &[MutableAntichain<T>]| {
            let [control_frontier, arrivals_frontier, data @ ..] = frontiers else {
                unreachable!("two inputs and data")
            };
            let frontiers = Frontiers { data, control: control_frontier, arrivals: arrivals_frontier };
            let mut ports = Ports {
                output: output.activate(),
                reports: reports.activate(),
                snapshots: snapshots.activate(),
                moved: moved.activate(),
            };
            // Not by stamp: those of one are sorted with others, and the order of chunks matters.
            arrivals.for_each(|capability, chunks| worker.receive_chunks(&capability, chunks.drain(..)));
            control.for_each(|capability, commands| worker.receive_commands(&capability, commands.drain(..)));
            receivers.iter_mut().for_each(|receive| receive(&mut worker));
            if worker.act(frontiers, &mut ports) {
                activator.activate();
            }
        }
    });
    Ok(KeyedStreams { output: output_stream, reports: reports_stream, snapshots: snapshots_stream })
}
