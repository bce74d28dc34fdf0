use std::collections::BTreeMap;

use crate::error::Error;

/// The operators of a dataflow that take part in its checkpoints, each with the key space that it belongs to. A
/// checkpoint covers them all or does not exist.
///
/// ```
/// use thalweg::checkpoint::Operators;
///
/// let mut operators = Operators::default();
/// operators.add("trips", "stations").unwrap();
/// operators.add("delays", "stations").unwrap();
/// assert!(operators.add("trips", "users").unwrap_err().to_string().contains("a name of its own"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operators {
    /// The key space of each.
    spaces: BTreeMap<String, String>,
}

impl Operators {
    /// Adds an operator. Refuses a name that another one has, in whatever key space: states are found by it.
    pub fn add(&mut self, operator: &str, space: &str) -> Result<(), Error> {
        match self.spaces.insert(operator.to_owned(), space.to_owned()) {
            None => Ok(()),
            Some(other) => Err(Error::usage(format!(
                "two operators are named {operator:?}, in the key spaces {other:?} and {space:?}: \
                 give each a name of its own, by which its states are found"
            ))),
        }
    }

    /// The names of the operators, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.spaces.keys().map(String::as_str)
    }

    /// The operators with their key spaces, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.spaces.iter().map(|(operator, space)| (operator.as_str(), space.as_str()))
    }

    /// Whether an operator of this name takes part.
    pub fn contains(&self, operator: &str) -> bool {
        self.spaces.contains_key(operator)
    }
}
