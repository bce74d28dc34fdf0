use std::collections::BTreeMap;

use super::Manifest;
use super::covered::Ends;
use crate::error::Error;

/// The operators of a dataflow that take part in its checkpoints, each with the key space that it belongs to, and its
/// sources and sinks. A checkpoint covers them all or does not exist.
///
/// ```
/// use thalweg::checkpoint::Operators;
///
/// let mut operators = Operators::default();
/// operators.add("trips", "stations", 1).unwrap();
/// operators.add("delays", "stations", 2).unwrap();
/// assert!(operators.add("trips", "users", 1).unwrap_err().to_string().contains("a name of its own"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operators {
    /// The key space of each, and how many inputs it has.
    spaces: BTreeMap<String, (String, usize)>,
    pub(super) ends: Ends,
}

impl Operators {
    /// Adds an operator of a key space, with so many inputs. Refuses a name that another one has, in whatever key
    /// space: states are found by it.
    pub fn add(&mut self, operator: &str, space: &str, inputs: usize) -> Result<(), Error> {
        if let Some((other, _)) = self.spaces.get(operator) {
            return Err(Error::usage(format!(
                "two operators are named {operator:?}, in the key spaces {other:?} and {space:?}: \
                 give each a name of its own, by which its states are found"
            )));
        }
        self.spaces.insert(operator.to_owned(), (space.to_owned(), inputs));
        Ok(())
    }

    /// The names of the operators, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.spaces.keys().map(String::as_str)
    }

    /// The operators with their key spaces, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.spaces.iter().map(|(operator, (space, _))| (operator.as_str(), space.as_str()))
    }

    /// Whether the records that have come in are those that the source has given: there is just one input.
    pub(super) fn have_one_input(&self) -> bool {
        self.spaces.values().map(|(_, inputs)| inputs).sum::<usize>() == 1
    }

    /// Whether an operator of this name takes part.
    pub fn contains(&self, operator: &str) -> bool {
        self.spaces.contains_key(operator)
    }

    /// Refuses operators with which a checkpoint can't be resumed: if it has states of one that is not among them, they
    /// would be lost; and one that it has no states of would begin without what was consumed before.
    pub(super) fn check(&self, resumed: &Manifest) -> Result<(), Error> {
        let lost: Vec<&str> = resumed.operators().filter(|operator| !self.contains(operator)).collect();
        let new: Vec<&str> =
            self.names().filter(|name| resumed.operators().all(|operator| operator != *name)).collect();
        let lost = (!lost.is_empty())
            .then(|| format!("it has states of {lost:?}, which would be lost: no operator has that name"));
        let new = (!new.is_empty())
            .then(|| format!("it has no states of {new:?}, which would miss all data before its boundary"));
        let what: Vec<String> = lost.into_iter().chain(new).collect();
        if what.is_empty() {
            return self.ends.check(resumed);
        }
        let what = what.join("; ");
        let mend = "have the same operators and name them as before, or begin anew in an empty store";
        Err(Error::incompatible(resumed.name(), format!("{what}: {mend}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::example;

    fn check(operators: &[&str]) -> Result<(), Error> {
        let mut all = Operators::default();
        operators.iter().for_each(|operator| all.add(operator, "any", 1).unwrap());
        all.check(&example(7, None, Vec::new()))
    }

    #[test]
    fn operators_that_are_not_those_of_the_checkpoint_are_named() {
        check(&["count", "join", "sum"]).unwrap();
        for (operators, lost, new) in [
            (&["count"][..], Some(r#"it has states of ["join", "sum"], which would be lost"#), None),
            (&["count", "join", "sum", "top"], None, Some(r#"it has no states of ["top"], which would miss"#)),
            (
                &["Count", "join", "sum"],
                Some(r#"it has states of ["count"],"#),
                Some(r#"; it has no states of ["Count"],"#),
            ),
        ] {
            let error = check(operators).unwrap_err();
            assert!(matches!(error, Error::Incompatible { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("07.json can't be used here") && text.contains("name them as before"), "{text}");
            assert_eq!(text.contains("has states of"), lost.is_some(), "{text}");
            assert_eq!(text.contains("has no states of"), new.is_some(), "{text}");
            assert!(lost.into_iter().chain(new).all(|told| text.contains(told)), "{text}");
        }
    }
}
