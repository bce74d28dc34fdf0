//! The pact of a routed exchange.
//!
//! A `Distributor` can't see the time of what it routes, so this is a [`ParallelizationContract`] of our own. It looks
//! up the assignment once per stamp; records carry no target. It must stand behind a [`gate`](super::gate), because it
//! routes when a message is pushed: by then the assignment at the message's time must be settled.

use std::rc::Rc;

use timely::communication::{Pull, Push};
use timely::container::{CapacityContainerBuilder, ContainerBuilder, PushInto};
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::{LogPuller, LogPusher, ParallelizationContract};
use timely::logging::TimelyLogger;
use timely::order::TotalOrder;
use timely::progress::{Stamp, Timestamp};
use timely::worker::Worker;
use timely::{Container, ExchangeData};

use super::SharedVersions;
use crate::keyspace::Assignment;

/// Routes each record by its routing key and by the assignment in force at its message's time.
///
/// Messages must have a time: those with an empty stamp (sent without any capability) are dropped.
///
/// # Panics
///
/// When a record's owner is no worker: the assignments must be made for as many workers as there are.
#[derive(Debug)]
pub struct Routed<T, H> {
    versions: SharedVersions<T>,
    routing_key: H,
}

impl<T, H> Routed<T, H> {
    /// A pact that routes by `routing_key` and the assignments in `versions`.
    pub fn new(versions: SharedVersions<T>, routing_key: H) -> Self {
        Routed { versions, routing_key }
    }
}

impl<T, D, H> ParallelizationContract<T, Vec<D>> for Routed<T, H>
where
    T: Timestamp + TotalOrder,
    D: ExchangeData,
    H: Fn(&D) -> u64 + 'static,
{
    type Pusher = RoutedPusher<T, D, H, LogPusher<Box<dyn Push<Message<T, Vec<D>>>>>>;
    type Puller = LogPuller<Box<dyn Pull<Message<T, Vec<D>>>>>;

    fn connect(
        self,
        worker: &Worker,
        identifier: usize,
        address: Rc<[usize]>,
        logging: Option<TimelyLogger>,
    ) -> (Self::Pusher, Self::Puller) {
        let (senders, receiver) = worker.allocate::<Message<T, Vec<D>>>(identifier, address);
        let senders: Vec<_> = senders
            .into_iter()
            .enumerate()
            .map(|(target, sender)| LogPusher::new(sender, worker.index(), target, identifier, logging.clone()))
            .collect();
        let pusher = RoutedPusher {
            builders: senders.iter().map(|_| CapacityContainerBuilder::default()).collect(),
            senders,
            current: None,
            versions: self.versions,
            routing_key: self.routing_key,
        };
        (pusher, LogPuller::new(receiver, worker.index(), identifier, logging))
    }
}

/// The sending half of [`Routed`].
#[allow(missing_debug_implementations, reason = "pushers are not Debug")]
pub struct RoutedPusher<T, D, H, P> {
    senders: Vec<P>,
    builders: Vec<CapacityContainerBuilder<Vec<D>>>,
    /// The stamp of the records in the builders, and the assignment in force at its time.
    current: Option<(Stamp<T>, Assignment)>,
    versions: SharedVersions<T>,
    routing_key: H,
}

impl<T, D, H, P> RoutedPusher<T, D, H, P>
where
    T: Timestamp + TotalOrder,
    H: Fn(&D) -> u64,
    P: Push<Message<T, Vec<D>>>,
    Vec<D>: Container,
    CapacityContainerBuilder<Vec<D>>: ContainerBuilder<Container = Vec<D>> + PushInto<D>,
{
    fn flush(&mut self) {
        if let Some((stamp, _)) = self.current.take() {
            for (builder, sender) in self.builders.iter_mut().zip(&mut self.senders) {
                while let Some(container) = builder.finish() {
                    Message::push_at(container, stamp.clone(), sender);
                }
            }
        }
    }

    /// Makes `stamp` the current one; `false` if it has no time.
    fn turn_to(&mut self, stamp: &Stamp<T>) -> bool {
        if self.current.as_ref().is_none_or(|(current, _)| current != stamp) {
            self.flush();
            self.current = stamp.least().map(|time| (stamp.clone(), self.versions.borrow().at(time).clone()));
        }
        self.current.is_some()
    }

    fn route(&mut self, message: &mut Message<T, Vec<D>>) {
        let Some((stamp, assignment)) = &self.current else { return };
        for record in message.data.drain(..) {
            let worker = assignment.owner_of((self.routing_key)(&record));
            let builder = &mut self.builders[worker];
            builder.push_into(record);
            while let Some(container) = builder.extract() {
                Message::push_at(container, stamp.clone(), &mut self.senders[worker]);
            }
        }
    }
}

impl<T, D, H, P> Push<Message<T, Vec<D>>> for RoutedPusher<T, D, H, P>
where
    T: Timestamp + TotalOrder,
    D: 'static,
    H: Fn(&D) -> u64,
    P: Push<Message<T, Vec<D>>>,
{
    fn push(&mut self, message: &mut Option<Message<T, Vec<D>>>) {
        match message {
            None => {
                self.flush();
                self.builders.iter_mut().for_each(ContainerBuilder::relax);
                self.senders.iter_mut().for_each(Push::done);
            }
            Some(_) if self.senders.len() == 1 => self.senders[0].push(message),
            Some(message) => {
                if self.turn_to(&message.stamp) {
                    self.route(message);
                }
            }
        }
    }
}
