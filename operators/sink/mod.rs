//! Sinks that make the output of each epoch visible atomically, and exactly once through crashes and recoveries.
//!
//! [`Loop::sink`](crate::Loop::sink) gathers the output of each epoch and gives it to an [`EpochSink`] when it is
//! complete; a checkpoint waits until all output before its boundary is durable. [`EpochFiles`] are such a sink: one
//! file for each epoch, or for each group of epochs, whose bytes are the same whatever the number of workers and
//! processes, whatever has moved, and whatever has crashed.
//!
//! # What is guaranteed, end to end
//!
//! A record that a source gives counts exactly once in what a sink makes visible, through any number of crashes and
//! recoveries on any number of workers, if
//!
//! - the source replays: it is a [`ReplaySource`](crate::source::ReplaySource) that keeps its contract, or the program
//!   feeds the input itself, from the start of the epoch that
//!   [`Checkpoints::epoch`](crate::checkpoint::Checkpoints::epoch) names;
//! - what stands between is deterministic: the output of an epoch is, as a multiset, a function of the input. The order
//!   of records within an epoch is not;
//! - the sink is in the loop, and runs go on with each other by
//!   [`Checkpoints::resume`](crate::checkpoint::Checkpoints::resume).
//!
//! | visible | a reader sees | if the program is not deterministic |
//! |---|---|---|
//! | [`When::EpochComplete`] | an epoch as soon as it is complete; it never changes | what is replayed differs from what is there: an error that names the file |
//! | [`When::Checkpointed`]  | an epoch once a checkpoint covers it; it never changes | what no checkpoint covered is rolled back and written anew; an error only if an older checkpoint than the newest is resumed from |
//!
//! Not guaranteed is anything if two runs write at once: a second one on the same machine is refused by a lock, but a
//! lock does not reach through every network file system. Nor if the input has changed behind a position, or if
//! somebody else changes the files.

mod directory;
mod file;
mod files;
mod joined;
mod layout;
mod operator;
mod rows;
mod thread;
mod when;

use crate::error::Error;

pub use directory::FileWriter;
pub use files::EpochFiles;
pub use operator::{SinkSettings, write};
pub use thread::QUEUED_EPOCHS;
pub use when::When;

/// Takes the output of epochs. Epochs are made visible in *parts*, groups of one or more that follow each other; each
/// part is written by one worker.
pub trait EpochSink: 'static {
    /// What comes out.
    type Record: 'static;
    /// Writes some of the parts.
    type Writer: EpochWriter;

    /// When output is made visible.
    fn when(&self) -> When;

    /// Epochs in a part, at least 1.
    fn epochs_per_part(&self) -> u64 {
        1
    }

    /// Appends a record of an epoch, as it is to be written. A record that appends nothing is left out.
    fn encode(&self, epoch: u64, record: &Self::Record, row: &mut Vec<u8>) -> Result<(), Error>;

    /// Makes ready to write a worker's share. An error if the place is in use, or holds what a run that begins anew
    /// would overwrite. Must change nothing that another run may be writing: only when the writer is first called, it
    /// is sure that all workers of the run have been let in.
    fn open(&self, share: Share) -> Result<Self::Writer, Error>;
}

/// The share of a worker in what a sink writes: each part whose number, divided by `workers`, leaves `worker`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The worker.
    pub worker: usize,
    /// How many there are.
    pub workers: usize,
    /// The epoch from which the run goes on.
    pub from: u64,
    /// Whether it goes on with an earlier run, so that there may be output of that.
    pub is_resuming: bool,
}

impl Share {
    /// Whether a part belongs to it.
    pub fn has(&self, part: u64) -> bool {
        part % self.workers as u64 == self.worker as u64
    }
}

/// Writes output, on a thread of its own. After an error it is called no more.
///
/// A run may end at any instant and go on from an earlier epoch, with other workers: what is written then must be
/// recognised, or have been rolled back, whoever wrote it.
pub trait EpochWriter: Send + 'static {
    /// Makes the output of an epoch durable: when this returns, it can be published whatever happens. `rows` are all
    /// rows of the epoch, sorted; there is at least one. Epochs come in order.
    fn write(&mut self, epoch: u64, rows: &[u8]) -> Result<(), Error>;

    /// Makes visible, each part atomically, all output of parts that end before an epoch, or of all if there is none.
    /// All epochs before it have been written.
    fn publish(&mut self, before: Option<u64>) -> Result<(), Error>;
}
