//! What is in a checkpoint.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use indicatif::HumanBytes;
use thalweg::checkpoint::{Manifest, Store};

use crate::table::Table;

/// Describes a checkpoint by what its manifest says; what that refers to is not looked at.
pub fn describe(store: &dyn Store, epoch: u64, with_objects: bool) -> Result<ExitCode> {
    let manifest = Manifest::read(store, epoch)?;
    let mut out = io::stdout().lock();
    let ticks = manifest.epoch_ticks;
    writeln!(out, "checkpoint   {}", manifest.name())?;
    writeln!(out, "epoch        {epoch}, of {ticks} tick{}", if ticks == 1 { "" } else { "s" })?;
    writeln!(out, "before it    {}", manifest.previous.map_or("none".into(), |before| format!("epoch {before}")))?;
    writeln!(out, "records      {}", manifest.records.map_or("not known".into(), |records| records.to_string()))?;
    writeln!(out, "reason       {}", manifest.reason)?;
    writeln!(out, "state        {} in {} objects", HumanBytes(manifest.bytes()), manifest.objects.len())?;
    for (at, (name, value)) in manifest.fingerprint.iter().enumerate() {
        writeln!(out, "{:<12} {name} = {value}", if at == 0 { "belongs to" } else { "" })?;
    }
    writeln!(out, "\n{}", spaces(&manifest))?;
    write!(out, "{}", operators(&manifest))?;
    if with_objects {
        write!(out, "\n{}", objects(&manifest))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn spaces(manifest: &Manifest) -> Table {
    let mut table = Table::new(&["key space", "#shards", "#workers", "#folded keys", "operators"]);
    for (name, space) in &manifest.spaces {
        let assignment = &space.assignment;
        let numbers = [assignment.len(), assignment.workers(), assignment.folded().len()];
        let [shards, workers, folded] = numbers.map(|number| number.to_string());
        table.push([name.clone(), shards, workers, folded, space.operators.join(", ")]);
    }
    table
}

fn operators(manifest: &Manifest) -> Table {
    let mut table = Table::new(&["operator", "#objects", "#chunks", "#keys", "#bytes"]);
    for operator in manifest.operators() {
        let objects = || manifest.objects.iter().filter(|object| object.operator == operator);
        let chunks = || objects().flat_map(|object| &object.chunks);
        table.push([
            operator.to_owned(),
            objects().count().to_string(),
            chunks().count().to_string(),
            chunks().map(|chunk| u64::from(chunk.keys)).sum::<u64>().to_string(),
            HumanBytes(objects().map(|object| object.length).sum()).to_string(),
        ]);
    }
    table
}

fn objects(manifest: &Manifest) -> Table {
    let mut table = Table::new(&["object", "#chunks", "#bytes"]);
    for object in &manifest.objects {
        table.push([object.name.clone(), object.chunks.len().to_string(), HumanBytes(object.length).to_string()]);
    }
    table
}
