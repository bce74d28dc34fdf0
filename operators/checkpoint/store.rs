use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lock::StoreLock;
use crate::error::Error;

/// Where checkpoints are kept: named objects that are written whole, read whole or in part, listed and deleted.
///
/// Nothing else is asked of a store, so that a directory, an object store or a test that crashes at any of these
/// operations can be one. Names are those that [`check_name`] lets through. A failure is an [`Error::Store`] that
/// names the object; an object that is not there is one whose cause is [`ErrorKind::NotFound`].
pub trait Store: Send + Sync + 'static {
    /// Writes an object, in place of any other of that name. Atomic: at no instant, whatever happens, is part of
    /// it to be read. Durable: once this has returned, it stays. After an error it is there whole, or not at all.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error>;

    /// As [`put`](Store::put), but fails, with a cause of [`ErrorKind::AlreadyExists`], if there is an object of that
    /// name, and leaves that one as it is. Of several who create one object at once, one succeeds. It may succeed as
    /// well where just these bytes are there already.
    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), Error>;

    /// The bytes of an object.
    fn get(&self, name: &str) -> Result<Vec<u8>, Error>;

    /// So many bytes of an object, from `offset` on. [`ErrorKind::UnexpectedEof`] if it ends before.
    fn get_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, Error>;

    /// The names of all objects that begin with `prefix`, sorted. `prefix` ends at any letter.
    fn list(&self, prefix: &str) -> Result<Vec<String>, Error>;

    /// Deletes an object, durably. Not an error if there is none.
    fn delete(&self, name: &str) -> Result<(), Error>;

    /// Makes the store this run's alone, until the lock is dropped or the process ends in any way. [`Error::Usage`] if
    /// it is another's. `None` if the store has no locks, as this default: then two runs are told from each other only
    /// when both [`create`](Store::create) one manifest.
    fn lock(&self) -> Result<Option<StoreLock>, Error> {
        Ok(None)
    }
}

/// Bytes that one part of a name, between slashes, can be long at most: file systems take 255, and a file that is
/// being written has a few letters more.
pub const MAX_NAME_PART: usize = 240;

/// Refuses what can't name an object: parts between single slashes, of ASCII letters, digits, `.`, `_` and `-`, none
/// of them empty, longer than [`MAX_NAME_PART`] or beginning with a dot. So no name leads out of a store.
pub fn check_name(name: &str) -> Result<(), Error> {
    let letters = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let fits = |part: &str| !part.is_empty() && !part.starts_with('.') && part.len() <= MAX_NAME_PART && letters(part);
    if name.split('/').all(fits) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{name:?} can't name an object: expected parts between single slashes, each of 1 to {MAX_NAME_PART} ASCII \
         letters, digits, `.`, `_` or `-`, and none beginning with a dot"
    )))
}

/// Refuses a prefix that no name can have; gives the part up to and without its last slash.
pub(crate) fn check_prefix(prefix: &str) -> Result<&str, Error> {
    let Some((directory, _)) = prefix.rsplit_once('/') else { return Ok("") };
    check_name(directory).map(|()| directory)
}

/// Says that a store is another run's.
pub(crate) fn taken(store: &str, by: &str) -> Error {
    Error::usage(format!(
        "another run{by} writes checkpoints to {store}: end it first, or give each run a store of its own"
    ))
}

/// A store that lives as long as its last handle: for tests.
///
/// ```
/// use thalweg::checkpoint::{Memory, Store};
///
/// let store = Memory::default();
/// store.clone().put("objects/a", b"state").unwrap();
/// assert_eq!(store.get_range("objects/a", 1, 3).unwrap(), b"tat");
/// assert_eq!(store.list("objects/").unwrap(), ["objects/a"]);
/// assert!(store.get("objects/b").unwrap_err().to_string().contains("objects/b"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Memory {
    objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    is_locked: Arc<AtomicBool>,
}

/// Unlocks a [`Memory`].
struct Unlock(Arc<AtomicBool>);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Memory {
    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        // No operation leaves the map half changed, so that a panic elsewhere does no harm.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<R>(&self, name: &str, part: impl FnOnce(&[u8]) -> Option<R>) -> Result<R, Error> {
        check_name(name)?;
        let objects = self.objects();
        let bytes = objects.get(name).ok_or(ErrorKind::NotFound);
        bytes
            .and_then(|bytes| part(bytes).ok_or(ErrorKind::UnexpectedEof))
            .map_err(|kind| Error::store("read", name, io::Error::from(kind)))
    }
}

impl Store for Memory {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        check_name(name)?;
        self.objects().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        check_name(name)?;
        match self.objects().entry(name.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(bytes.to_vec());
                Ok(())
            }
            Entry::Occupied(_) => Err(Error::store("create", name, ErrorKind::AlreadyExists.into())),
        }
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.read(name, |bytes| Some(bytes.to_vec()))
    }

    fn get_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        self.read(name, |bytes| part(bytes, offset, length).map(<[u8]>::to_vec))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        check_prefix(prefix)?;
        Ok(self.objects().keys().filter(|name| name.starts_with(prefix)).cloned().collect())
    }

    fn delete(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        self.objects().remove(name);
        Ok(())
    }

    fn lock(&self) -> Result<Option<StoreLock>, Error> {
        if self.is_locked.swap(true, Ordering::AcqRel) {
            return Err(taken("this store in memory", " of this process"));
        }
        Ok(Some(StoreLock::new(Unlock(Arc::clone(&self.is_locked)))))
    }
}

/// A part of some bytes, if it lies in them.
pub(crate) fn part(bytes: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let end = usize::try_from(offset.checked_add(length)?).ok()?;
    bytes.get(usize::try_from(offset).ok()?..end)
}

/// What a failure to read something that a manifest says is there means for the checkpoint: a missing or short object
/// is damage, anything else stays a failure of the store.
pub(crate) fn damage(error: Error) -> Error {
    match error {
        Error::Store { object, source, .. } if source.kind() == ErrorKind::NotFound => {
            Error::corrupt(object, "it is missing").with(source)
        }
        Error::Store { object, source, .. } if source.kind() == ErrorKind::UnexpectedEof => {
            Error::corrupt(object, "it ends too early").with(source)
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = "a".repeat(MAX_NAME_PART + 1);
        for name in ["", "/", "/a", "a/", "a//b", "..", "a/../b", "./a", "a/.b", "a b", "a\\b", "a\0", "ä", &long] {
            let error = check_name(name).unwrap_err();
            assert!(
                matches!(error, Error::Usage { .. }) && error.to_string().contains(&format!("{name:?}")),
                "{error}"
            );
        }
        for name in ["a", "a/b", "a..b", "objects/0-op-1-2-00ff.x", &long[1..]] {
            check_name(name).unwrap();
        }
        for prefix in ["../", "/a/", "a/../b"] {
            Memory::default().list(prefix).unwrap_err();
        }
    }

    #[test]
    fn a_range_outside_an_object_is_an_error() {
        let store = Memory::default();
        store.put("a", b"abc").unwrap();
        assert_eq!(store.get_range("a", 3, 0).unwrap(), b"");
        for (offset, length) in [(0, 4), (4, 0), (u64::MAX, 1), (1, u64::MAX)] {
            store.get_range("a", offset, length).unwrap_err();
        }
    }
}
