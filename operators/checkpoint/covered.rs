//! What a checkpoint covers besides states: where sources stand, and that the output of sinks is durable.
//!
//! Sources and sinks tell it on one stream, by its frontier above all: as long as something before a boundary can come,
//! some source has not read all records before it, or some sink has not made all output before it durable, and there
//! can't be a checkpoint yet.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Manifest, Operators};
use crate::error::Error;

/// The positions of a source's partitions, by their names.
pub type SourcePositions = BTreeMap<String, Value>;

/// Where a partition of a source stands after the last of its records in the epoch of the message. It stands there
/// until another message says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    /// The source.
    pub source: String,
    /// The partition.
    pub partition: String,
    /// The position, as JSON.
    pub position: String,
}

/// Where all partitions stand, by the boundary from which on they stand there.
#[derive(Debug, Default)]
pub(super) struct Positions(BTreeMap<(String, String), BTreeMap<u64, Value>>);

impl Positions {
    /// As in the checkpoint that a run resumes from.
    pub fn resumed(manifest: Option<&Manifest>) -> Self {
        let mut positions = Positions::default();
        let Some(manifest) = manifest else { return positions };
        for (source, partitions) in &manifest.sources {
            for (partition, position) in partitions {
                positions.insert(source, partition, manifest.epoch, position.clone());
            }
        }
        positions
    }

    /// Notes where a partition stands after its records of an epoch.
    pub fn note(&mut self, epoch: u64, Covered { source, partition, position }: &Covered) {
        // What a source has written as JSON is JSON.
        let position = serde_json::from_str(position).unwrap_or(Value::Null);
        self.insert(source, partition, epoch.saturating_add(1), position);
    }

    fn insert(&mut self, source: &str, partition: &str, boundary: u64, position: Value) {
        self.0.entry((source.to_owned(), partition.to_owned())).or_default().insert(boundary, position);
    }

    /// Where all stand at a boundary. Boundaries are asked for in order: earlier ones are forgotten.
    pub fn at(&mut self, boundary: u64) -> BTreeMap<String, SourcePositions> {
        let mut sources: BTreeMap<String, SourcePositions> = BTreeMap::new();
        for ((source, partition), positions) in &mut self.0 {
            let Some((&since, position)) = positions.range(..=boundary).next_back() else { continue };
            sources.entry(source.clone()).or_default().insert(partition.clone(), position.clone());
            *positions = positions.split_off(&since);
        }
        sources
    }
}

/// The names of the sources and sinks that take part in checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    pub sources: BTreeSet<String>,
    pub sinks: BTreeSet<String>,
}

impl Operators {
    /// Adds a source: a checkpoint holds where it stands.
    pub fn add_source(&mut self, name: &str) {
        self.ends.sources.insert(name.to_owned());
    }

    /// Adds a sink: a checkpoint says that all its output before the boundary is durable.
    pub fn add_sink(&mut self, name: &str) {
        self.ends.sinks.insert(name.to_owned());
    }
}

impl Ends {
    /// Refuses sources and sinks that are not those of the checkpoint: records would be lost or taken in twice, or
    /// output would be missing.
    pub fn check(&self, resumed: &Manifest) -> Result<(), Error> {
        let sources = resumed.sources.keys().cloned().collect();
        let sinks = resumed.sinks.iter().cloned().collect();
        for (what, these, those) in [("sources", &self.sources, &sources), ("sinks", &self.sinks, &sinks)] {
            if these != those {
                return Err(Error::incompatible(
                    resumed.name(),
                    format!(
                        "its {what} are {those:?}, those of this run {these:?}: have the same {what} and name them as \
                         before, or begin anew in an empty store"
                    ),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::example;

    fn covered(partition: &str, position: u64) -> Covered {
        Covered { source: "trips".into(), partition: partition.into(), position: position.to_string() }
    }

    fn at(positions: &mut Positions, boundary: u64) -> Vec<(String, u64)> {
        let all = positions.at(boundary).remove("trips").unwrap_or_default();
        all.into_iter().map(|(partition, position)| (partition, position.as_u64().unwrap())).collect()
    }

    #[test]
    fn the_position_of_the_latest_epoch_before_the_boundary_counts() {
        let mut positions = Positions::default();
        for (epoch, partition, position) in [(0, "a", 10), (4, "a", 14), (2, "b", 22), (9, "b", 29)] {
            positions.note(epoch, &covered(partition, position));
        }
        assert_eq!(at(&mut positions, 0), []);
        assert_eq!(at(&mut positions, 2), [("a".into(), 10)]);
        assert_eq!(at(&mut positions, 4), [("a".into(), 10), ("b".into(), 22)]);
        assert_eq!(at(&mut positions, 5), [("a".into(), 14), ("b".into(), 22)]);
        assert_eq!(at(&mut positions, 10), [("a".into(), 14), ("b".into(), 29)]);
    }

    #[test]
    fn a_run_goes_on_from_the_positions_that_it_resumes_from() {
        let sources = [("trips".to_owned(), [("a".to_owned(), Value::from(5))].into())].into();
        let mut positions = Positions::resumed(Some(&Manifest { sources, ..example(7, None, Vec::new()) }));
        positions.note(7, &covered("a", 6));
        assert_eq!(at(&mut positions, 7), [("a".into(), 5)]);
        assert_eq!(at(&mut positions, 8), [("a".into(), 6)]);
    }

    #[test]
    fn sources_and_sinks_that_are_not_those_of_the_checkpoint_are_named() {
        let (sources, sinks) = ([("trips".to_owned(), SourcePositions::new())].into(), vec!["counts".to_owned()]);
        let manifest = Manifest { sources, sinks, ..example(7, None, Vec::new()) };
        let check = |sources: &[&str], sinks: &[&str]| {
            let mut operators = Operators::default();
            sources.iter().for_each(|name| operators.add_source(name));
            sinks.iter().for_each(|name| operators.add_sink(name));
            operators.ends.check(&manifest).map_err(|error| error.to_string())
        };
        check(&["trips"], &["counts"]).unwrap();
        for (sources, sinks, told) in [
            (&["trips"][..], &[][..], r#"its sinks are {"counts"}, those of this run {}: have"#),
            (&[], &["counts"], r#"its sources are {"trips"}, those of this run {}: have"#),
            (&["trips", "rides"], &["counts"], r#"those of this run {"rides", "trips"}"#),
        ] {
            let error = check(sources, sinks).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
