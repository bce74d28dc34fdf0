use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::files::{FilePosition, Files, Opened, Witness, malformed, unreadable};
use super::{PartitionReader, ReplaySource};
use crate::error::Error;

/// Bytes that a line can be long at most. What has no newline for so long is no text, and would fill the memory.
pub const MAX_LINE_BYTES: u64 = 16 << 20;

/// The lines of files, without what ends them: each file is a partition.
///
/// ```no_run
/// use thalweg::source::{Epoching, Lines};
/// use thalweg::{Config, Loop};
///
/// timely::example(|scope| {
///     let looped = Loop::new(scope, &Config::default()).unwrap();
///     let lines = Lines::new(["monday.log", "tuesday.log"]).unwrap();
///     let lines = looped.source("logs", lines, Epoching::records(1000).unwrap()).unwrap();
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Lines(Files);

impl Lines {
    /// The lines of these files, the names of which, without their directories, must differ.
    pub fn new(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Result<Self, Error> {
        Files::new(paths).map(Lines)
    }
}

impl ReplaySource for Lines {
    type Record = String;
    type Position = FilePosition;
    type Reader = LineReader;

    fn partitions(&self) -> Result<Vec<String>, Error> {
        Ok(self.0.names())
    }

    fn open(&self, partition: &str, position: &FilePosition) -> Result<LineReader, Error> {
        let Opened { mut file, witness } = self.0.open(partition, position)?;
        file.seek(SeekFrom::Start(position.byte)).map_err(|error| unreadable(&witness.path, error))?;
        let start = (position.byte, position.line);
        Ok(LineReader { witness, reader: BufReader::new(file), last: start, next: start, line: Vec::new() })
    }
}

/// Reads a file line by line.
#[derive(Debug)]
pub struct LineReader {
    witness: Witness,
    reader: BufReader<File>,
    /// Byte and line at which the line read last begins.
    last: (u64, u64),
    /// And the next one.
    next: (u64, u64),
    line: Vec<u8>,
}

impl PartitionReader for LineReader {
    type Record = String;
    type Position = FilePosition;

    fn next(&mut self) -> Result<Option<String>, Error> {
        self.last = self.next;
        self.line.clear();
        let read = (&mut self.reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut self.line);
        let length = read.map_err(|error| unreadable(&self.witness.path, error))? as u64;
        let (byte, line) = self.last;
        let wrong = |what: &str| malformed(&self.witness.path, line, byte, what);
        if length == 0 {
            return Ok(None);
        }
        let ended = self.line.pop_if(|last| *last == b'\n').is_some();
        if !ended && length == MAX_LINE_BYTES {
            return Err(wrong("the line does not end within 16 MiB: it is not a file of lines"));
        }
        self.line.pop_if(|last| ended && *last == b'\r');
        let text = str::from_utf8(&self.line).map_err(|error| wrong("the line is not UTF-8").with(error))?.to_owned();
        self.next = (byte + length, line + 1);
        Ok(Some(text))
    }

    fn position(&self) -> Result<FilePosition, Error> {
        self.witness.at(self.last.0, self.last.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(reader: &mut LineReader) -> Vec<String> {
        std::iter::from_fn(|| reader.next().unwrap()).collect()
    }

    #[test]
    fn from_each_position_the_rest_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        for (text, expected) in [
            ("", &[][..]),
            ("one", &["one"]),
            ("one\n\nthree\r\nfour\n", &["one", "", "three", "four"]),
            ("\n", &[""]),
            ("a\r", &["a\r"]),
        ] {
            std::fs::write(&path, text).unwrap();
            let lines = Lines::new([&path]).unwrap();
            let mut reader = lines.open("x", &FilePosition::default()).unwrap();
            let mut read = 0;
            loop {
                let line = reader.next().unwrap();
                let position = reader.position().unwrap();
                assert_eq!(all(&mut lines.open("x", &position).unwrap()), expected[read..], "{text:?} at {position:?}");
                assert_eq!(position.line, read as u64 + 1);
                let Some(line) = line else { break };
                assert_eq!(line, expected[read]);
                read += 1;
            }
            assert_eq!(read, expected.len());
        }
    }

    #[test]
    fn what_is_no_text_is_an_error_that_says_where() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        std::fs::write(&path, b"one\n\xff\n").unwrap();
        let mut reader = Lines::new([&path]).unwrap().open("x", &FilePosition::default()).unwrap();
        reader.next().unwrap();
        let error = reader.next().unwrap_err().to_string();
        assert!(error.contains("x, line 2 (byte 4): the line is not UTF-8"), "{error}");
        std::fs::write(&path, vec![b'x'; MAX_LINE_BYTES as usize + 1]).unwrap();
        let error = Lines::new([&path]).unwrap().open("x", &FilePosition::default()).unwrap().next().unwrap_err();
        assert!(error.to_string().contains("line 1 (byte 0): the line does not end"), "{error}");
    }
}
