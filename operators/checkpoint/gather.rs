use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::save::Saved;
use super::{ObjectRef, Operators, Space};
use crate::error::Error;
use crate::keyspace::{Assignment, Command, KeyRange, RoutingError};

/// What all workers have saved at one boundary.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// By operator and worker.
    parts: BTreeMap<String, BTreeMap<usize, Part>>,
    /// Keys in all shards.
    pub keys: u64,
    /// Whether all of them are saved.
    pub whole: bool,
    /// In order of their names.
    pub objects: Vec<ObjectRef>,
    /// Why there can't be a checkpoint, if something failed on some worker.
    pub failure: Option<String>,
    /// How long the slowest worker took.
    pub seconds: f64,
}

/// What one worker's part of an operator says of the operator's key space.
#[derive(Debug)]
struct Part {
    ranges: Vec<KeyRange>,
    folded: Vec<u64>,
}

impl FromIterator<Saved> for Gathered {
    fn from_iter<I: IntoIterator<Item = Saved>>(all: I) -> Self {
        let mut gathered = Gathered::default();
        for saved in all {
            gathered.whole |= saved.is_whole();
            match saved {
                Saved::Shards { operator, worker, ranges, folded, keys, whole: _ } => {
                    gathered.keys += keys;
                    gathered.add(operator, worker, Part { ranges, folded });
                }
                Saved::Objects(objects) => gathered.objects.extend(objects),
                Saved::Failed(error) => gathered.fail(|| error),
                Saved::Done(seconds) => gathered.seconds = gathered.seconds.max(seconds),
            }
        }
        gathered.objects.sort_by(|a, b| a.name.cmp(&b.name));
        gathered
    }
}

impl Gathered {
    /// The key spaces, if just these operators have taken part, on each of so many workers, and those of one key space
    /// agree: a checkpoint covers them all or none.
    pub fn spaces(&self, operators: &Operators, workers: usize) -> Result<BTreeMap<String, Space>, Error> {
        self.check_expected(operators)?;
        let mut agreed: BTreeMap<&str, (Assignment, Vec<String>)> = BTreeMap::new();
        for (operator, space) in operators.iter() {
            let assignment = self.assignment(operator, space, workers)?;
            match agreed.entry(space) {
                Entry::Vacant(entry) => drop(entry.insert((assignment, vec![operator.to_owned()]))),
                Entry::Occupied(entry) if entry.get().0 == assignment => entry.into_mut().1.push(operator.to_owned()),
                Entry::Occupied(entry) => return Err(differ(&entry.get().1[0], operator)),
            }
        }
        let space = |(assignment, operators)| Space { assignment, operators };
        Ok(agreed.into_iter().map(|(name, agreed)| (name.to_owned(), space(agreed))).collect())
    }

    fn add(&mut self, operator: String, worker: usize, part: Part) {
        let of_operator = self.parts.entry(operator.clone()).or_default();
        if of_operator.insert(worker, part).is_some() {
            self.fail(|| {
                format!("worker {worker} has saved two operators named {operator:?}: give each a name of its own")
            });
        }
    }

    fn fail(&mut self, why: impl FnOnce() -> String) {
        self.failure.get_or_insert_with(why);
    }

    fn check_expected(&self, operators: &Operators) -> Result<(), Error> {
        match self.parts.keys().find(|operator| !operators.contains(operator)) {
            None => Ok(()),
            Some(operator) => Err(Error::usage(format!(
                "the operator {operator:?} has taken part without being expected to: name it to `commit` as well"
            ))),
        }
    }

    /// What all workers' parts of an operator say together.
    fn assignment(&self, operator: &str, space: &str, workers: usize) -> Result<Assignment, Error> {
        let parts = (0..workers).map(|worker| self.part(operator, space, worker)).collect::<Result<Vec<_>, _>>()?;
        let wrong = |what| Error::usage(format!("the operator {operator:?} of the key space {space:?}: {what}"));
        let assignment = assignment(&parts).map_err(|error| wrong(error.to_string()))?;
        match parts.iter().position(|part| part.folded != assignment.folded()) {
            None => Ok(assignment),
            Some(other) => Err(wrong(format!(
                "workers 0 and {other} have folded different keys: give all workers the same control stream"
            ))),
        }
    }

    fn part(&self, operator: &str, space: &str, worker: usize) -> Result<&Part, Error> {
        let part = self.parts.get(operator).and_then(|parts| parts.get(&worker));
        part.ok_or_else(|| {
            Error::usage(format!(
                "the operator {operator:?} of the key space {space:?} has not taken part on worker {worker}: \
                 give it the loop's control stream, and its snapshots to `save`"
            ))
        })
    }
}

fn differ(first: &str, second: &str) -> Error {
    Error::usage(format!(
        "the operators {first:?} and {second:?} of one key space have different assignments: \
         give both the control stream of their key space"
    ))
}

