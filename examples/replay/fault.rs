//! What can be wrong with a row.

use std::fmt;

/// What is wrong with one row.
#[derive(Debug)]
pub struct Fault {
    /// Which kind of thing.
    pub kind: FaultKind,
    /// The row's line, from 1.
    pub line: u64,
    /// The column's name, where it is one.
    pub column: Option<String>,
    /// What was found and what was expected.
    pub what: String,
}

/// The kinds of things that can be wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Another number of fields than the header has.
    Fields,
    /// Not a time.
    Time,
    /// Earlier than the row before.
    Order,
    /// Not text.
    Key,
    /// Not a value, or too large.
    Value,
}

const NAMES: [&str; 5] = ["wrong number of fields", "bad time", "out of order", "bad key", "bad value"];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(column) = &self.column {
            write!(f, ", column {column}")?;
        }
        let mend = if self.kind == FaultKind::Order { "sort the file by this column" } else { "mend the row" };
        write!(f, ": {}; {mend}, or skip such rows with --lenient", self.what)
    }
}

/// How many rows were left out, by what was wrong with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped([u64; 5]);

impl Skipped {
    /// Counts one more.
    pub fn count(&mut self, kind: FaultKind) {
        self.0[kind as usize] += 1;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<String> =
            NAMES.iter().zip(self.0).filter(|(_, n)| *n > 0).map(|(name, n)| format!("{n} {name}")).collect();
        f.write_str(if kinds.is_empty() { "none".into() } else { kinds.join(", ") }.as_str())
    }
}

/// A field as it is shown in a message: quoted, and cut if it is long.
pub fn shown(field: &[u8]) -> String {
    const LONGEST: usize = 60;
    if field.is_empty() {
        return "nothing".into();
    }
    let text = String::from_utf8_lossy(field);
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{:?}…", &text[..cut]),
        None => format!("{text:?}"),
    }
}
