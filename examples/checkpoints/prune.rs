//! Removing old checkpoints.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use thalweg::checkpoint::{Manifest, Retained, Store, retain, verify as verify_object};

/// Keeps the newest checkpoints, and holds the store's lock meanwhile. Nothing is removed if the newest is damaged: one
/// of the others is what a run would resume from then.
pub fn prune(store: &dyn Store, newest: u64, keep: usize, unlocked: bool) -> Result<ExitCode> {
    let lock = store.lock()?;
    if lock.is_none() && !unlocked {
        bail!("this store has no locks, so that a run may be using it: say --unlocked if none is");
    }
    let manifest = Manifest::read(store, newest);
    let whole = manifest.and_then(|manifest| manifest.objects.iter().try_for_each(|o| verify_object(store, o)));
    whole
        .with_context(|| format!("nothing is removed, since the newest checkpoint, of epoch {newest}, is not whole"))?;
    let Retained { checkpoints, objects } = retain(store, keep, newest, &|_| false)?;
    let mut out = io::stdout().lock();
    for epoch in &checkpoints {
        writeln!(out, "removed epoch {epoch}")?;
    }
    let kept = Manifest::list(store)?.len();
    writeln!(
        out,
        "removed {} checkpoints and {} objects; {kept} checkpoints are left",
        checkpoints.len(),
        objects.len()
    )?;
    Ok(ExitCode::SUCCESS)
}
