use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use atomic_write_file::AtomicWriteFile;

use super::lock::StoreLock;
use super::store::{Store, check_name, check_prefix, taken};
use crate::durable::{self, Locking};
use crate::error::Error;

/// A store in a directory: one file per object, a sub-directory for each part of a name that a slash ends.
///
/// A file is written beside its place under a name that begins with a dot, synchronised, renamed, and then its
/// directory is synchronised too: that is what makes the name durable. Several processes of one run may use one
/// directory; that no other run does is seen to by a lock of the operating system on the file `.lock`, whose text is
/// the number of the process.
///
/// Nothing below the directory may be a symbolic link: it could lead anywhere. The directory itself may be one.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    /// Sub-directories that are known to exist durably.
    durable: Mutex<BTreeSet<PathBuf>>,
}

/// How old a half-written file must be to be taken for the leftover of a crash. No write of an object of some
/// megabytes takes as long; if one does after all, it fails, and its checkpoint is abandoned.
pub const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 60 * 60);

impl Directory {
    /// The store in this directory, which is made if it is missing. An error if it can't be, or can't be written to.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let root = path.into();
        if root.exists() && !root.is_dir() {
            return Err(Error::usage(format!(
                "{} can't hold checkpoints: it is a file; name a directory, or a path where one can be made",
                root.display()
            )));
        }
        durable::create_directories(&root)
            .map_err(|e| Error::store("create the directory", root.display().to_string(), e))?;
        let probe = AtomicWriteFile::open(root.join("probe")).and_then(AtomicWriteFile::discard);
        probe.map_err(|e| Error::store("write to the directory", root.display().to_string(), e))?;
        let directory = Directory { root, durable: Mutex::default() };
        directory.sweep()?;
        Ok(directory)
    }

    /// The store in a directory that must be there. Nothing is written before something is put, so that one that can
    /// only be read can be looked at.
    pub fn existing(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let root = path.into();
        if root.is_dir() {
            return Ok(Directory { root, durable: Mutex::default() });
        }
        let what = if root.exists() { "is a file" } else { "is not there" };
        Err(Error::usage(format!("{} {what}: name a directory that holds checkpoints", root.display())))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Removes what writes that a crash cut short have left behind, once it is older than [`LEFTOVER_AGE`]: it
    /// does no harm, but takes space. Gives the number of files.
    pub fn sweep(&self) -> Result<usize, Error> {
        let mut leftovers = Vec::new();
        let stale = |path: &Path| {
            let written = fs::symlink_metadata(path).and_then(|m| m.modified()).ok();
            written.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > LEFTOVER_AGE)
        };
        walk(&self.root, &mut |path, name| {
            // The name that `AtomicWriteFile` gives: a dot, the name, a dot, six letters.
            let target = name.strip_prefix('.').and_then(|n| n.rsplit_once('.'));
            if target.is_some_and(|(n, random)| check_name(n).is_ok() && random.len() == 6) && stale(path) {
                leftovers.push(path.to_owned());
            }
        })
        .map_err(|e| Error::store("list", self.root.display().to_string(), e))?;
        for path in &leftovers {
            durable::remove(path).map_err(|e| Error::store("delete", path.display().to_string(), e))?;
        }
        Ok(leftovers.len())
    }

    fn file(&self, name: &str) -> Result<PathBuf, Error> {
        check_name(name)?;
        self.inside(name)
    }

    /// A path below the directory, no part of which is a symbolic link.
    fn inside(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.root.join(name);
        let below = path.ancestors().take_while(|part| *part != self.root);
        match below.filter(|part| part.is_symlink()).last() {
            Some(link) => Err(Error::usage(format!(
                "{} is a symbolic link, which may lead out of the store: put in its place what it points to",
                link.display()
            ))),
            None => Ok(path),
        }
    }

    /// Makes the directories above a file, each durably, even if another process made them just now.
    fn prepare(&self, file: &Path) -> io::Result<()> {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        let above = file.ancestors().skip(1).take_while(|d| *d != self.root);
        let mut missing: Vec<&Path> = above.filter(|d| !durable.contains(*d)).collect();
        while let Some(directory) = missing.pop() {
            durable::create_directory(directory)?;
            durable.insert(directory.to_owned());
        }
        Ok(())
    }
}

impl Store for Directory {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let file = self.file(name)?;
        self.prepare(&file)
            .and_then(|()| durable::write(&file, bytes))
            .map_err(|e| Error::store("write", file.display().to_string(), e))
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let file = self.file(name)?;
        self.prepare(&file)
            .and_then(|()| durable::create(&file, bytes))
            .map_err(|e| Error::store("create", file.display().to_string(), e))
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, Error> {
        let file = self.file(name)?;
        fs::read(&file).map_err(|e| Error::store("read", file.display().to_string(), e))
    }

    fn get_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        let file = self.file(name)?;
        read_part(&file, offset, length).map_err(|e| Error::store("read", file.display().to_string(), e))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let directory = self.inside(check_prefix(prefix)?)?;
        let mut names = Vec::new();
        let walked = walk(&directory, &mut |path, _| {
            let parts = path.strip_prefix(&self.root).ok();
            let name: Option<Vec<&str>> = parts.and_then(|p| p.iter().map(|part| part.to_str()).collect());
            let name = name.map(|parts| parts.join("/"));
            names.extend(name.filter(|n| n.starts_with(prefix) && check_name(n).is_ok()));
        });
        walked.map_err(|e| Error::store("list", directory.display().to_string(), e))?;
        names.sort_unstable();
        Ok(names)
    }

    fn delete(&self, name: &str) -> Result<(), Error> {
        let file = self.file(name)?;
        durable::remove(&file).map_err(|e| Error::store("delete", file.display().to_string(), e))
    }

    fn lock(&self) -> Result<Option<StoreLock>, Error> {
        let name = self.root.display().to_string();
        match durable::lock(&self.root).map_err(|error| Error::store("lock", &*name, error))? {
            Locking::Locked(lock) => Ok(Some(StoreLock::new(lock))),
            Locking::Taken(holder) => Err(taken(&name, &holder)),
            Locking::Unsupported => Ok(None),
        }
    }
}

