//! What a run leaves behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The files of some directories, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output(BTreeMap<String, Vec<u8>>);

impl Output {
    pub fn read(directories: &[&Path]) -> Result<Self> {
        let mut output = Output::default();
        directories.iter().try_for_each(|directory| output.add(directory))?;
        Ok(output)
    }

    fn add(&mut self, directory: &Path) -> Result<()> {
        let entries = fs::read_dir(directory).with_context(|| format!("can't read {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // What is not visible: a sink's own, or half a file that a kill has left.
            if name.starts_with('.') {
                continue;
            }
            self.0.insert(name, fs::read(&path).with_context(|| format!("can't read {}", path.display()))?);
        }
        Ok(())
    }

    /// Refuses an output that is not this one, byte by byte.
    pub fn check(&self, other: &Output) -> Result<()> {
        if let Some(missing) = self.0.keys().find(|name| !other.0.contains_key(*name)) {
            bail!("the output lacks {missing}");
        }
        if let Some(more) = other.0.keys().find(|name| !self.0.contains_key(*name)) {
            bail!("the output has {more} besides");
        }
        match self.0.iter().find(|(name, bytes)| other.0[*name] != **bytes) {
            Some((name, bytes)) => {
                let same = bytes.iter().zip(&other.0[name]).take_while(|(a, b)| a == b).count();
                bail!("{name} of the output differs from byte {same} on")
            }
            None => Ok(()),
        }
    }
}
