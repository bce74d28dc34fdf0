use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as Failure, ObjectStore as Remote, ObjectStoreExt, PutMode, PutPayload};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use super::store::{Store, check_name, check_prefix};
use crate::error::{Cause, Error};

/// A store in an object store: a bucket, or whatever else the crate `object_store` can reach.
///
/// It makes its requests on a thread of its own, and whoever calls waits, as with any other store: it may be called
/// from anywhere, from inside another runtime too, which is then blocked for as long. That a request is tried again is
/// up to the crate, and to how the store was built; [`REQUEST_TIMEOUT`] ends it in any case.
///
/// It has no lock. Two runs over one object store are told from each other when both write the manifest of one epoch:
/// that is a conditional request, which only the first one gets through. Where a store can't do that
/// (`AWS_CONDITIONAL_PUT=disabled`), it is asked for the manifest just before.
///
/// ```
/// use std::sync::Arc;
/// use thalweg::checkpoint::{ObjectStore, Store};
///
/// let store = ObjectStore::new(Arc::new(object_store::memory::InMemory::new()), "runs/7").unwrap();
/// store.put("objects/a", b"state").unwrap();
/// assert_eq!(store.get_range("objects/a", 1, 3).unwrap(), b"tat");
/// ```
pub struct ObjectStore {
    remote: Arc<dyn Remote>,
    /// Without a slash at its end; empty for the whole store.
    prefix: String,
    timeout: Duration,
    /// Until it is dropped.
    runtime: Option<Runtime>,
}

/// How long a request may take, with all that is tried again: longer than the three minutes for which the crate tries,
/// so that it only ends what hangs.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(240);

impl ObjectStore {
    /// The part of an object store whose names begin with `prefix` and a slash; all of it if that is empty.
    pub fn new(remote: Arc<dyn Remote>, prefix: &str) -> Result<Self, Error> {
        let prefix = prefix.trim_matches('/');
        if !prefix.is_empty() {
            check_name(prefix)?;
        }
        let threads = Builder::new_multi_thread().worker_threads(1).thread_name("object-store").enable_all().build();
        let runtime = threads.map_err(|e| Error::store("start the thread that talks to", "the object store", e))?;
        Ok(ObjectStore { remote, prefix: prefix.to_owned(), timeout: REQUEST_TIMEOUT, runtime: Some(runtime) })
    }

    /// The part of an object store at a URL: with the feature `s3`, `s3://bucket/prefix`, set up by the environment's
    /// variables `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT`, `AWS_ALLOW_HTTP` and so
    /// on. An error if it does not answer.
    pub fn open(url: &str) -> Result<Self, Error> {
        let refused = |why: &str| Error::usage(format!("{url:?} can't hold checkpoints: {why}"));
        let parsed = Url::parse(url).map_err(|e| refused("it is no URL like s3://bucket/prefix").with(e))?;
        if parsed.scheme() == "file" {
            return Err(refused("give a directory by its path"));
        }
        // Only what is meant for this: the crate would also take `TOKEN` or `BUCKET` for its own.
        let variables =
            std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
        let variables = variables.filter(|(name, _)| name.starts_with("AWS_"));
        let (remote, prefix) = object_store::parse_url_opts(&parsed, variables)
            .map_err(|e| refused("name a store that this program was built for, as in s3://bucket/prefix").with(e))?;
        let store = Self::new(remote.into(), prefix.as_ref())?;
        store.list("manifests/")?;
        Ok(store)
    }

