//! Where records come from: a file, or the built-in stream.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::arguments::InputArguments;
use crate::epoch::Epochs;
use crate::event::Event;
use crate::fault::Skipped;
use crate::file::Progress;
use crate::generate::Generator;
use crate::rows::{Layout, Rows, Timed};

/// One record and the epoch it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The epoch. Numbers never decrease from row to row.
    pub epoch: u64,
    /// The line of the file, or the number of the record in the built-in stream, from 1.
    pub line: u64,
    /// The record.
    pub event: Event,
}

/// The records of one stream, in time order.
pub struct Source {
    reader: Reader,
    epochs: Epochs,
    first: Option<i64>,
    position: u64,
}

enum Reader {
    File(Box<Rows>),
    Generated(Box<Generator>),
}

impl Source {
    /// Opens the file that the arguments name, or else the built-in stream.
    pub fn open(arguments: &InputArguments) -> Result<Self> {
        let reader = match &arguments.input {
            Some(path) => Reader::File(Box::new(Rows::open(path, &layout(arguments))?)),
            None => Reader::Generated(Box::new(Generator::new(arguments.seed, arguments.records, arguments.keys))),
        };
        Ok(Source { reader, epochs: arguments.epochs(), first: None, position: 0 })
    }

    /// The next record, if there is one.
    pub fn next_row(&mut self) -> Result<Option<Row>> {
        let Some(Timed { time, line, event }) = self.next_timed()? else { return Ok(None) };
        let first = *self.first.get_or_insert(time);
        // Times don't decrease, so this is their distance even where that doesn't fit an i64.
        let since = time.wrapping_sub(first) as u64;
        let epoch = self.epochs.number(self.position, since);
        self.position += 1;
        Ok(Some(Row { epoch, line, event }))
    }

    fn next_timed(&mut self) -> Result<Option<Timed>> {
        match &mut self.reader {
            Reader::File(rows) => rows.next(),
            Reader::Generated(generator) => Ok(generator.next()),
        }
    }

    /// Goes past so many records: those that a checkpoint already holds.
    pub fn skip(&mut self, records: u64) -> Result<()> {
        for done in 0..records {
            if self.next_row()?.is_none() {
                bail!(
                    "the checkpoint was taken after {records} records, but the input has only {done}: \
                     resume with the input it was taken from"
                );
            }
        }
        Ok(())
    }

    /// How many records have been given out or gone past.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many rows were left out so far, and why.
    pub fn skipped(&self) -> Skipped {
        match &self.reader {
            Reader::File(rows) => rows.skipped(),
            Reader::Generated(_) => Skipped::default(),
        }
    }

    /// How far reading has come.
    pub fn progress(&self) -> Progress {
        match &self.reader {
            Reader::File(rows) => rows.progress(),
            Reader::Generated(generator) => generator.progress(),
        }
    }
}

fn layout(arguments: &InputArguments) -> Layout<'_> {
    Layout {
        time: arguments.time_column.as_deref().unwrap_or_default(),
        unit: arguments.time_unit,
        keys: &arguments.key_columns,
        value: arguments.value_column.as_deref(),
        lenient: arguments.lenient,
    }
}

/// Holds a reader back to so many records a second.
pub struct Pace {
    rate: Option<u64>,
    start: Instant,
    records: u64,
}

impl Pace {
    /// No holding back without a rate.
    pub fn new(rate: Option<u64>) -> Self {
        Pace { rate, start: Instant::now(), records: 0 }
    }

    /// One more record: sleeps until it is due.
    pub fn step(&mut self) {
        let Some(rate) = self.rate.filter(|&rate| rate > 0) else { return };
        let due = Duration::from_secs(self.records / rate)
            + Duration::from_nanos((u128::from(self.records % rate) * 1_000_000_000 / u128::from(rate)) as u64);
        self.records += 1;
        // Sleeping for less than a millisecond costs more than it holds back.
        if let Some(early) = due.checked_sub(self.start.elapsed()).filter(|early| early.as_millis() > 0) {
            sleep(early);
        }
    }
}
