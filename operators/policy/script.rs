use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{Policy, Sight, View};
use crate::error::Error;
use crate::keyspace::{Assignment, Command};

/// Commands known before the run, by boundary: for experiments and tests.
///
/// As text, a line per command, `#` starting a comment. A shard is named by any routing key it holds
/// at that point, a folded key by itself, in decimal or `0x` hexadecimal:
///
/// ```
/// use thalweg::policy::Script;
/// use thalweg::{Assignment, Command};
///
/// let script: Script = "
///     10 split 0x8000          # a new shard begins at 0x8000
///     10 move  0x8000 1        # the shard with that key goes to worker 1
///     15 checkpoint
///     15 fold  0x8007          # each worker combines that key's records
///     20 unfold 0x8007
///     20 move  0x8000 0
///     20 merge 0x8000          # the shard with that key joins the one before it
/// ".parse().unwrap();
/// let commands = script.resolve(&Assignment::even(1, 2).unwrap(), 0).unwrap();
/// assert_eq!(commands[&10].len(), 2);
/// assert_eq!(commands[&15], [Command::Checkpoint, Command::Fold { key: 0x8007 }]);
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
    Fold { key: u64 },
    Unfold { key: u64 },
    Checkpoint,
}

impl Policy for Script {
    fn decide(&mut self, _: &View<'_>) -> Vec<Command> {
        Vec::new()
    }

    fn sight(&self) -> Sight {
        Sight::Nothing
    }

    fn known(&mut self, start: &Assignment, from: u64) -> Result<BTreeMap<u64, Vec<Command>>, Error> {
        self.resolve(start, from).map_err(|error| Error::usage(error.to_string()))
    }
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
    /// The commands after the epoch `from` by boundary, with shards named by their ranges, checked by applying them to
    /// the assignment in force from that epoch on.
    pub fn resolve(&self, start: &Assignment, from: u64) -> Result<BTreeMap<u64, Vec<Command>>, ScriptError> {
        let mut lines: Vec<_> = self.lines.iter().filter(|line| line.boundary > from).collect();
        lines.sort_by_key(|line| line.boundary);
        let mut assignment = start.clone();
        let mut commands: BTreeMap<u64, Vec<Command>> = BTreeMap::new();
        for line in lines {
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
            Action::Fold { key } => Command::Fold { key },
            Action::Unfold { key } => Command::Unfold { key },
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
            ("fold", [key]) => Action::Fold { key: number_of(key)? },
            ("unfold", [key]) => Action::Unfold { key: number_of(key)? },
            ("checkpoint", []) => Action::Checkpoint,
            _ => {
                return Err(error(format!(
                    "expected `split KEY`, `merge KEY`, `move KEY WORKER`, `fold KEY`, `unfold KEY` or `checkpoint`, \
                     found `{}`",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_known_before_the_run() {
        let start = Assignment::even(2, 2).unwrap();
        let mut script: Script = "3 move 0 1\n5 checkpoint".parse().unwrap();
        let known = script.known(&start, 0).unwrap();
        assert_eq!(known[&3], [Command::Move { shard: start.range(0), to: 1 }]);
        assert_eq!(known[&5], [Command::Checkpoint]);
    }

    #[test]
    fn keys_are_folded_and_unfolded() {
        let script: Script = "9 unfold 0x10\n3 fold 16  # the same key\n12 fold 16".parse().unwrap();
        let known = script.resolve(&Assignment::even(2, 2).unwrap(), 0).unwrap();
        let (fold, unfold) = (Command::Fold { key: 16 }, Command::Unfold { key: 16 });
        assert_eq!(known.into_values().flatten().collect::<Vec<_>>(), [fold.clone(), unfold, fold]);
        let error = |text: &str| text.parse::<Script>().unwrap_err().to_string();
        assert_eq!(error("3 fold x"), "line 1 of the script: \"x\" is not a number");
        assert!(error("3 fold").ends_with("`fold KEY`, `unfold KEY` or `checkpoint`, found `fold`"));
        assert!(error("3 unfold 1 2").ends_with("found `unfold 1 2`"));
    }

    #[test]
    fn a_script_that_cannot_be_is_an_error_of_usage() {
        for text in ["3 move 0 7", "3 unfold 7"] {
            let mut script: Script = text.parse().unwrap();
            let error = script.known(&Assignment::even(2, 2).unwrap(), 0).unwrap_err();
            assert!(
                matches!(error, Error::Usage { .. }) && error.to_string().starts_with("line 1 of the script"),
                "{error}"
            );
        }
    }
}
