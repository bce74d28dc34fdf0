use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Bytes before a position that a checkpoint has a checksum of: enough for some lines, by which a file that has been
/// replaced gives itself away, and read in no time.
pub const WITNESS_BYTES: u64 = 256;

/// A place in a file of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    /// Bytes before it.
    pub byte: u64,
    /// The number of the line that begins there, from 1.
    pub line: u64,
    /// CRC-32 of the [`WITNESS_BYTES`] bytes before it, or of all if there are fewer.
    witness: u32,
}

impl Default for FilePosition {
    fn default() -> Self {
        FilePosition { byte: 0, line: 1, witness: crc32fast::hash(&[]) }
    }
}

/// Files, by the names that they have as partitions: those without their directories, which may be others when a run
/// is resumed.
#[derive(Clone, Debug)]
pub(super) struct Files(BTreeMap<String, PathBuf>);

impl Files {
    pub fn new(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Result<Self, Error> {
        let mut files = BTreeMap::new();
        for path in paths.into_iter().map(Into::into) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(Error::usage(format!("{} names no file to read, as text", path.display())));
            };
            if let Some(other) = files.insert(name.to_owned(), path.clone()) {
                return Err(Error::usage(format!(
                    "{} and {} have the same name, by which their positions would be kept: rename one",
                    other.display(),
                    path.display()
                )));
            }
        }
        if files.is_empty() {
            return Err(Error::usage("there is no file to read: name at least one"));
        }
        Ok(Files(files))
    }

    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Opens a file, which must still be what it was before the position.
    pub fn open(&self, name: &str, position: &FilePosition) -> Result<Opened, Error> {
        let path = self.0.get(name).ok_or_else(|| Error::usage(format!("there is no file {name:?} to read")))?;
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        let metadata = file.metadata().map_err(|error| unreadable(path, error))?;
        if metadata.is_dir() {
            return Err(Error::usage(format!("{} is a directory: name the files in it", path.display())));
        }
        let witness = Witness::open(path)?;
        position.check(&witness, metadata.len())?;
        Ok(Opened { file, witness })
    }
}

/// A file to be read, and to be looked at elsewhere.
#[derive(Debug)]
pub(super) struct Opened {
    pub file: File,
    pub witness: Witness,
}

/// Looks at what stands before a place of a file: by a handle of its own, as that of the reader stands elsewhere, and
/// not by the name, as another file may have that by now.
#[derive(Debug)]
pub(super) struct Witness {
    pub path: PathBuf,
    file: File,
}

impl Witness {
    fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        Ok(Witness { path: path.to_owned(), file })
    }

    /// The place at `byte`, where this line begins.
    pub fn at(&self, byte: u64, line: u64) -> Result<FilePosition, Error> {
        let length = byte.min(WITNESS_BYTES);
        let mut before = [0; WITNESS_BYTES as usize];
        let before = &mut before[..length as usize];
        let mut file = &self.file;
        let read = file.seek(SeekFrom::Start(byte - length)).and_then(|_| file.read_exact(before));
        read.map_err(|error| unreadable(&self.path, error))?;
        Ok(FilePosition { byte, line, witness: crc32fast::hash(before) })
    }
}

impl FilePosition {
    fn check(&self, file: &Witness, length: u64) -> Result<(), Error> {
        let mend = "put it back as it was, or begin anew in an empty store";
        let FilePosition { byte, line, witness } = *self;
        let changed = |what: String| {
            Err(Error::incompatible(file.path.display().to_string(), format!("{what}, line {line}: {mend}")))
        };
        if length < byte {
            return changed(format!("it has {length} bytes, but had been read up to byte {byte}"));
        }
        if file.at(byte, line)?.witness != witness {
            return changed(format!("it is not the file that had been read up to byte {byte}"));
        }
        Ok(())
    }
}

pub(super) fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::store("read", path.display().to_string(), error)
}

/// What is wrong at a place of a file.
pub(super) fn malformed(path: &Path, line: u64, byte: u64, what: &str) -> Error {
    Error::usage(format!("{}, line {line} (byte {byte}): {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_told_apart_and_none_at_all_are_refused() {
        for (paths, told) in [
            (vec!["a/x.csv", "b/x.csv"], "have the same name"),
            (vec![], "there is no file to read"),
            (vec!["a/.."], "names no file"),
        ] {
            let error = Files::new(paths).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_what_it_was_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let files = Files::new([&path]).unwrap();
        let position = Witness::open(&path).unwrap().at(600, 3).unwrap();
        files.open("x", &position).unwrap();
        let refused = |told: &str| {
            let error = files.open("x", &position).unwrap_err();
            assert!(error.with_causes().contains(told), "{}", error.with_causes());
        };
        // Grown is as well as it was.
        std::fs::write(&path, [&bytes[..], b"more"].concat()).unwrap();
        files.open("x", &position).unwrap();
        std::fs::write(&path, &bytes[..599]).unwrap();
        refused("it has 599 bytes, but had been read up to byte 600, line 3");
        let mut edited = bytes;
        edited[599] ^= 1;
        std::fs::write(&path, &edited).unwrap();
        refused("not the file that had been read");
        std::fs::remove_file(&path).unwrap();
        refused("can't read");
    }
}
