use std::collections::BTreeMap;

use super::balancer::Balancer;
use super::{Policy, PolicyConfig, Sight, View};
use crate::error::Error;
use crate::keyspace::{Assignment, Command};

/// Rebalances before a worker is overloaded: like [`Reactive`](super::Reactive), for the load of the epochs that a plan
/// is for.
///
/// Ranges of the key space and their notable keys each have a [`Blend`](crate::forecast::Blend) of models, from which
/// the load of the `prediction_horizon` epochs from the boundary on is foreseen. What was foreseen is compared with
/// what came, and believed as far as it has been nearer to it than the expectation that all goes on as it was. So far
/// the epochs foreseen count instead of those remembered; where nothing can be foreseen, this is the reactive policy.
///
/// Keys that are going to be hot are folded before they are.
#[derive(Clone, Debug)]
pub struct Proactive(Balancer);

impl Proactive {
    /// A policy with this configuration, if it is valid.
    pub fn new(config: PolicyConfig) -> Result<Self, Error> {
        Balancer::new(config, true).map(Proactive)
    }
}

impl Policy for Proactive {
    fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        self.0.decide(view)
    }

    fn sight(&self) -> Sight {
        Sight::Epoch
    }

    fn known(&mut self, start: &Assignment, _: u64) -> Result<BTreeMap<u64, Vec<Command>>, Error> {
        self.0.known(start.workers())
    }
}
