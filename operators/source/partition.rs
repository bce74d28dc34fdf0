//! The partitions that a worker reads, in order of epochs. Pure but for what readers do.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Epoching, PartitionReader, ReplaySource};
use crate::checkpoint::SourcePositions;
use crate::error::Error;

/// Where a partition stands, as a checkpoint has it.
#[derive(Serialize, Deserialize)]
struct Place<P> {
    /// Records before it.
    records: u64,
    at: P,
}

/// A partition that is being read.
pub(super) struct Partition<R: PartitionReader> {
    pub name: String,
    reader: R,
    epoching: Epoching<R::Record>,
    /// Records before the next one.
    records: u64,
    /// The epoch of the one before it.
    current: u64,
    /// The next record, with its epoch; `None` at the end.
    next: Option<(u64, R::Record)>,
}

impl<R: PartitionReader<Position: Serialize>> Partition<R> {
    /// The epoch of its next record.
    pub fn epoch(&self) -> Option<u64> {
        self.next.as_ref().map(|(epoch, _)| *epoch)
    }

    /// Takes the next record, if it is in this epoch.
    pub fn take(&mut self, epoch: u64) -> Result<Option<R::Record>, Error> {
        let Some((_, record)) = self.next.take_if(|(next, _)| *next == epoch) else { return Ok(None) };
        self.records += 1;
        self.current = epoch;
        self.peek()?;
        Ok(Some(record))
    }

    fn peek(&mut self) -> Result<(), Error> {
        let record = self.reader.next()?;
        self.next = record.map(|record| (self.epoching.epoch(&record, self.records, self.current), record));
        Ok(())
    }

    /// The place before the next record, as JSON.
    pub fn place(&self) -> Result<String, Error> {
        let place = Place { records: self.records, at: self.reader.position()? };
        let unwritable = |error| {
            Error::usage(format!("the position in {:?} can't be written as JSON", self.name)).with(Box::new(error))
        };
        serde_json::to_string(&place).map_err(|error: serde_json::Error| unwritable(error))
    }
}

/// Opens those of a source's partitions that a worker is to read: dealt out in order of their names. They begin where
/// the checkpoint says that they stood at the start of epoch `from`.
pub(super) fn open<S: ReplaySource>(
    source: &S,
    epoching: &Epoching<S::Record>,
    (worker, workers): (usize, usize),
    from: u64,
    resumed: Option<&SourcePositions>,
) -> Result<Vec<Partition<S::Reader>>, Error> {
    let names: BTreeSet<String> = source.partitions()?.into_iter().collect();
    if let Some(positions) = resumed {
        check_names(&names, positions)?;
    }
    let mine = names.into_iter().enumerate().filter(|(index, _)| index % workers == worker);
    let open = |(_, name): (usize, String)| {
        let Place { records, at } = match resumed.and_then(|positions| positions.get(&name)) {
            Some(position) => serde_json::from_value(position.clone()).map_err(|error| {
                Error::incompatible(
                    format!("the position in {name:?}"),
                    format!("{error}: use the source that gave it"),
                )
            })?,
            None => Place { records: 0, at: S::Position::default() },
        };
        let reader = source.open(&name, &at)?;
        let mut partition = Partition { name, reader, epoching: epoching.clone(), records, current: from, next: None };
        partition.peek()?;
        Ok(partition)
    };
    mine.map(open).collect()
}

fn check_names(names: &BTreeSet<String>, positions: &BTreeMap<String, serde_json::Value>) -> Result<(), Error> {
    let gone: Vec<&String> = positions.keys().filter(|name| !names.contains(*name)).collect();
    let new: Vec<&String> = names.iter().filter(|name| !positions.contains_key(*name)).collect();
    if gone.is_empty() && new.is_empty() {
        return Ok(());
    }
    Err(Error::incompatible(
        "the source",
        format!(
            "of the partitions of the checkpoint {gone:?} are missing, and {new:?} are new: have the same as before, or \
             begin anew in an empty store"
        ),
    ))
}
