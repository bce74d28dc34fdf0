use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::file::unreadable;
use crate::error::Error;

/// Bytes that are compared at a time.
const BLOCK: usize = 64 << 10;

/// Files, one after the other, or bytes.
pub(super) struct Joined<'a> {
    length: u64,
    reader: Box<dyn Read + 'a>,
    /// Those that come after it: one is open at a time, as there may be many.
    files: VecDeque<PathBuf>,
}

impl<'a> Joined<'a> {
    pub fn of(bytes: &'a [u8]) -> Self {
        Joined { length: bytes.len() as u64, reader: Box::new(bytes), files: VecDeque::new() }
    }

    pub fn open(files: &[PathBuf]) -> Result<Self, Error> {
        let length = |path: &PathBuf| fs::metadata(path).map(|m| m.len()).map_err(|error| unreadable(path, error));
        let length = files.iter().map(length).sum::<Result<u64, Error>>()?;
        Ok(Joined { length, reader: Box::new(io::empty()), files: files.iter().cloned().collect() })
    }
}

impl Read for Joined<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.reader.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(next) = self.files.pop_front() else { return Ok(0) };
            self.reader = Box::new(File::open(next)?);
        }
    }
}

/// Compares what is visible with what is replayed. If not all epochs of the file are, it is its end that must be the
/// same: what is before it, the checkpoint covers.
pub(super) fn recognise(visible: &Path, replayed: &mut Joined<'_>, is_whole: bool) -> Result<(), Error> {
    let is_same = File::open(visible).and_then(|mut file| {
        let length = file.metadata()?.len();
        if length < replayed.length || (is_whole && length > replayed.length) {
            return Ok(false);
        }
        file.seek(SeekFrom::Start(length - replayed.length))?;
        same(&mut file, replayed)
    });
    match is_same.map_err(|error| unreadable(visible, error))? {
        true => Ok(()),
        false => Err(differs(visible, "differs from what replaying its epochs gives")),
    }
}

fn same(left: &mut impl Read, right: &mut impl Read) -> io::Result<bool> {
    loop {
        let (mut a, mut b) = (Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK));
        left.take(BLOCK as u64).read_to_end(&mut a)?;
        right.take(BLOCK as u64).read_to_end(&mut b)?;
        if a != b {
            return Ok(false);
        }
        if a.is_empty() {
            return Ok(true);
        }
    }
}

/// That what is visible is not what it should be.
pub(super) fn differs(visible: &Path, what: &str) -> Error {
    let mend = "the program is not deterministic, or its input or this file has been changed; make the output of an epoch \
                a function of the input, or have it visible only when a checkpoint covers it";
    Error::corrupt(visible.display().to_string(), format!("it {what}: {mend}"))
}
