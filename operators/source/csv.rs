use std::fmt;
use std::fs::File;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use ::csv::{Position, Reader, ReaderBuilder, StringRecord};
use serde::de::DeserializeOwned;

use super::files::{FilePosition, Files, Opened, Witness, malformed, unreadable};
use super::{PartitionReader, ReplaySource};
use crate::error::Error;

/// The rows of CSV files as records of a type, by the names of their columns: each file is a partition. Where there is
/// no type to name the columns, `Vec<String>` takes all fields.
///
/// ```no_run
/// use serde::{Deserialize, Serialize};
/// use thalweg::source::{CsvFiles, Epoching};
/// use thalweg::{Config, Loop};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Trip { minute: u64, station: String }
///
/// timely::example(|scope| {
///     let looped = Loop::new(scope, &Config::default()).unwrap();
///     let files = CsvFiles::<Trip>::new(["2013.csv", "2014.csv"]).unwrap();
///     let trips = looped.source("trips", files, Epoching::by(|trip: &Trip| trip.minute / 60)).unwrap();
/// });
/// ```
pub struct CsvFiles<R> {
    files: Files,
    builder: ReaderBuilder,
    has_headers: bool,
    records: PhantomData<fn() -> R>,
}

impl<R> CsvFiles<R> {
    /// The rows of these files, the names of which, without their directories, must differ. Each begins with a header.
    pub fn new(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Result<Self, Error> {
        let files = Files::new(paths)?;
        Ok(CsvFiles { files, builder: ReaderBuilder::new(), has_headers: true, records: PhantomData })
    }

    /// The first row of each file is a record too, and columns are told by their order.
    pub fn without_headers(mut self) -> Self {
        self.builder.has_headers(false);
        self.has_headers = false;
        self
    }

    /// What stands between fields, if not a comma.
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.builder.delimiter(delimiter);
        self
    }
}

impl<R> fmt::Debug for CsvFiles<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsvFiles").field("files", &self.files).field("builder", &self.builder).finish_non_exhaustive()
    }
}

impl<R: DeserializeOwned + 'static> ReplaySource for CsvFiles<R> {
    type Record = R;
    type Position = FilePosition;
    type Reader = CsvReader<R>;

    fn partitions(&self) -> Result<Vec<String>, Error> {
        Ok(self.files.names())
    }

    fn open(&self, partition: &str, position: &FilePosition) -> Result<CsvReader<R>, Error> {
        let Opened { file, witness } = self.files.open(partition, position)?;
        let mut reader = self.builder.from_reader(file);
        let headers = match self.has_headers {
            true => Some(reader.headers().map_err(|error| wrong(&witness.path, (0, 1), error))?.clone()),
            false => None,
        };
        if position.byte > 0 {
            let mut start = Position::new();
            start.set_byte(position.byte).set_line(position.line);
            reader.seek(start).map_err(|error| wrong(&witness.path, (position.byte, position.line), error))?;
        }
        let last = (reader.position().byte(), reader.position().line());
        Ok(CsvReader { witness, reader, headers, row: StringRecord::new(), last, records: PhantomData })
    }
}

/// Reads a CSV file row by row.
pub struct CsvReader<R> {
    witness: Witness,
    reader: Reader<File>,
    headers: Option<StringRecord>,
    row: StringRecord,
    /// Byte and line at which the row read last begins.
    last: (u64, u64),
    records: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for CsvReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsvReader").field("path", &self.witness.path).field("last", &self.last).finish_non_exhaustive()
    }
}

impl<R: DeserializeOwned> PartitionReader for CsvReader<R> {
    type Record = R;
    type Position = FilePosition;

    fn next(&mut self) -> Result<Option<R>, Error> {
        self.last = (self.reader.position().byte(), self.reader.position().line());
        let read =
            self.reader.read_record(&mut self.row).map_err(|error| wrong(&self.witness.path, self.last, error))?;
        if !read {
            self.last = (self.reader.position().byte(), self.reader.position().line());
            return Ok(None);
        }
        let record = self.row.deserialize(self.headers.as_ref());
        record.map(Some).map_err(|error| wrong(&self.witness.path, self.last, error))
    }

    fn position(&self) -> Result<FilePosition, Error> {
        self.witness.at(self.last.0, self.last.1)
    }
}

/// What is wrong with the row that begins at this byte and line.
fn wrong(path: &Path, (byte, line): (u64, u64), error: ::csv::Error) -> Error {
    if !error.is_io_error() {
        return malformed(path, line, byte, "the row is not as expected").with(error);
    }
    let ::csv::ErrorKind::Io(error) = error.into_kind() else { unreachable!("it is an I/O error") };
    unreadable(path, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<R: DeserializeOwned>(reader: &mut CsvReader<R>) -> Vec<R> {
        std::iter::from_fn(|| reader.next().unwrap()).collect()
    }

    fn check(text: &str, headers: bool, expected: &[(&str, u32)]) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        std::fs::write(&path, text).unwrap();
        let files = CsvFiles::<(String, u32)>::new([&path]).unwrap();
        let files = if headers { files } else { files.without_headers() };
        let expected: Vec<(String, u32)> = expected.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let mut reader = files.open("x", &FilePosition::default()).unwrap();
        assert_eq!(all(&mut files.open("x", &reader.position().unwrap()).unwrap()), expected, "{text:?}");
        for read in 0.. {
            let record = reader.next().unwrap();
            let position = reader.position().unwrap();
            assert_eq!(all(&mut files.open("x", &position).unwrap()), expected[read..], "{text:?} at {position:?}");
            assert_eq!(record.as_ref(), expected.get(read));
            if record.is_none() {
                break;
            }
        }
    }

    #[test]
    fn from_each_position_the_rest_is_read() {
        let three = [("a", 1), ("b\nc", 2), ("\"d\"", 3)];
        check("name,count\na,1\n\"b\nc\",2\n\"\"\"d\"\"\",3\n", true, &three);
        check("name,count\r\na,1\r\n\r\n\"b\nc\",2\r\n\"\"\"d\"\"\",3", true, &three);
        check("a,1\n\"b\nc\",2\n\"\"\"d\"\"\",3", false, &three);
        check("name,count\n", true, &[]);
        check("", false, &[]);
    }

    #[test]
    fn a_row_that_cannot_be_read_is_an_error_that_says_where() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        for (row, told) in
            [("b", "found record with 1 fields"), ("b,many", "invalid digit"), ("b,\u{0}\u{ff}", "invalid digit")]
        {
            std::fs::write(&path, format!("name,count\na,1\n{row}\n")).unwrap();
            let files = CsvFiles::<(String, u32)>::new([&path]).unwrap();
            let mut reader = files.open("x", &FilePosition::default()).unwrap();
            reader.next().unwrap();
            let position = reader.next().map(|_| ()).unwrap_err();
            let text = position.with_causes();
            assert!(text.contains("x, line 3 (byte 15): the row is not as expected") && text.contains(told), "{text}");
        }
    }
}
