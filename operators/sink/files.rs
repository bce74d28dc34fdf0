use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::rc::Rc;

use serde::Serialize;

use super::directory::FileWriter;
use super::layout::Layout;
use super::{EpochSink, Share, When};
use crate::error::Error;

type Encode<R> = dyn Fn(u64, &R, &mut Vec<u8>) -> Result<(), Error>;

/// Files in a directory, one for each epoch that has output or for each group of so many epochs.
///
/// A file is named by the 20 digits of its first epoch, so that all of them in order of their names are the output. It
/// is there whole or not at all, and holds the rows of each of its epochs in order of their bytes, the epochs one after
/// the other. So its bytes are the same whatever the number of workers, whatever moves, and whatever crashes.
///
/// What is durable and not yet visible is in the sub-directory `.pending`, `.lock` keeps a second run out, and
/// `.layout` says how epochs make files. The rows of an epoch are held in the memory of the worker that writes them
/// until the epoch is complete.
///
/// ```
/// use thalweg::sink::{EpochFiles, When};
/// use thalweg::{Config, Loop, Rebalance, stable_hash};
/// use timely::dataflow::operators::ToStream;
///
/// let output = tempfile::tempdir().unwrap();
/// let directory = output.path().to_owned();
/// timely::example(move |scope| {
///     let looped = Loop::new(scope, &Config::default()).unwrap();
///     let counts = ["Market", "Castro", "Market"].map(str::to_owned).to_stream(scope).container::<Vec<_>>()
///         .rebalance(&looped.key_space("stations").unwrap(), |station| stable_hash(station)).unwrap()
///         .fold_keyed(String::clone, |station, count: &mut u64, out| { *count += 1; out.give((station, *count)) });
///     looped.sink("counts", counts, EpochFiles::csv(&directory)).unwrap();
/// });
/// let file = output.path().join("00000000000000000000.csv");
/// assert_eq!(std::fs::read_to_string(file).unwrap(), "Castro,1\nMarket,1\nMarket,2\n");
/// ```
pub struct EpochFiles<R> {
    layout: Layout,
    directory: PathBuf,
    when: When,
    encode: Rc<Encode<R>>,
}

impl<R> EpochFiles<R> {
    /// Files with this extension, each epoch in one of its own, visible as soon as it is complete. The directory is
    /// made if it is missing. `encode` appends a record of an epoch as a row, with what ends it.
    pub fn new(
        directory: impl Into<PathBuf>,
        extension: &str,
        encode: impl Fn(u64, &R, &mut Vec<u8>) -> Result<(), Error> + 'static,
    ) -> Result<Self, Error> {
        if extension.is_empty() || !extension.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Error::usage(format!(
                "{extension:?} is no extension of files: expected ASCII letters and digits"
            )));
        }
        Ok(Self::with_layout(directory.into(), extension, Rc::new(encode)))
    }

    fn with_layout(directory: PathBuf, extension: &str, encode: Rc<Encode<R>>) -> Self {
        let layout = Layout::new(extension, NonZeroU64::MIN);
        EpochFiles { layout, directory, when: When::EpochComplete, encode }
    }

    /// A file for each so many epochs, at least 1.
    pub fn epochs_per_file(mut self, epochs: u64) -> Result<Self, Error> {
        let none = || Error::usage("a file must hold at least 1 epoch");
        self.layout.epochs_per_file = NonZeroU64::new(epochs).ok_or_else(none)?;
        Ok(self)
    }

    /// Says when files become visible.
    pub fn visible(self, when: When) -> Self {
        EpochFiles { when, ..self }
    }
}

impl<R: Serialize> EpochFiles<R> {
    /// Files of JSON, a record a line.
    pub fn json_lines(directory: impl Into<PathBuf>) -> Self {
        let encode = |_, record: &R, row: &mut Vec<u8>| {
            serde_json::to_writer(&mut *row, record)
                .map_err(|error| Error::usage("a record can't be written as JSON").with(error))?;
            row.push(b'\n');
            Ok(())
        };
        Self::with_layout(directory.into(), "jsonl", Rc::new(encode))
    }

    /// CSV files without headers, a record a row.
    #[cfg(feature = "csv")]
    pub fn csv(directory: impl Into<PathBuf>) -> Self {
        /// A row is written at once: a large buffer would only have to be made.
        const ROW_BYTES: usize = 256;
        let encode = |_, record: &R, row: &mut Vec<u8>| {
            let mut writer = csv::WriterBuilder::new().has_headers(false).buffer_capacity(ROW_BYTES).from_writer(row);
            let written = writer.serialize(record).and_then(|()| writer.flush().map_err(csv::Error::from));
            written.map_err(|error| Error::usage("a record can't be written as a row of CSV").with(error))
        };
        Self::with_layout(directory.into(), "csv", Rc::new(encode))
    }
}

impl<R: 'static> EpochSink for EpochFiles<R> {
    type Record = R;
    type Writer = FileWriter;

    fn when(&self) -> When {
        self.when
    }

    fn epochs_per_part(&self) -> u64 {
        self.layout.epochs_per_file.get()
    }

    fn encode(&self, epoch: u64, record: &R, row: &mut Vec<u8>) -> Result<(), Error> {
        (self.encode)(epoch, record, row)
    }

    fn open(&self, share: Share) -> Result<FileWriter, Error> {
        FileWriter::open(&self.directory, self.layout.clone(), self.when, share)
    }
}

impl<R> fmt::Debug for EpochFiles<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochFiles")
            .field("directory", &self.directory)
            .field("layout", &self.layout)
            .field("when", &self.when)
            .finish_non_exhaustive()
    }
}
