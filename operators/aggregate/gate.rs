//! The gate in front of an aggregate: a [`gate`](crate::routing::gate) that folds hot keys besides, those that a
//! command says and those that it finds.
//!
//! *Emits* the data of each epoch once its routing is settled, but for the records of keys that are folded in it; of
//! those, at the epoch's last time, one partial per key, and how many records are in it. *Waits* as the gate does, and
//! with the partials of an epoch until its data is complete. *Holds* data as the gate does, and the partials of open
//! epochs.
//!
//! | port     |     | connected to              |
//! |----------|-----|---------------------------|
//! | data     | in  | records, partials, folded |
//! | control  | in  | records, partials, folded |
//! | records  | out |                           |
//! | partials | out |                           |
//! | folded   | out |                           |

use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::MutableAntichain;

use super::{Aggregate, HotKeys, Spotting};
use crate::epoch::{Epochs, Ticks};
use crate::keyspace::{Assignment, Command};
use crate::pending::{Delay, Pending};
use crate::routing::{Gated, Settling};

const RECORDS: usize = 0;
const PARTIALS: usize = 1;
const FOLDED: usize = 2;

/// What a gate has folded of a key in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial<K, P> {
    /// The routing key of its records.
    pub routing: u64,
    /// The key.
    pub key: K,
    /// What has become of them.
    pub partial: P,
}

/// How many records of a routing key, or of several, a gate has folded in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folded {
    /// The routing key; `None` for all those together that the gate has found hot, and that matter to none but itself:
    /// each has less than 1/[`NAMED_PER_WORKER`](super::NAMED_PER_WORKER) of a fair share.
    pub key: Option<u64>,
    /// The records.
    pub records: u64,
}

/// The streams that leave a folding gate.
#[allow(missing_debug_implementations, reason = "streams are not Debug")]
pub struct FoldingGate<'scope, T: Ticks, D: 'static, K: 'static, P: 'static> {
    /// The records that were not folded.
    pub records: Gated<'scope, T, D>,
    /// What the others became.
    pub partials: Gated<'scope, T, Partial<K, P>>,
    /// How many they were.
    pub folded: StreamVec<'scope, T, Folded>,
}

/// Does what a [`gate`](crate::routing::gate) does, and folds the records of those routing keys that the assignment
/// says are to be folded, and of those that `spotting` finds.
pub fn folding_gate<'scope, T, D, A>(
    data: StreamVec<'scope, T, D>,
    control: StreamVec<'scope, T, Command>,
    initial: Assignment,
    epochs: Epochs,
    aggregate: &Rc<A>,
    routing_key: impl Fn(&D) -> u64 + 'static,
    spotting: Spotting,
) -> FoldingGate<'scope, T, D, A::Key, A::Partial>
where
    T: Ticks,
    D: 'static,
    A: Aggregate<T, D>,
{
    let mut builder = OperatorBuilder::new("FoldingGate".to_owned(), data.scope());
    let (records, records_stream) = builder.new_output::<Vec<D>>();
    let (partials, partials_stream) = builder.new_output();
    let (folded, folded_stream) = builder.new_output();
    let mut records = OutputBuilder::<_, CapacityContainerBuilder<Vec<D>>>::from(records);
    let (mut partials, mut folded) = (OutputBuilder::from(partials), OutputBuilder::from(folded));
    let mut data = builder.new_input(data, Pipeline);
    let mut control = builder.new_input(control, Pipeline);
    let mut routing = Settling::new(initial, epochs);
    let versions = Rc::clone(&routing.versions);
    let (aggregate, worthwhile, open) = (Rc::clone(aggregate), Vec::new(), Pending::new());
    let mut folder = Folder { epochs, aggregate, routing_key, spotting, worthwhile, open };
    builder.build(move |initial| {
        drop(initial);
        let mut held: Pending<T, Vec<Vec<D>>, Gating<T>> = Pending::new();
        move |frontiers: &[MutableAntichain<T>]| {
            let [data_frontier, control_frontier] = frontiers else { unreachable!("there are two inputs") };
            let (mut records, mut partials, mut folded) = (records.activate(), partials.activate(), folded.activate());
            control.for_each(|capability, commands| routing.receive(&capability, commands.drain(..)));
            data.for_each_stamp(|capability, batches| {
                let Some(at) = capability.least() else { return };
                let port = |port| capability.delayed(at, port);
                held.entry(at, || (port(RECORDS), (port(PARTIALS), port(FOLDED)))).extend(batches.map(std::mem::take));
            });
            routing.settle(control_frontier);
            while let Some((at, (capability, results), mut batches)) =
                held.release_if(|at, _| routing.is_settled(at, control_frontier))
            {
                let assignment = routing.versions.borrow().at(&at).clone();
                folder.take_folded(&at, assignment.folded(), &mut batches, &results);
                records.session(&capability).give_containers(batches.iter_mut());
            }
            while let Some(((to_partials, to_folded), open)) = folder.release(data_frontier) {
                let (sums, counts) = open.finish();
                partials.session(&to_partials).give_iterator(sums);
                folded.session(&to_folded).give_iterator(counts);
            }
            routing.drop_before(held.first().into_iter().chain(data_frontier.frontier().iter()).min());
        }
    });
    let partials = Gated { data: partials_stream, versions: Rc::clone(&versions) };
    FoldingGate { records: Gated { data: records_stream, versions }, partials, folded: folded_stream }
}

