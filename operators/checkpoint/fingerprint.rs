use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What must agree between the run that wrote a checkpoint and the one that resumes from it: key columns, the
/// definition of an epoch, the type of the state, the codec, …; by name, in the order in which they are to be told.
///
/// ```
/// use thalweg::checkpoint::Fingerprint;
///
/// let now = Fingerprint::default().with("key", "station").with("epoch", "100 ms");
/// let then = Fingerprint::default().with("key", "user").with("epoch", "100 ms");
/// let error = now.check(&then, "manifests/7.json").unwrap_err();
/// assert!(error.to_string().contains(r#"key was "user" and is now "station""#));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint {
    entries: Vec<(String, String)>,
}

/// Differences that an error tells, so that it stays readable.
const DIFFERENCES_TOLD: usize = 3;

impl Fingerprint {
    /// The same with another entry; in place of one of this name.
    pub fn with(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        let (name, value) = (name.into(), value.to_string());
        match self.entries.iter_mut().find(|(n, _)| *n == name) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((name, value)),
        }
        self
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Compares this, the run's, with the one found in an object. The error tells the first entries that differ.
    pub fn check(&self, found: &Fingerprint, object: &str) -> Result<(), Error> {
        let added = self.iter().map(|(name, _)| name).filter(|name| found.get(name).is_none());
        let names = found.iter().map(|(name, _)| name).chain(added);
        let differing: Vec<&str> = names.filter(|name| found.get(name) != self.get(name)).collect();
        if differing.is_empty() {
            return Ok(());
        }
        let show = |value: Option<&str>| value.map_or("absent".to_owned(), |v| format!("{v:?}"));
        let told = |name: &&str| format!("{name} was {} and is now {}", show(found.get(name)), show(self.get(name)));
        let mut what: Vec<String> = differing.iter().take(DIFFERENCES_TOLD).map(told).collect();
        if differing.len() > DIFFERENCES_TOLD {
            what.push(format!("{} more differ", differing.len() - DIFFERENCES_TOLD));
        }
        Err(Error::incompatible(
            object,
            format!("{}; run with what it was written with, or begin anew in an empty store", what.join(", ")),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entries_that_differ_are_told() {
        let old = Fingerprint::default().with("a", 1).with("b", 1).with("c", 1).with("gone", "x");
        assert!(old.check(&old, "m").is_ok() && old.check(&old.clone().with("b", 1), "m").is_ok());
        let new = Fingerprint::default().with("new", "y").with("a", 2).with("b", 1).with("c", 2);
        let error = new.check(&old, "m").unwrap_err();
        assert!(matches!(error, Error::Incompatible { .. }));
        let text = error.to_string();
        assert!(text.contains(r#"a was "1" and is now "2", c was "1" and is now "2""#), "{text}");
        assert!(text.contains(r#"gone was "x" and is now absent, 1 more differ; run with"#), "{text}");
        let error = old.check(&Fingerprint::default(), "m").unwrap_err().to_string();
        assert!(error.contains(r#"a was absent and is now "1""#), "{error}");
    }
}