    /// The same with another timeout.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn path(&self, name: &str) -> Result<Path, Error> {
        check_name(name)?;
        self.below(name)
    }

    /// A path below the prefix; the prefix itself for the empty name.
    fn below(&self, name: &str) -> Result<Path, Error> {
        let parts = [self.prefix.as_str(), name].into_iter().filter(|part| !part.is_empty());
        let path = parts.collect::<Vec<_>>().join("/");
        Path::parse(&path).map_err(|e| Error::usage(format!("{path:?} can't name an object")).with(e))
    }

    /// Makes a request, and waits for its answer.
    fn request<R, F>(
        &self,
        action: &'static str,
        path: &Path,
        request: impl FnOnce(Arc<dyn Remote>, Path) -> F,
    ) -> Result<R, Error>
    where
        R: Send + 'static,
        F: Future<Output = Result<R, Failure>> + Send + 'static,
    {
        let failed = |source| Error::store(action, path.to_string(), source);
        let ended = || failed(io::Error::other("the thread that talks to it has ended"));
        let Some(runtime) = &self.runtime else { return Err(ended()) };
        let request = request(Arc::clone(&self.remote), path.clone());
        let (answer, answered) = sync_channel(1);
        let timeout = self.timeout;
        runtime.spawn(async move { _ = answer.send(tokio::time::timeout(timeout, request).await) });
        match answered.recv() {
            Ok(Ok(result)) => result.map_err(|failure| failed(cause(failure))),
            Ok(Err(_)) => {
                let what = format!("no answer in {} seconds", timeout.as_secs_f64());
                Err(failed(io::Error::new(ErrorKind::TimedOut, what)))
            }
            Err(_) => Err(ended()),
        }
    }

    fn put_as(&self, action: &'static str, path: &Path, bytes: &[u8], mode: PutMode) -> Result<(), Error> {
        let payload = PutPayload::from(bytes.to_vec());
        self.request(action, path, |remote, path| async move {
            remote.put_opts(&path, payload, mode.into()).await.map(drop)
        })
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, Error> {
        self.request("read", path, |remote, path| async move {
            remote.get(&path).await?.bytes().await.map(|bytes| bytes.to_vec())
        })
    }

    fn length(&self, path: &Path) -> Result<u64, Error> {
        self.request("read", path, |remote, path| async move { remote.head(&path).await.map(|meta| meta.size) })
    }
}

/// The cause of a failure, of the kind that says what it means for a [`Store`].
fn cause(failure: Failure) -> io::Error {
    let kind = match &failure {
        Failure::NotFound { .. } => ErrorKind::NotFound,
        Failure::AlreadyExists { .. } | Failure::Precondition { .. } => ErrorKind::AlreadyExists,
        Failure::PermissionDenied { .. } | Failure::Unauthenticated { .. } => ErrorKind::PermissionDenied,
        Failure::NotSupported { .. } | Failure::NotImplemented { .. } => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, Cause::from(failure))
}

fn is(error: &Error, kind: ErrorKind) -> bool {
    matches!(error, Error::Store { source, .. } if source.kind() == kind)
}

impl Store for ObjectStore {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.put_as("write", &self.path(name)?, bytes, PutMode::Overwrite)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path(name)?;
        let exists = || Error::store("create", path.to_string(), ErrorKind::AlreadyExists.into());
        match self.put_as("create", &path, bytes, PutMode::Create) {
            // A first try may have got through, although its answer did not.
            Err(error) if is(&error, ErrorKind::AlreadyExists) => match self.read(&path) {
                Ok(found) if found == bytes => Ok(()),
                _ => Err(error),
            },
            Err(error) if is(&error, ErrorKind::Unsupported) => match self.length(&path) {
                Ok(_) => Err(exists()),
                Err(error) if is(&error, ErrorKind::NotFound) => {
                    self.put_as("create", &path, bytes, PutMode::Overwrite)
                }
                Err(error) => Err(error),
            },
            result => result,
        }
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.read(&self.path(name)?)
    }

    fn get_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        let path = self.path(name)?;
        let too_short = || Error::store("read", path.to_string(), ErrorKind::UnexpectedEof.into());
        let end = match offset.checked_add(length) {
            Some(end) if length > 0 => end,
            end => {
                // A store can't be asked for nothing, but for how long the object is.
                let whole = self.length(&path)?;
                return if end.is_some_and(|end| end <= whole) { Ok(Vec::new()) } else { Err(too_short()) };
            }
        };
        let read = self.request("read", &path, |remote, path| async move {
            remote.get_range(&path, offset..end).await.map(|bytes| bytes.to_vec())
        });
        match read {
            Ok(bytes) if bytes.len() as u64 == length => Ok(bytes),
            Ok(_) => Err(too_short()),
            // Each store has its own way to say so.
            Err(error) => Err(if self.length(&path)? < end { too_short() } else { error }),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let directory = self.below(check_prefix(prefix)?)?;
        let paths: Vec<Path> = self.request("list", &directory, |remote, directory| async move {
            remote.list(Some(&directory)).map_ok(|meta| meta.location).try_collect().await
        })?;
        let skip = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        let names = paths.iter().filter_map(|path| path.as_ref().get(skip..));
        let mut names: Vec<String> =
            names.filter(|n| n.starts_with(prefix) && check_name(n).is_ok()).map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn delete(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name)?;
        let deleted = self.request("delete", &path, |remote, path| async move { remote.delete(&path).await });
        deleted.or_else(|error| if is(&error, ErrorKind::NotFound) { Ok(()) } else { Err(error) })
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        // Nobody waits for an answer any more, and in another runtime nobody may wait for the thread.
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStore")
            .field("remote", &self.remote)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