/// What entitles to send records, and their partials.
type Gating<T> = (Capability<T>, Results<T>);

/// What entitles to send partials, and to say how many records are in them.
type Results<T> = (Capability<T>, Capability<T>);

/// Folds hot keys, epoch by epoch.
struct Folder<T: Ticks, K, P, A, H> {
    epochs: Epochs,
    aggregate: Rc<A>,
    routing_key: H,
    spotting: Spotting,
    /// Keys to be folded besides those that commands say, as the last complete epoch has shown.
    worthwhile: Vec<u64>,
    /// By the last time of an epoch.
    open: Pending<T, Open<K, P>, Results<T>>,
}

impl<T: Ticks, K: Hash + Eq, P: Default, A, H> Folder<T, K, P, A, H> {
    /// Takes the records of keys that are hot, or `folded` by a command, out of what has come at a time.
    fn take_folded<D>(&mut self, at: &T, folded: &[u64], batches: &mut Vec<Vec<D>>, results: &Results<T>)
    where
        A: Aggregate<T, D, Key = K, Partial = P>,
        H: Fn(&D) -> u64,
    {
        if folded.is_empty() && self.spotting == Spotting::OFF {
            return;
        }
        let (_, last) = self.epochs.around(at);
        let open = self.open.entry(&last, || results.delayed(&last));
        let hot = open.hot.get_or_insert_with(|| HotKeys::new(self.spotting, folded).with(&self.worthwhile));
        batches.iter().for_each(|batch| hot.spot(batch, &self.routing_key));
        if hot.is_empty() {
            return;
        }
        for batch in batches.iter_mut() {
            for record in batch.extract_if(.., |record| hot.take((self.routing_key)(record))) {
                let routing = (self.routing_key)(&record);
                let partial = open.partials.entry((routing, self.aggregate.key(&record))).or_default();
                self.aggregate.fold(at, record, partial);
            }
        }
        batches.retain(|batch| !batch.is_empty());
    }

    /// What has been folded in the first open epoch, once none of its data can come any more. None of it is held: an
    /// epoch is settled as a whole.
    fn release(&mut self, data: &MutableAntichain<T>) -> Option<(Results<T>, Open<K, P>)> {
        let (_, results, open) = self.open.release(data)?;
        self.worthwhile = open.hot.as_ref().map_or(Vec::new(), HotKeys::worthwhile);
        Some((results, open))
    }
}

/// The folded keys of an epoch that is not complete.
struct Open<K, P> {
    partials: HashMap<(u64, K), P, RandomState>,
    /// Known from the first records on.
    hot: Option<HotKeys>,
}

impl<K, P> Default for Open<K, P> {
    fn default() -> Self {
        Open { partials: HashMap::default(), hot: None }
    }
}

impl<K, P> Open<K, P> {
    fn finish(self) -> (impl Iterator<Item = Partial<K, P>>, impl Iterator<Item = Folded>) {
        let partials = self.partials.into_iter().map(|((routing, key), partial)| Partial { routing, key, partial });
        (partials, self.hot.map(|hot| hot.folded()).unwrap_or_default().into_iter())
    }
}
