use std::collections::BTreeMap;

use super::{Policy, View};
use crate::error::Error;
use crate::keyspace::{Assignment, Command, Script};

/// Changes nothing, ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Static;

impl Policy for Static {
    fn decide(&mut self, _: &View<'_>) -> Vec<Command> {
        Vec::new()
    }
}

/// Does what a [`Script`] says, whatever the load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scripted {
    script: Script,
}

impl Scripted {
    /// The policy that follows the script.
    pub fn new(script: Script) -> Self {
        Scripted { script }
    }
}

impl Policy for Scripted {
    fn decide(&mut self, _: &View<'_>) -> Vec<Command> {
        Vec::new()
    }

    fn known(&mut self, start: &Assignment) -> Result<BTreeMap<u64, Vec<Command>>, Error> {
        self.script.resolve(start).map_err(|e| Error::usage("the script can't be carried out").with(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_known_before_the_run() {
        let start = Assignment::even(2, 2).unwrap();
        let script: Script = "3 move 0 1\n5 checkpoint".parse().unwrap();
        let known = Scripted::new(script).known(&start).unwrap();
        assert_eq!(known[&3], [Command::Move { shard: start.range(0), to: 1 }]);
        assert_eq!(known[&5], [Command::Checkpoint]);
        assert!(Static.known(&start).unwrap().is_empty());
    }

    #[test]
    fn a_script_that_cannot_be_is_an_error_of_usage() {
        let script: Script = "3 move 0 7".parse().unwrap();
        let error = Scripted::new(script).known(&Assignment::even(2, 2).unwrap()).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(matches!(error, Error::Usage { .. }) && cause.starts_with("line 1 of the script"), "{cause}");
    }
}
