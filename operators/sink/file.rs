//! Files and directories: what can fail says which one it was.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::Path;

use atomic_write_file::AtomicWriteFile;

use crate::checkpoint::remove;
use crate::error::Error;

const LOCK: &str = ".lock";

/// Keeps a second run out, for as long as the file is open; nothing where the file system has no locks.
pub(super) fn lock(directory: &Path) -> Result<Option<File>, Error> {
    let path = directory.join(LOCK);
    let failed = |error| Error::store("lock", path.display().to_string(), error);
    let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
        Err(TryLockError::WouldBlock) => Err(Error::usage(format!(
            "another run writes its output to {}: end that one, or give another directory",
            directory.display()
        ))),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

pub(super) fn names(directory: &Path) -> Result<Vec<String>, Error> {
    let listed = fs::read_dir(directory).and_then(|entries| {
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect::<io::Result<Vec<String>>>()
    });
    listed.map_err(|error| Error::store("list", directory.display().to_string(), error))
}

/// Writes a file atomically, and synchronises it and its directory.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let written = AtomicWriteFile::open(path).and_then(|mut writing| {
        writing.write_all(bytes)?;
        writing.commit()
    });
    written.map_err(|error| unwritable(path, error))
}

pub(super) fn exists(path: &Path) -> Result<bool, Error> {
    path.try_exists().map_err(|error| unreadable(path, error))
}

pub(super) fn delete(path: &Path) -> Result<(), Error> {
    remove(path).map_err(|error| Error::store("delete", path.display().to_string(), error))
}

pub(super) fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::store("read", path.display().to_string(), error)
}

pub(super) fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::store("write", path.display().to_string(), error)
}
