//! The ends of a loop: its sources and sinks, and the edges by which they listen to it.

use std::collections::BTreeMap;

use timely::ExchangeData;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::feedback::Handle;
use timely::dataflow::operators::generic::Operator as _;
use timely::dataflow::operators::{Concatenate, ConnectLoop, Feedback};
use timely::dataflow::{Scope, StreamVec};

use crate::checkpoint::{Covered, Operators};
use crate::epoch::Ticks;
use crate::observe::CheckpointEvent;

/// An edge that leads from the end of the loop back to operators that are built before it. They listen by an input that
/// is connected to none of their outputs, and so it does not delay time.
struct Edge<'scope, T: Ticks, D: Clone + 'static> {
    enter: Handle<'scope, T, Vec<D>>,
    leave: StreamVec<'scope, T, D>,
}

impl<'scope, T: Ticks, D: Clone + 'static> Edge<'scope, T, D> {
    fn new(scope: Scope<'scope, T>) -> Self {
        let (enter, leave) = scope.feedback(T::Summary::default());
        Edge { enter, leave }
    }
}

/// What sources and sinks share with the loop.
pub(super) struct Ends<'scope, T: Ticks> {
    scope: Scope<'scope, T>,
    /// What became of checkpoints, if somebody listens.
    outcomes: Option<Edge<'scope, T, CheckpointEvent>>,
    /// What is durable in the sinks, by its frontier, if somebody listens.
    written: Option<Edge<'scope, T, Covered>>,
    sources: BTreeMap<String, StreamVec<'scope, T, Covered>>,
    sinks: BTreeMap<String, StreamVec<'scope, T, Covered>>,
}

impl<'scope, T: Ticks> Ends<'scope, T> {
    pub fn new(scope: Scope<'scope, T>) -> Self {
        Ends { scope, outcomes: None, written: None, sources: BTreeMap::new(), sinks: BTreeMap::new() }
    }

    /// What became of checkpoints, on all workers.
    pub fn outcomes(&mut self) -> StreamVec<'scope, T, CheckpointEvent> {
        let scope = self.scope;
        let edge = self.outcomes.get_or_insert_with(|| {
            let Edge { enter, leave } = Edge::new(scope);
            Edge { enter, leave: to_all_workers(leave) }
        });
        edge.leave.clone()
    }

    /// What is durable in the sinks: nothing but a frontier.
    pub fn written(&mut self) -> StreamVec<'scope, T, Covered> {
        self.written.get_or_insert_with(|| Edge::new(self.scope)).leave.clone()
    }

    /// Takes a source in. It tells where its partitions stand.
    pub fn add_source(&mut self, name: String, covered: StreamVec<'scope, T, Covered>) {
        self.sources.insert(name, covered);
    }

    /// Takes a sink in. It tells what is durable.
    pub fn add_sink(&mut self, name: String, covered: StreamVec<'scope, T, Covered>) {
        self.sinks.insert(name, covered);
    }

    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.sinks.is_empty()
    }

    /// Adds the sources and sinks to what takes part in checkpoints.
    pub fn take_part(&self, operators: &mut Operators) {
        self.sources.keys().for_each(|name| operators.add_source(name));
        self.sinks.keys().for_each(|name| operators.add_sink(name));
    }

    /// What all of them cover.
    pub fn covered(&self) -> StreamVec<'scope, T, Covered> {
        self.scope.concatenate(self.sources.values().chain(self.sinks.values()).cloned())
    }

    /// Tells those who listen what became of checkpoints, and what is durable.
    pub fn close(&mut self, outcomes: StreamVec<'scope, T, CheckpointEvent>) {
        if let Some(edge) = self.outcomes.take() {
            outcomes.connect_loop(edge.enter);
        }
        if let Some(edge) = self.written.take() {
            self.scope.concatenate(self.sinks.values().cloned()).connect_loop(edge.enter);
        }
    }

    /// Leaves the edges open, in a dataflow that will not be built: an open end would panic.
    pub fn forget(&mut self) {
        self.outcomes.take().into_iter().for_each(std::mem::forget);
        self.written.take().into_iter().for_each(std::mem::forget);
    }
}

/// Sends each record to every worker, in the order in which they were given.
pub(super) fn to_all_workers<D: ExchangeData + Clone, T: Ticks>(records: StreamVec<'_, T, D>) -> StreamVec<'_, T, D> {
    let peers = records.scope().peers();
    let copies = records.unary(Pipeline, "Copy", |_, _| {
        move |input, output| {
            input.for_each(|capability, records| {
                let copies = records.drain(..).flat_map(|record| (0..peers).map(move |to| (to, record.clone())));
                output.session(&capability).give_iterator(copies);
            });
        }
    });
    copies.unary(Exchange::new(|(to, _): &(usize, D)| *to as u64), "Everywhere", |_, _| {
        move |input, output| {
            input.for_each(|capability, records| {
                output.session(&capability).give_iterator(records.drain(..).map(|(_, record)| record));
            });
        }
    })
}
