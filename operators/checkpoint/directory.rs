use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use atomic_write_file::AtomicWriteFile;

use super::lock::StoreLock;
use super::store::{Store, check_name, check_prefix, taken};
use crate::error::Error;
use crate::fault::point;

/// A store in a directory: one file per object, a sub-directory for each part of a name that a slash ends.
///
/// A file is written beside its place under a name that begins with a dot, synchronised, renamed, and then its
/// directory is synchronised too: that is what makes the name durable. Several processes of one run may use one
/// directory; that no other run does is seen to by a lock of the operating system on the file [`LOCK`].
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

/// The file in the directory that the run which writes manifests has locked; its text is the number of the process. No
/// object can have this name.
pub const LOCK: &str = ".lock";

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
        create_durably(&root).map_err(|e| Error::store("create the directory", root.display().to_string(), e))?;
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
            remove(path).map_err(|e| Error::store("delete", path.display().to_string(), e))?;
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
            create_one(directory)?;
            durable.insert(directory.to_owned());
        }
        Ok(())
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        self.prepare(file)?;
        let mut writing = AtomicWriteFile::open(file)?;
        writing.write_all(bytes)?;
        point("store.write.written");
        // Synchronises the file, renames it, and on Unix synchronises its directory.
        writing.commit()
    }

    /// Writes a file where there is none: under another name first, of which it then becomes a second one.
    fn write_new(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        self.prepare(file)?;
        let (beside, mut writing) = open_beside(file)?;
        let written = writing.write_all(bytes).and_then(|()| writing.sync_all());
        point("store.create.written");
        let named = written.and_then(|()| name_new(&beside, file));
        point("store.create.named");
        drop(writing);
        named.and(remove(&beside)).inspect_err(|_| drop(fs::remove_file(&beside)))
    }
}

/// A new file beside this one, under a name that [`Directory::sweep`] knows.
fn open_beside(file: &Path) -> io::Result<(PathBuf, File)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = file.file_name().and_then(|name| name.to_str()).ok_or(ErrorKind::InvalidFilename)?;
    loop {
        let number = std::process::id().rotate_left(12) ^ NUMBER.fetch_add(1, Ordering::Relaxed);
        let beside = file.with_file_name(format!(".{name}.{:06x}", number & 0xff_ffff));
        match File::create_new(&beside) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (beside, file)),
        }
    }
}

/// Gives a file another name, which must be free. Where the file system has no second names, whether it is free is
/// looked at just before: the store's lock has to do.
fn name_new(file: &Path, name: &Path) -> io::Result<()> {
    match fs::hard_link(file, name) {
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
            if name.try_exists()? {
                return Err(ErrorKind::AlreadyExists.into());
            }
            fs::rename(file, name)?;
            synchronise(name.parent())
        }
        linked => linked,
    }
}

impl Store for Directory {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let file = self.file(name)?;
        self.write(&file, bytes).map_err(|e| Error::store("write", file.display().to_string(), e))
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let file = self.file(name)?;
        self.write_new(&file, bytes).map_err(|e| Error::store("create", file.display().to_string(), e))
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
        remove(&file).map_err(|e| Error::store("delete", file.display().to_string(), e))
    }

    fn lock(&self) -> Result<Option<StoreLock>, Error> {
        let path = self.root.join(LOCK);
        let failed = |error| Error::store("lock", path.display().to_string(), error);
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(&self.root.display().to_string(), &holder(&mut file))),
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let told = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        told.map_err(failed)?;
        Ok(Some(StoreLock::new(Locked(file))))
    }
}

/// A file that is locked.
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // To close it would not do while a process that is just being started still has it, too. If it can't be
        // unlocked, closing it is all that can be done.
        let _ = self.0.unlock();
    }
}

/// Whose the lock is, as far as its file tells: who took it just now may not have written it yet.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let process: Option<u32> = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
    match process {
        Some(process) if process == std::process::id() => " of this process".to_owned(),
        Some(process) => format!(", process {process},"),
        None => String::new(),
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

pub(crate) fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Ok(()) => synchronise(file.parent()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a directory and all above it that are missing.
pub(crate) fn create_durably(directory: &Path) -> io::Result<()> {
    if directory.is_dir() || directory.as_os_str().is_empty() {
        return Ok(());
    }
    directory.parent().map_or(Ok(()), create_durably)?;
    create_one(directory)
}

fn create_one(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => synchronise(directory.parent()),
    }
}

/// Makes the names in a directory durable. Where directories can't be opened, the system sees to that itself.
pub(crate) fn synchronise(directory: Option<&Path>) -> io::Result<()> {
    let here = Path::new(".");
    let directory = directory.map_or(here, |d| if d.as_os_str().is_empty() { here } else { d });
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