/// The assignment that the parts of all workers, in order, say together. That it has neither gaps nor overlaps is
/// invariant 2, one owner.
fn assignment(parts: &[&Part]) -> Result<Assignment, RoutingError> {
    let by_worker = parts.iter().enumerate();
    let owned = by_worker.flat_map(|(worker, part)| part.ranges.iter().map(move |range| (*range, worker)));
    let mut owned: Vec<(KeyRange, usize)> = owned.collect();
    owned.sort_unstable();
    let folded = parts.first().into_iter().flat_map(|part| &part.folded);
    let folds: Vec<Command> = folded.map(|key| Command::Fold { key: *key }).collect();
    Assignment::new(owned, parts.len())?.apply(&folds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALVES: [(u64, u128); 2] = [(0, 1 << 63), (1 << 63, 1 << 64)];

    fn range((start, end): (u64, u128)) -> KeyRange {
        KeyRange::new(start, end).unwrap()
    }

    fn part(operator: &str, worker: usize, ranges: &[(u64, u128)], folded: &[u64]) -> Saved {
        let ranges = ranges.iter().copied().map(range).collect();
        let (operator, folded) = (operator.into(), folded.into());
        Saved::Shards { operator, worker, ranges, folded, keys: 0, whole: false }
    }

    /// Each of two workers has half of the key space.
    fn whole(operator: &str, folded: &[u64]) -> [Saved; 2] {
        [0, 1].map(|worker| part(operator, worker, &HALVES[worker..=worker], folded))
    }

    fn operators() -> Operators {
        let mut operators = Operators::default();
        for (operator, space) in [("a", "x"), ("b", "x"), ("c", "y")] {
            operators.add(operator, space, 1).unwrap();
        }
        operators
    }

    /// The key spaces of `a` and `b` as they should be and `c` as given.
    fn spaces(c: impl IntoIterator<Item = Saved>) -> Result<BTreeMap<String, Space>, String> {
        let gathered: Gathered = [whole("a", &[7]), whole("b", &[7])].into_iter().flatten().chain(c).collect();
        match &gathered.failure {
            Some(failure) => Err(failure.clone()),
            None => gathered.spaces(&operators(), 2).map_err(|error| error.to_string()),
        }
    }

    #[test]
    fn the_key_spaces_are_independent() {
        let spaces = spaces([part("c", 1, &HALVES, &[]), part("c", 0, &[], &[])]).unwrap();
        let owners = |space: &Space| space.assignment.iter().map(|(_, owner)| owner).collect::<Vec<_>>();
        let told = |name: &str| (owners(&spaces[name]), spaces[name].operators.clone());
        assert_eq!(spaces.len(), 2);
        assert_eq!(told("x"), (vec![0, 1], vec!["a".into(), "b".into()]));
        assert_eq!(told("y"), (vec![1, 1], vec!["c".into()]));
    }

    #[test]
    fn what_is_not_as_expected_is_told() {
        let one = |worker: usize| part("c", worker, &HALVES[worker..=worker], &[]);
        for (c, expected) in [
            (vec![], r#""c" of the key space "y" has not taken part on worker 0"#),
            (vec![one(0)], r#""c" of the key space "y" has not taken part on worker 1"#),
            (vec![one(0), one(1), one(1)], r#"worker 1 has saved two operators named "c""#),
            (vec![one(0), one(1), part("d", 0, &[], &[])], r#""d" has taken part without being expected"#),
            (vec![one(0), part("c", 1, &HALVES, &[])], r#""c" of the key space "y": the shards"#),
            (vec![part("c", 0, &[HALVES[0]; 2], &[]), one(1)], "overlap"),
            (vec![one(0), part("c", 1, &[], &[])], "no shard holds"),
            (vec![one(0), part("c", 1, &HALVES[1..], &[3])], "workers 0 and 1 have folded different keys"),
        ] {
            let error = spaces(c).unwrap_err();
            assert!(error.contains(expected), "{error} does not say {expected}");
        }
    }

    #[test]
    fn operators_of_one_key_space_must_agree() {
        let mut operators = operators();
        operators.add("d", "y", 1).unwrap();
        let moved = [part("d", 0, &HALVES, &[3]), part("d", 1, &[], &[3])];
        for (d, expected) in [
            (moved.to_vec(), r#""c" and "d" of one key space have different assignments"#),
            (whole("d", &[]).to_vec(), r#""c" and "d" of one key space have different assignments"#),
        ] {
            let parts = [whole("a", &[]), whole("b", &[]), whole("c", &[3])];
            let gathered: Gathered = parts.into_iter().flatten().chain(d).collect();
            let error = gathered.spaces(&operators, 2).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} does not say {expected}");
        }
    }
}
