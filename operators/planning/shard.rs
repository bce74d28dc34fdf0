use crate::keyspace::KeyRange;

/// A shard, and what it is expected to carry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ShardLoad {
    pub(crate) range: KeyRange,
    pub(crate) owner: usize,
    /// Who owned its first routing key at the start.
    pub(crate) home: usize,
    /// Records expected per epoch.
    pub(crate) load: f64,
    /// Records in each epoch remembered, oldest first, and then in each one foreseen.
    pub(crate) recent: Vec<f64>,
    /// Bytes of state.
    pub(crate) bytes: f64,
}
