//! Sources whose positions are part of a checkpoint, so that a run that resumes replays from the right record.
//!
//! A source has partitions, files say, each of which is read by one worker; after a recovery they are dealt out anew to
//! however many workers there are. [`Loop::source`](crate::Loop::source) reads them epoch by epoch, never further ahead
//! than the loop and the sinks can follow, and says at the end of each epoch where its partitions stand. That is what a
//! [`Manifest`](crate::checkpoint::Manifest) holds.
//!
//! What can be replayed is a [`ReplaySource`]; there are [`Lines`] and, with the feature `csv`, `CsvFiles`. How records
//! make epochs says [`Epoching`].

#[cfg(feature = "csv")]
mod csv;
mod epoching;
mod files;
mod lines;
mod operator;
mod partition;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;

#[cfg(feature = "csv")]
pub use csv::{CsvFiles, CsvReader};
pub use epoching::Epoching;
pub use files::{FilePosition, WITNESS_BYTES};
pub use lines::{LineReader, Lines, MAX_LINE_BYTES};
pub use operator::{EPOCHS_AHEAD, RECORDS_AT_ONCE, SourceSettings, SourceStreams, WRITING_AHEAD, read};

/// What can be read again from any position.
///
/// Exactly-once rests on this contract: opened at the same position, a partition gives the same records again, in the
/// same order; and which partitions there are does not change between runs of which one goes on with the other. A file
/// that is only ever appended to keeps it; one that is edited, rotated or truncated does not.
pub trait ReplaySource: 'static {
    /// What is read.
    type Record: 'static;
    /// A place between two records of a partition. The default is the beginning.
    type Position: Serialize + DeserializeOwned + Clone + Default;
    /// Reads a partition.
    type Reader: PartitionReader<Record = Self::Record, Position = Self::Position> + 'static;

    /// The names of the partitions, by which positions are kept.
    fn partitions(&self) -> Result<Vec<String>, Error>;

    /// Opens a partition at a position that a reader of it has given. An error if it is not there any more, or can be
    /// seen not to be what it was.
    fn open(&self, partition: &str, position: &Self::Position) -> Result<Self::Reader, Error>;
}

/// Reads a partition, record by record.
pub trait PartitionReader {
    /// What is read.
    type Record;
    /// A place between two records.
    type Position;

    /// The next record; `None` at the end, from then on.
    fn next(&mut self) -> Result<Option<Self::Record>, Error>;

    /// The place before the record that [`next`](PartitionReader::next) has given last: opened there, a reader gives it
    /// again. At the end, the end; before the first record, where the reader was opened.
    fn position(&self) -> Result<Self::Position, Error>;
}
