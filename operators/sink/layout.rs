use std::fs;
use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Version of the layout of directories that this library writes and reads.
const FORMAT: u32 = 1;

/// How epochs make files: it must stay the same from run to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    format: u32,
    pub extension: String,
    pub epochs_per_file: NonZeroU64,
}

impl Layout {
    pub fn new(extension: &str, epochs_per_file: NonZeroU64) -> Self {
        Layout { format: FORMAT, extension: extension.to_owned(), epochs_per_file }
    }

    /// The name of the file of this epoch, or that begins with it.
    pub fn name(&self, epoch: u64) -> String {
        format!("{epoch:020}.{}", self.extension)
    }

    /// The epoch that a name begins with, if it is the name of a file.
    pub fn epoch(&self, name: &str) -> Option<u64> {
        let digits = name.strip_suffix(&self.extension)?.strip_suffix('.')?;
        digits.parse().ok().filter(|epoch| self.name(*epoch) == name)
    }

    /// The epoch of the file a write of which, cut short by a crash, has left one of this name: a dot, the file's name,
    /// a dot, some letters.
    pub fn leftover(&self, name: &str) -> Option<u64> {
        self.epoch(name.strip_prefix('.')?.rsplit_once('.')?.0)
    }

    /// The part that an epoch is in.
    pub fn part(&self, epoch: u64) -> u64 {
        epoch / self.epochs_per_file
    }

    /// The first epoch of a part.
    pub fn first(&self, part: u64) -> u64 {
        part.saturating_mul(self.epochs_per_file.get())
    }

    /// Whether all epochs of a part are before an epoch, if there is one.
    pub fn is_before(&self, part: u64, before: Option<u64>) -> bool {
        let last = self.first(part).saturating_add(self.epochs_per_file.get() - 1);
        before.is_none_or(|before| last < before)
    }

    /// Whether this is the layout that a file says: an error if it is another one.
    pub fn check(&self, file: &Path) -> Result<bool, Error> {
        let text = match fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::store("read", file.display().to_string(), error)),
        };
        let corrupt = |error| {
            Error::corrupt(file.display().to_string(), "it does not say how epochs make files").with(Box::new(error))
        };
        let found: Layout = serde_json::from_slice(&text).map_err(|error: serde_json::Error| corrupt(error))?;
        if found == *self {
            return Ok(true);
        }
        let say = |layout: &Layout| {
            let Layout { format, extension, epochs_per_file } = layout;
            format!("format {format}, {epochs_per_file} epochs a file, extension {extension:?}")
        };
        let what =
            format!("it says {}, and this run {}: write as before, or to another directory", say(&found), say(self));
        Err(Error::incompatible(file.display().to_string(), what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(epochs: u64) -> Layout {
        Layout::new("csv", NonZeroU64::new(epochs).unwrap())
    }

    #[test]
    fn names_are_told_from_others() {
        let layout = layout(1);
        for epoch in [0, 7, u64::MAX] {
            assert_eq!(layout.epoch(&layout.name(epoch)), Some(epoch));
            assert_eq!(layout.leftover(&format!(".{}.Ab12Cd", layout.name(epoch))), Some(epoch));
        }
        for name in ["7.csv", "README", "00000000000000000007.jsonl", "00000000000000000007csv", ".pending", ".layout"]
        {
            assert_eq!((layout.epoch(name), layout.leftover(name)), (None, None), "{name}");
        }
    }

    #[test]
    fn a_part_is_before_an_epoch_when_its_last_epoch_is() {
        let layout = layout(3);
        assert_eq!([5, 6, 8, 9].map(|epoch| layout.part(epoch)), [1, 2, 2, 3]);
        assert_eq!([7, 8, 9].map(|before| layout.is_before(2, Some(before))), [false, false, true]);
        let last = layout.part(u64::MAX);
        assert!(!layout.is_before(last, Some(u64::MAX)) && layout.is_before(last, None));
    }
}
