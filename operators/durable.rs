//! Files and directories that are there after a crash of the machine, too, and locks that end with the process.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use atomic_write_file::AtomicWriteFile;

use crate::fault::point;

/// The name of the file by which a directory is locked. Its text is the number of the process that has it.
pub(crate) const LOCK: &str = ".lock";

/// Writes a file in place of any other of that name: atomically, and synchronised with its directory.
pub(crate) fn write(path: &Path, mut content: impl Read) -> io::Result<()> {
    let mut writing = AtomicWriteFile::open(path)?;
    io::copy(&mut content, &mut Pieces(&mut writing))?;
    point("file.written");
    // Synchronises the file, renames it, and on Unix synchronises its directory.
    writing.commit()
}

/// Bytes handed to the operating system at once. While it takes them it gives the core to nobody else, in the usual
/// setting of Linux servers, however urgent: some 40 µs.
const PIECE: usize = 64 << 10;

/// Writes in pieces.
struct Pieces<W>(W);

impl<W: Write> Write for Pieces<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(PIECE)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes a file where there is none: under another name first, of which it then becomes a second one.
pub(crate) fn create(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let (beside, mut writing) = open_beside(file)?;
    let written = writing.write_all(bytes).and_then(|()| writing.sync_all());
    point("file.create.written");
    let named = written.and_then(|()| name_new(&beside, file));
    point("file.create.named");
    drop(writing);
    named.and(remove(&beside)).inspect_err(|_| drop(fs::remove_file(&beside)))
}

/// A new file beside this one, under a name as [`write`] gives it: a dot, the name, a dot, six letters.
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

/// Removes a file. Not an error if there is none.
pub(crate) fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Ok(()) => synchronise(file.parent()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a directory and all above it that are missing.
pub(crate) fn create_directories(directory: &Path) -> io::Result<()> {
    if directory.is_dir() || directory.as_os_str().is_empty() {
        return Ok(());
    }
    directory.parent().map_or(Ok(()), create_directories)?;
    create_directory(directory)
}

/// Makes a directory. Not an error if there is one.
pub(crate) fn create_directory(directory: &Path) -> io::Result<()> {
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

/// A directory that is locked for as long as this lives, and no longer than the process.
#[derive(Debug)]
pub(crate) struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // To close it would not do while a process that is just being started still has it, too. If it can't be
        // unlocked, closing it is all that can be done.
        let _ = self.0.unlock();
    }
}

/// What has come of trying to lock a directory.
pub(crate) enum Locking {
    Locked(Locked),
    /// Another one has it: who, as far as is known, to be put behind "another run".
    Taken(String),
    /// The file system has no locks.
    Unsupported,
}

/// Locks a directory, if nobody else has.
pub(crate) fn lock(directory: &Path) -> io::Result<Locking> {
    let path = directory.join(LOCK);
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Locking::Taken(holder(&mut file))),
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => return Ok(Locking::Unsupported),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(Locking::Locked(Locked(file)))
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
