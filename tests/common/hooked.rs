//! A store for tests, those of the crate itself included.
#![allow(dead_code, reason = "each test uses a part")]

use super::{Error, Memory, Store, StoreLock};

/// What is about to be done to an object, or to those with a prefix.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    Write(&'a [u8]),
    Read,
    List,
    Delete,
}

/// A store in memory that does something before each operation, and fails where that fails.
pub struct Hooked<F> {
    inner: Memory,
    hook: F,
}

impl<F: Fn(&Memory, Operation<'_>, &str) -> Result<(), Error>> Hooked<F> {
    pub fn new(inner: Memory, hook: F) -> Self {
        Hooked { inner, hook }
    }

    fn after<R>(
        &self,
        operation: Operation<'_>,
        name: &str,
        act: impl FnOnce(&Memory) -> Result<R, Error>,
    ) -> Result<R, Error> {
        (self.hook)(&self.inner, operation, name)?;
        act(&self.inner)
    }
}

/// A store that does something before it writes.
pub fn before_writing(
    inner: Memory,
    hook: impl Fn(&Memory, &str, &[u8]) -> Result<(), Error> + Send + Sync + 'static,
) -> impl Store {
    Hooked::new(inner, move |store: &Memory, operation: Operation<'_>, name: &str| match operation {
        Operation::Write(bytes) => hook(store, name, bytes),
        Operation::Read | Operation::List | Operation::Delete => Ok(()),
    })
}

impl<F> Store for Hooked<F>
where
    F: Fn(&Memory, Operation<'_>, &str) -> Result<(), Error> + Send + Sync + 'static,
{
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.after(Operation::Write(bytes), name, |store| store.put(name, bytes))
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.after(Operation::Write(bytes), name, |store| store.create(name, bytes))
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.after(Operation::Read, name, |store| store.get(name))
    }

    fn get_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        self.after(Operation::Read, name, |store| store.get_range(name, offset, length))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.after(Operation::List, prefix, |store| store.list(prefix))
    }

    fn delete(&self, name: &str) -> Result<(), Error> {
        self.after(Operation::Delete, name, |store| store.delete(name))
    }

    fn lock(&self) -> Result<Option<StoreLock>, Error> {
        self.inner.lock()
    }
}
