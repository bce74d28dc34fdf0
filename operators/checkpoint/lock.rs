use std::fmt;

/// A store is this run's alone for as long as this lives: no other run writes manifests to it, nor removes anything.
///
/// It is of no use to reading, which needs no lock, nor to a process that was killed: what locks a store must let go of
/// it with the process.
pub struct StoreLock {
    #[allow(dead_code, reason = "it is held to be dropped")]
    held: Box<dyn Send + Sync>,
}

impl StoreLock {
    /// Lets go of the store when `held` is dropped.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        StoreLock { held: Box::new(held) }
    }
}

impl fmt::Debug for StoreLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreLock").finish_non_exhaustive()
    }
}
