//! Looks after the checkpoints of a run: lists them, describes one, verifies every byte, removes old ones.
//!
//! ```text
//! cargo run --release --example checkpoints -- list state
//! cargo run --release --example checkpoints -- describe state --epoch 20
//! cargo run --release --example checkpoints -- verify state
//! cargo run --release --example checkpoints -- prune state --keep 2
//! cargo run --release --features s3 --example checkpoints -- list s3://bucket/prefix
//! ```
//!
//! It ends with 1 if anything is damaged or can't be done, and with 2 if what was asked for makes no sense.

#[path = "checkpoints/describe.rs"]
mod describe;
#[path = "checkpoints/list.rs"]
mod list;
#[path = "checkpoints/prune.rs"]
mod prune;
#[path = "checkpoints/table.rs"]
mod table;
#[path = "checkpoints/verify.rs"]
mod verify;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use thalweg::Error;
use thalweg::checkpoint::{Directory, Manifest, Store};

/// Looks after the checkpoints of a run.
#[derive(Debug, Parser)]
#[command(name = "checkpoints", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One line for each checkpoint, the newest last.
    List(Place),
    /// What is in a checkpoint: where it stands, what it belongs to, its key spaces and operators.
    Describe {
        #[command(flatten)]
        place: Place,
        /// Its epoch. By default that of the newest.
        #[arg(long)]
        epoch: Option<u64>,
        /// List its objects as well.
        #[arg(long)]
        objects: bool,
    },
    /// Read every byte of all checkpoints, or of one, and name what is damaged.
    Verify {
        #[command(flatten)]
        place: Place,
        /// Only the checkpoint of this epoch.
        #[arg(long)]
        epoch: Option<u64>,
    },
    /// Remove all but the newest checkpoints, and what no checkpoint refers to. No run may be using them.
    Prune {
        #[command(flatten)]
        place: Place,
        /// Checkpoints to keep.
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
        keep: u32,
        /// Prune where there are no locks, as in a bucket. Only you know that no run uses it: what one is just writing
        /// would be removed.
        #[arg(long)]
        unlocked: bool,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// The directory of the checkpoints, or their URL, as in s3://bucket/prefix.
    #[arg(value_name = "STORE")]
    store: String,
}

impl Place {
    fn open(&self) -> Result<Box<dyn Store>> {
        if self.store.contains("://") {
            return open_url(&self.store);
        }
        Ok(Box::new(Directory::existing(&self.store)?))
    }
}

#[cfg(feature = "object-store")]
fn open_url(url: &str) -> Result<Box<dyn Store>> {
    Ok(Box::new(thalweg::checkpoint::ObjectStore::open(url)?))
}

#[cfg(not(feature = "object-store"))]
fn open_url(url: &str) -> Result<Box<dyn Store>> {
    Err(Refused(format!("{url:?} can't be opened: build this program with `--features s3`")).into())
}

/// What is asked for makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

/// The epochs of all checkpoints, of which there must be one at least, or the one that is asked for.
fn epochs(store: &dyn Store, place: &Place, wanted: Option<u64>) -> Result<Vec<u64>> {
    let all = Manifest::list(store)?;
    match wanted {
        None if all.is_empty() => bail!(Refused(format!("there are no checkpoints in {}", place.store))),
        None => Ok(all),
        Some(epoch) if all.contains(&epoch) => Ok(vec![epoch]),
        Some(epoch) => {
            let there: Vec<String> = all.iter().map(u64::to_string).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            bail!(Refused(format!("there is no checkpoint of epoch {epoch} in {}, only of: {there}", place.store)))
        }
    }
}

fn run(what: &What) -> Result<ExitCode> {
    match what {
        What::List(place) => {
            let store = place.open()?;
            list::list(&*store, &epochs(&*store, place, None)?)
        }
        What::Describe { place, epoch, objects } => {
            let store = place.open()?;
            let newest = epochs(&*store, place, *epoch)?.pop().unwrap_or_default();
            describe::describe(&*store, newest, *objects)
        }
        What::Verify { place, epoch } => {
            let store = place.open()?;
            verify::verify(&*store, &epochs(&*store, place, *epoch)?)
        }
        What::Prune { place, keep, unlocked } => {
            let store = place.open()?;
            let newest = epochs(&*store, place, None)?.pop().unwrap_or_default();
            prune::prune(&*store, newest, *keep as usize, *unlocked)
        }
    }
}

fn main() -> ExitCode {
    let error = match run(&Arguments::parse().what) {
        Ok(code) => return code,
        Err(error) => error,
    };
    // That nobody wants to read to the end is no error.
    if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    let _ = writeln!(io::stderr(), "error: {error:#}");
    let is_usage = error.is::<Refused>() || matches!(error.downcast_ref(), Some(Error::Usage { .. }));
    ExitCode::from(if is_usage { 2 } else { 1 })
}
