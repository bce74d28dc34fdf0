use crate::keyspace::KeyRange;

/// A shard, or a part of one, and what it is expected to carry.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardLoad {
    /// Its routing keys.
    pub range: KeyRange,
    /// The worker that has it.
    pub owner: usize,
    /// The worker to which it goes back when the forecast is not to be trusted: who owned its first routing key at the
    /// start.
    pub home: usize,
    /// Records expected per epoch.
    pub load: f64,
    /// Records in each scenario, which is an epoch remembered or forecast, in the order of their likelihoods.
    pub recent: Vec<f64>,
    /// Bytes of state.
    pub bytes: f64,
}

impl ShardLoad {
    /// One that is at home, and has the same load for certain.
    pub fn certain(range: KeyRange, owner: usize, load: f64, bytes: f64) -> Self {
        ShardLoad { range, owner, home: owner, load, recent: vec![load], bytes }
    }
}
