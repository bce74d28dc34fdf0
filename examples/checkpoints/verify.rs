//! Every byte of checkpoints.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use thalweg::Error;
use thalweg::checkpoint::{Manifest, ObjectRef, Store, verify as verify_object};

/// Reads checkpoints and all they refer to, and tells of each whether it is whole. What several refer to is read once.
pub fn verify(store: &dyn Store, epochs: &[u64]) -> Result<ExitCode> {
    let manifests: Vec<_> = epochs.iter().map(|epoch| (*epoch, Manifest::read(store, *epoch))).collect();
    let readable = manifests.iter().filter_map(|(_, manifest)| manifest.as_ref().ok());
    let objects: BTreeMap<&str, &ObjectRef> =
        readable.flat_map(|manifest| &manifest.objects).map(|object| (object.name.as_str(), object)).collect();
    let bytes = objects.values().map(|object| object.length).sum();
    let progress = ProgressBar::new(bytes).with_style(style()?);
    let mut damaged: BTreeMap<&str, String> = BTreeMap::new();
    for (name, object) in &objects {
        if let Err(error) = verify_object(store, object) {
            damaged.insert(name, error.with_causes());
        }
        progress.inc(object.length);
    }
    progress.finish_and_clear();
    let whole = tell(&manifests, &damaged)?;
    let mut out = io::stdout().lock();
    writeln!(out, "read {} in {} objects", HumanBytes(bytes), objects.len())?;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is wrong with each checkpoint; whether nothing is.
fn tell(manifests: &[(u64, Result<Manifest, Error>)], damaged: &BTreeMap<&str, String>) -> Result<bool> {
    let mut out = io::stdout().lock();
    let mut all_whole = true;
    for (epoch, manifest) in manifests {
        let wrong: Vec<String> = match manifest {
            Ok(manifest) => manifest.objects.iter().filter_map(|o| damaged.get(o.name.as_str()).cloned()).collect(),
            Err(error) => vec![error.with_causes()],
        };
        writeln!(out, "epoch {epoch}: {}", if wrong.is_empty() { "whole" } else { "can't be resumed from" })?;
        wrong.iter().try_for_each(|what| writeln!(out, "    {what}"))?;
        all_whole &= wrong.is_empty();
    }
    Ok(all_whole)
}

fn style() -> Result<ProgressStyle> {
    Ok(ProgressStyle::with_template("verifying {bar:40} {bytes}/{total_bytes}, {eta} left")?)
}
