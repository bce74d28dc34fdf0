//! Files and directories: what can fail says which one it was.

use std::path::Path;
use std::{fs, io};

use crate::durable::{self, Locked, Locking};
use crate::error::Error;

/// Keeps a second run out, for as long as this lives; nothing where the file system has no locks.
pub(super) fn lock(directory: &Path) -> Result<Option<Locked>, Error> {
    let name = directory.display().to_string();
    match durable::lock(directory).map_err(|error| Error::store("lock", &*name, error))? {
        Locking::Locked(lock) => Ok(Some(lock)),
        Locking::Taken(holder) => Err(Error::usage(format!(
            "another run{holder} writes its output to {name}: end that one, or give another directory"
        ))),
        Locking::Unsupported => Ok(None),
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
    durable::write(path, bytes).map_err(|error| unwritable(path, error))
}

pub(super) fn exists(path: &Path) -> Result<bool, Error> {
    path.try_exists().map_err(|error| unreadable(path, error))
}

pub(super) fn delete(path: &Path) -> Result<(), Error> {
    durable::remove(path).map_err(|error| Error::store("delete", path.display().to_string(), error))
}

pub(super) fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::store("read", path.display().to_string(), error)
}

pub(super) fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::store("write", path.display().to_string(), error)
}
