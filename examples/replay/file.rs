//! The bytes of an input file, decompressed, with an eye on how far reading has come.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result, bail};

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BUFFER: usize = 1 << 18;

/// No row is longer: what is, is a quote that was never closed, and would otherwise be collected until memory ends.
const LONGEST_ROW: u64 = 1 << 24;

/// How far reading has come; a clone of it may be looked at from another thread.
#[derive(Clone, Debug)]
pub struct Progress {
    done: Arc<AtomicU64>,
    total: u64,
}

impl Progress {
    /// Nothing of `total` done.
    pub fn of(total: u64) -> Self {
        Progress { done: Arc::default(), total }
    }

    /// Bytes of the file, compressed if it is, or records of the built-in stream that have been read.
    pub fn done(&self) -> u64 {
        self.done.load(Relaxed)
    }

    /// All there are of those; 0 if that isn't known.
    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn advance(&self, by: u64) {
        self.done.fetch_add(by, Relaxed);
    }
}

/// Counts the bytes that go by.
struct Counted<R> {
    inner: R,
    progress: Progress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.progress.advance(read as u64);
        Ok(read)
    }
}

/// What a parser of rows and the reader below it tell each other.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    row: Arc<AtomicU64>,
    read: Arc<AtomicU64>,
    tail: Arc<AtomicU64>,
}

impl Watch {
    /// A row ends before this byte.
    pub fn row_ends(&self, byte: u64) {
        self.row.store(byte, Relaxed);
    }

    /// Whether all that was read so far has been parsed.
    pub fn used_up(&self) -> bool {
        self.row.load(Relaxed) == self.read.load(Relaxed)
    }

    /// The last bytes read so far.
    pub fn tail(&self) -> [u8; 8] {
        self.tail.load(Relaxed).to_be_bytes()
    }

    fn saw(&self, bytes: &[u8]) {
        let last = &bytes[bytes.len().saturating_sub(8)..];
        let tail = last.iter().fold(self.tail.load(Relaxed), |tail, byte| tail << 8 | u64::from(*byte));
        self.tail.store(tail, Relaxed);
        self.read.fetch_add(bytes.len() as u64, Relaxed);
    }
}

/// The decompressed bytes of a file.
pub struct Bytes {
    inner: Box<dyn Read + Send>,
    watch: Watch,
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.watch.read.load(Relaxed) > self.watch.row.load(Relaxed) + LONGEST_ROW {
            return Err(io::Error::other("the next row is longer than 16 MiB; is there a quote that is never closed?"));
        }
        let read = self.inner.read(buffer)?;
        self.watch.saw(&buffer[..read]);
        Ok(read)
    }
}

/// Opens a file, plain or compressed by zstd, whatever it is called.
pub fn open(path: &Path) -> Result<(Bytes, Watch, Progress)> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("can't open the input {name}"))?;
    let about = file.metadata().with_context(|| format!("can't open the input {name}"))?;
    if about.is_dir() {
        bail!("the input {name} is a directory: name a CSV file in it");
    }
    let progress = Progress::of(about.len());
    let mut raw = BufReader::with_capacity(BUFFER, Counted { inner: file, progress: progress.clone() });
    let start = raw.fill_buf().with_context(|| format!("can't read the input {name}"))?;
    if start.is_empty() {
        bail!("the input {name} is empty: expected a header line with the names of the columns");
    }
    if start.starts_with(&GZIP_MAGIC) {
        bail!("the input {name} is compressed by gzip: unpack it, or compress it with zstd");
    }
    let compressed = start.starts_with(&ZSTD_MAGIC) || path.extension().is_some_and(|e| e == "zst");
    let inner = if compressed {
        decompressed(raw).with_context(|| format!("can't decompress the input {name}"))?
    } else {
        Box::new(raw)
    };
    let watch = Watch::default();
    Ok((Bytes { inner, watch: watch.clone() }, watch, progress))
}

fn decompressed(raw: impl BufRead + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut decoder = zstd::Decoder::with_buffer(raw)?;
    // What `zstd --long=31` writes.
    decoder.window_log_max(31)?;
    Ok(Box::new(decoder))
}
