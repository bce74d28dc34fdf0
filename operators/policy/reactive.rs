use std::collections::BTreeMap;

use super::balancer::Balancer;
use super::{Policy, PolicyConfig, Sight, View};
use crate::error::Error;
use crate::keyspace::{Assignment, Command};

/// Rebalances once a worker is overloaded.
///
/// Each epoch, neighbours that have long been cold are merged. When the health of a worker is expected to fall under
/// `health_threshold`, shards that carry much are split at the median of their load, down to single keys, so that
/// they can be moved apart and are profiled apart; and shards move to workers with room, as long as that pays. A
/// plan's moves are spread over `migration_window` epochs; what remains of it is planned anew each epoch, from what is
/// known then.
///
/// A key from which a worker would have `fold_share` of its fair share is folded where the view says that keys can be:
/// decided from the newest epoch alone, before all else, so that nothing is planned for its load. It is unfolded when
/// it has long been light. Where keys can't be folded, one that no worker can carry gets a shard of its own, is
/// relieved of its neighbours, and stays.
#[derive(Clone, Debug)]
pub struct Reactive(Balancer);

impl Reactive {
    /// A policy with this configuration, if it is valid.
    pub fn new(config: PolicyConfig) -> Result<Self, Error> {
        Balancer::new(config, false).map(Reactive)
    }
}

impl Policy for Reactive {
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
