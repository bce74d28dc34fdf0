use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::file::{delete, exists, lock, names, unwritable, write_durably};
use super::joined::{Joined, differs, recognise};
use super::layout::Layout;
use super::{EpochWriter, Share, When};
use crate::durable::{self, Locked, synchronise};
use crate::error::Error;
use crate::fault::point;

/// What is durable and not yet visible is in this sub-directory, a file for each epoch.
const PENDING: &str = ".pending";
const LAYOUT: &str = ".layout";

/// Writes a worker's share of [`EpochFiles`](super::EpochFiles).
#[derive(Debug)]
pub struct FileWriter {
    directory: PathBuf,
    layout: Layout,
    share: Share,
    /// Epochs are written where they are to be visible.
    direct: bool,
    #[allow(dead_code, reason = "it is held to be released")]
    lock: Option<Locked>,
    /// What an earlier run has left has been looked at.
    recovered: bool,
    /// Epochs that are pending, by part.
    pending: BTreeMap<u64, BTreeSet<u64>>,
    /// Parts that an earlier run has made visible, and that hold epochs from which this one goes on.
    replayed: BTreeSet<u64>,
}

impl FileWriter {
    pub(super) fn open(directory: &Path, layout: Layout, when: When, share: Share) -> Result<Self, Error> {
        let name = directory.display();
        if directory.exists() && !directory.is_dir() {
            return Err(Error::usage(format!("{name} can't hold output: it is a file; name a directory")));
        }
        let failed = |error| Error::store("create the directory", directory.join(PENDING).display().to_string(), error);
        durable::create_directories(&directory.join(PENDING)).map_err(failed)?;
        let lock = (share.worker == 0).then(|| lock(directory)).transpose()?.flatten();
        let mut writer = FileWriter {
            directory: directory.to_owned(),
            direct: when == When::EpochComplete && layout.epochs_per_file.get() == 1,
            layout,
            share,
            lock,
            recovered: !share.is_resuming,
            pending: BTreeMap::new(),
            replayed: BTreeSet::new(),
        };
        writer.check()?;
        Ok(writer)
    }

    /// Refuses a directory that holds output that does not fit.
    fn check(&mut self) -> Result<(), Error> {
        let file = self.directory.join(LAYOUT);
        let known = self.share.is_resuming && self.layout.check(&file)?;
        if !self.share.is_resuming {
            let visible = names(&self.directory)?.into_iter().find(|name| self.layout.epoch(name).is_some());
            let pending = names(&self.pending_directory())?.into_iter().next();
            if let Some(name) = visible.or(pending) {
                return Err(Error::usage(format!(
                    "{} holds output already, {name}: resume the run that has written it, or give an empty directory",
                    self.directory.display()
                )));
            }
        }
        if self.share.worker == 0 && !known {
            let text = serde_json::to_vec(&self.layout).map_err(|error| unwritable(&file, error.into()))?;
            write_durably(&file, &text)?;
        }
        Ok(())
    }

    fn pending_directory(&self) -> PathBuf {
        self.directory.join(PENDING)
    }

    fn pending_file(&self, epoch: u64) -> PathBuf {
        self.pending_directory().join(self.layout.name(epoch))
    }

    fn visible_file(&self, part: u64) -> PathBuf {
        self.directory.join(self.layout.name(self.layout.first(part)))
    }

    /// Rolls back what is pending from the epoch on from which the run goes on, and notes what is visible of it. What
    /// is pending of earlier epochs stays, to be published.
    fn recover(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.recovered, true) {
            return Ok(());
        }
        for name in names(&self.directory)? {
            if let Some(epoch) = self.layout.epoch(&name).filter(|epoch| self.is_mine(*epoch)) {
                let part = self.layout.part(epoch);
                self.replayed.extend((!self.layout.is_before(part, Some(self.share.from))).then_some(part));
            } else if self.layout.leftover(&name).is_some_and(|epoch| self.is_mine(epoch)) {
                delete(&self.directory.join(name))?;
            }
        }
        for name in names(&self.pending_directory())? {
            let file = self.pending_directory().join(&name);
            let Some(epoch) = self.layout.epoch(&name).or(self.layout.leftover(&name)) else { continue };
            let part = self.layout.part(epoch);
            if !self.is_mine(epoch) {
                continue;
            }
            let is_covered = self.layout.epoch(&name).is_some() && epoch < self.share.from;
            if is_covered && !exists(&self.visible_file(part))? {
                self.pending.entry(part).or_default().insert(epoch);
            } else {
                delete(&file)?;
            }
        }
        Ok(())
    }

    fn is_mine(&self, epoch: u64) -> bool {
        self.share.has(self.layout.part(epoch))
    }

    /// Makes a part visible: what is pending of it, joined. The directories are still to be synchronised; what a crash
    /// leaves pending of a part that is visible is removed when that is seen.
    fn join(&mut self, part: u64, epochs: &BTreeSet<u64>) -> Result<(), Error> {
        let files: Vec<PathBuf> = epochs.iter().map(|epoch| self.pending_file(*epoch)).collect();
        let visible = self.visible_file(part);
        if self.replayed.remove(&part) {
            let is_whole = self.layout.first(part) >= self.share.from;
            recognise(&visible, &mut Joined::open(&files)?, is_whole)?;
        } else if let [file] = &files[..] {
            return fs::rename(file, &visible).map_err(|error| unwritable(&visible, error));
        } else {
            durable::write(&visible, Joined::open(&files)?).map_err(|error| unwritable(&visible, error))?;
        }
        point("sink.publish.joined");
        files.iter().try_for_each(|file| fs::remove_file(file).map_err(|error| unwritable(file, error)))
    }

    /// Makes the output of an epoch, which is a part of its own, visible at once.
    fn write_visible(&mut self, part: u64, rows: &[u8]) -> Result<(), Error> {
        let visible = self.visible_file(part);
        if self.replayed.remove(&part) {
            return recognise(&visible, &mut Joined::of(rows), true);
        }
        write_durably(&visible, rows)
    }
}

impl EpochWriter for FileWriter {
    fn write(&mut self, epoch: u64, rows: &[u8]) -> Result<(), Error> {
        self.recover()?;
        let part = self.layout.part(epoch);
        point("sink.write.before");
        if self.direct {
            self.write_visible(part, rows)?;
            point("sink.write.after");
            return Ok(());
        }
        write_durably(&self.pending_file(epoch), rows)?;
        point("sink.write.after");
        self.pending.entry(part).or_default().insert(epoch);
        Ok(())
    }

    fn publish(&mut self, before: Option<u64>) -> Result<(), Error> {
        self.recover()?;
        let mut published = false;
        while let Some(entry) = self.pending.first_entry().filter(|entry| self.layout.is_before(*entry.key(), before)) {
            let (part, epochs) = entry.remove_entry();
            point("sink.publish.before");
            self.join(part, &epochs)?;
            point("sink.publish.after");
            published = true;
        }
        if published {
            let synchronised =
                synchronise(Some(&self.directory)).and_then(|()| synchronise(Some(&self.pending_directory())));
            synchronised.map_err(|error| unwritable(&self.directory, error))?;
        }
        while let Some(part) = self.replayed.first().copied().filter(|part| self.layout.is_before(*part, before)) {
            self.replayed.remove(&part);
            // Of a part that begins before, the epochs that are replayed may have had no output.
            if self.layout.first(part) >= self.share.from {
                return Err(differs(&self.visible_file(part), "has output, and replaying its epochs gives none"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
