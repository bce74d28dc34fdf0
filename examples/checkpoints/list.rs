//! One line for each checkpoint.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use indicatif::HumanBytes;
use thalweg::checkpoint::{Manifest, Store};

use crate::table::Table;

/// Lists checkpoints by what their manifests say; what those refer to is not looked at.
pub fn list(store: &dyn Store, epochs: &[u64]) -> Result<ExitCode> {
    let mut table = Table::new(&["#epoch", "#before", "#records", "#state", "#objects", "reason"]);
    let (mut damaged, mut total) = (Vec::new(), 0);
    for epoch in epochs {
        match Manifest::read(store, *epoch) {
            Ok(manifest) => {
                total += manifest.bytes();
                table.push([
                    epoch.to_string(),
                    manifest.previous.map_or("-".into(), |before| before.to_string()),
                    manifest.records.map_or("-".into(), |records| records.to_string()),
                    HumanBytes(manifest.bytes()).to_string(),
                    manifest.objects.len().to_string(),
                    manifest.reason,
                ]);
            }
            Err(error) => {
                table.push([epoch.to_string(), "-".into(), "-".into(), "-".into(), "-".into(), "unreadable".into()]);
                damaged.push(error.with_causes());
            }
        }
    }
    let mut out = io::stdout().lock();
    write!(out, "{table}")?;
    damaged.iter().try_for_each(|error| writeln!(out, "{error}"))?;
    if epochs.len() > 1 {
        writeln!(out, "{} checkpoints, which refer to {} of state", epochs.len(), HumanBytes(total))?;
    }
    Ok(if damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