fn read_part(file: &Path, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(file)?;
    let end = offset.checked_add(length).filter(|end| file.metadata().is_ok_and(|m| *end <= m.len()));
    if end.is_none() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| ErrorKind::FileTooLarge)?];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Shows every file under a directory, which need not exist, with its last part as text.
fn walk(directory: &Path, see: &mut impl FnMut(&Path, &str)) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), see)?;
        } else if let Some(name) = entry.file_name().to_str().filter(|_| kind.is_file()) {
            see(&entry.path(), name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::LOCK;

    #[test]
    fn objects_come_back_and_go() {
        let parent = tempfile::tempdir().unwrap();
        let store = Directory::open(parent.path().join("some/where")).unwrap();
        assert_eq!(store.list("").unwrap(), [""; 0]);
        for name in ["objects/b", "objects/a", "manifests/1", "top"] {
            store.put(name, b"before").unwrap();
            store.put(name, name.as_bytes()).unwrap();
        }
        let again = Directory::open(store.path()).unwrap();
        assert_eq!(again.list("").unwrap(), ["manifests/1", "objects/a", "objects/b", "top"]);
        assert_eq!(again.list("objects/").unwrap(), ["objects/a", "objects/b"]);
        assert_eq!(again.list("obj").unwrap(), ["objects/a", "objects/b"]);
        assert_eq!(again.list("objects/b").unwrap(), ["objects/b"]);
        assert_eq!(again.list("nowhere/").unwrap(), [""; 0]);
        assert_eq!(again.get("objects/b").unwrap(), b"objects/b");
        assert_eq!(again.get_range("objects/b", 3, 2).unwrap(), b"ec");
        for (offset, length) in [(0, 10), (10, 0), (u64::MAX, 2), (1, u64::MAX)] {
            again.get_range("objects/b", offset, length).unwrap_err();
        }
        again.delete("top").unwrap();
        again.delete("top").unwrap();
        assert!(matches!(store.get("top"), Err(Error::Store { source, .. }) if source.kind() == ErrorKind::NotFound));
    }

    #[test]
    fn old_leftovers_of_a_crash_are_swept_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let store = Directory::open(directory.path()).unwrap();
        store.put("objects/a", b"a").unwrap();
        let old = std::time::SystemTime::now() - 2 * LEFTOVER_AGE;
        for (name, age) in [(".a.Ab12Cd", true), (".b.Ab12Cd", false), (".profile", true), ("a", true)] {
            let path = directory.path().join("objects").join(name);
            let file = File::options().append(true).create(true).open(path).unwrap();
            if age {
                file.set_modified(old).unwrap();
            }
        }
        assert_eq!(store.list("").unwrap(), ["objects/a"]);
        assert_eq!(store.sweep().unwrap(), 1);
        assert!(!directory.path().join("objects/.a.Ab12Cd").exists());
        assert!(directory.path().join("objects/.b.Ab12Cd").exists() && store.get("objects/a").is_ok());
    }

    #[test]
    fn one_run_at_a_time_has_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let stores = [0, 1].map(|_| Directory::open(directory.path()).unwrap());
        let lock = stores[0].lock().unwrap();
        assert!(lock.is_some());
        for store in &stores {
            let error = store.lock().unwrap_err();
            assert!(
                matches!(error, Error::Usage { .. }) && error.to_string().contains("run of this process"),
                "{error}"
            );
        }
        drop(lock);
        fs::write(directory.path().join(LOCK), "1\n").unwrap();
        let lock = stores[1].lock().unwrap();
        fs::write(directory.path().join(LOCK), "1\n").unwrap();
        let error = stores[0].lock().unwrap_err().to_string();
        assert!(error.contains("another run, process 1,"), "{error}");
        fs::write(directory.path().join(LOCK), "").unwrap();
        assert!(stores[0].lock().unwrap_err().to_string().contains("another run writes checkpoints to"));
        assert_eq!((stores[0].list("").unwrap(), stores[0].sweep().unwrap()), (Vec::new(), 0));
        drop(lock);
        stores[0].lock().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn no_link_inside_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (outside, root) = (directory.path().join("outside"), directory.path().join("store"));
        for place in ["outside", "store", "store/objects"] {
            fs::create_dir(directory.path().join(place)).unwrap();
        }
        fs::write(outside.join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(&outside, root.join("objects/away")).unwrap();
        std::os::unix::fs::symlink(outside.join("secret"), root.join("objects/secret")).unwrap();
        std::os::unix::fs::symlink(&root, directory.path().join("link")).unwrap();
        for root in [&root, &directory.path().join("link")] {
            let store = Directory::open(root).unwrap();
            for name in ["objects/away/secret", "objects/secret", "objects/away/new"] {
                let results =
                    [store.put(name, b""), store.create(name, b""), store.get(name).map(drop), store.delete(name)];
                for result in results.into_iter().chain([store.get_range(name, 0, 1).map(drop)]) {
                    assert!(result.unwrap_err().to_string().contains("is a symbolic link"), "{name}");
                }
            }
            store.list("objects/away/").unwrap_err();
            store.put("objects/a", b"a").unwrap();
            assert_eq!(store.list("objects/").unwrap(), ["objects/a"]);
        }
        assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
        assert!(!outside.join("new").exists());
    }
}
