use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

type Wake = Box<dyn Fn() + Send>;

/// Bytes of one worker's snapshots that are on their way to the store.
///
/// While half of the limit is exceeded, no keys are saved whose turn has come; while all of it is, no data is applied
/// either, as that saves keys before their turn. So a slow store holds the dataflow back, and takes no more memory.
pub struct Backlog {
    limit: usize,
    bytes: AtomicUsize,
    wakes: Mutex<Vec<Wake>>,
}

impl fmt::Debug for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backlog").field("limit", &self.limit).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Backlog {
    /// With nothing on its way.
    pub fn new(limit: usize) -> Self {
        Backlog { limit, bytes: AtomicUsize::new(0), wakes: Mutex::default() }
    }

    /// Calls `wake` whenever there may be room again.
    pub(super) fn wake_by(&self, wake: impl Fn() + Send + 'static) {
        self.wakes.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(wake));
    }

    /// So many bytes more are on their way.
    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    /// So many bytes are in the store, or have been given up.
    pub fn take_off(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        if before > self.limit / 2 {
            self.wakes.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|wake| wake());
        }
    }

    /// Whether keys whose turn has come are to wait.
    pub fn is_half_full(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) > self.limit / 2
    }

    /// Whether all is to wait that saves keys.
    pub fn is_full(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) >= self.limit
    }
}
