use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Assignment, KeyRange};
use crate::error::Error;

/// What the control stream says. A command takes effect at a boundary: the time of its message.
/// The commands of one boundary are applied to the assignment in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The shard becomes two; the second begins at `at`.
    Split {
        /// The shard to split.
        shard: KeyRange,
        /// The first routing key of the second part.
        at: u64,
    },
    /// Two neighbouring shards of one owner become one.
    Merge {
        /// The shard with the lower routing keys.
        left: KeyRange,
        /// The shard that begins where `left` ends.
        right: KeyRange,
    },
    /// The shard goes to another worker.
    Move {
        /// The shard to move.
        shard: KeyRange,
        /// The index of the worker that owns it from the boundary on.
        to: usize,
    },
    /// A snapshot of all shards is taken and becomes a checkpoint.
    Checkpoint,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Split { shard, at } => write!(f, "split {shard} at {at:#x}"),
            Command::Merge { left, right } => write!(f, "merge {left} and {right}"),
            Command::Move { shard, to } => write!(f, "move {shard} to {to}"),
            Command::Checkpoint => write!(f, "checkpoint"),
        }
    }
}

/// Commands known before the run, by boundary: for experiments and tests.
///
/// As text, a line per command, `#` starting a comment. A shard is named by any routing key it holds
/// at that point, in decimal or `0x` hexadecimal:
///
/// ```
/// use thalweg::{Assignment, Command, Script};
///
/// let script: Script = "
///     10 split 0x8000          # a new shard begins at 0x8000
///     10 move  0x8000 1        # the shard with that key goes to worker 1
///     15 checkpoint
///     20 move  0x8000 0
///     20 merge 0x8000          # the shard with that key joins the one before it
/// ".parse().unwrap();
/// let commands = script.resolve(&Assignment::even(1, 2).unwrap()).unwrap();
/// assert_eq!(commands[&10].len(), 2);
/// assert_eq!(commands[&15], [Command::Checkpoint]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    number: usize,
    boundary: u64,
    action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Split { at: u64 },
    Merge { at: u64 },
    Move { at: u64, to: usize },
    Checkpoint,
}

/// Why a script can't be carried out: the line, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the script: {what}")]
pub struct ScriptError {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong, and what was expected.
    pub what: String,
}

impl Script {
    /// Reads a script from a file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::usage(format!("can't read the script {}", path.display())).with(e))?;
        text.parse().map_err(|e: ScriptError| {
            Error::usage(format!("the script {} can't be carried out", path.display())).with(e)
        })
    }

    /// The commands by boundary, with shards named by their ranges, checked by applying them to the `start`.
    pub fn resolve(&self, start: &Assignment) -> Result<BTreeMap<u64, Vec<Command>>, ScriptError> {
        let mut lines = self.lines.clone();
        lines.sort_by_key(|line| line.boundary);
        let mut assignment = start.clone();
        let mut commands: BTreeMap<u64, Vec<Command>> = BTreeMap::new();
        for line in &lines {
            let command = line
                .action
                .command(&assignment)
                .ok_or_else(|| line.error("there is no shard before the first one to merge with"))?;
            assignment = assignment.apply([&command]).map_err(|e| line.error(e))?;
            commands.entry(line.boundary).or_default().push(command);
        }
        Ok(commands)
    }
}

impl Action {
    fn command(self, assignment: &Assignment) -> Option<Command> {
        let shard = |key| assignment.shard_of(key);
        Some(match self {
            Action::Split { at } => Command::Split { shard: shard(at), at },
            Action::Move { at, to } => Command::Move { shard: shard(at), to },
            Action::Merge { at } => {
                let right = shard(at);
                Command::Merge { left: shard(right.start().checked_sub(1)?), right }
            }
            Action::Checkpoint => Command::Checkpoint,
        })
    }
}

impl Line {
    fn error(&self, what: impl fmt::Display) -> ScriptError {
        ScriptError { line: self.number, what: what.to_string() }
    }

    fn parse(number: usize, text: &str) -> Result<Option<Self>, ScriptError> {
        let error = |what: String| ScriptError { line: number, what };
        let words: Vec<&str> = text.split('#').next().unwrap_or_default().split_whitespace().collect();
        let [boundary, verb, arguments @ ..] = words.as_slice() else {
            return if words.is_empty() { Ok(None) } else { Err(error("expected a boundary and a command".into())) };
        };
        let number_of = |word: &str| parse_u64(word).ok_or_else(|| error(format!("{word:?} is not a number")));
        let action = match (*verb, arguments) {
            ("split", [at]) => Action::Split { at: number_of(at)? },
            ("merge", [at]) => Action::Merge { at: number_of(at)? },
            ("move", [at, to]) => {
                Action::Move { at: number_of(at)?, to: usize::try_from(number_of(to)?).unwrap_or(usize::MAX) }
            }
            ("checkpoint", []) => Action::Checkpoint,
            _ => {
                return Err(error(format!(
                    "expected `split KEY`, `merge KEY`, `move KEY WORKER` or `checkpoint`, found `{}`",
                    words[1..].join(" ")
                )));
            }
        };
        Ok(Some(Line { number, boundary: number_of(boundary)?, action }))
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let lines = text
            .lines()
            .enumerate()
            .filter_map(|(i, line)| Line::parse(i + 1, line).transpose())
            .collect::<Result<_, _>>()?;
        Ok(Script { lines })
    }
}

fn parse_u64(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}
