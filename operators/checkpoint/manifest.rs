//! A manifest is text: a line `thalweg-manifest {format} {CRC-32} {bytes}` about all that follows it, then JSON.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use serde::{Deserialize, Serialize};

use super::covered::SourcePositions;
use super::fingerprint::Fingerprint;
use super::reference::ObjectRef;
use super::store::{Store, check_name, damage};
use crate::error::Error;
use crate::keyspace::Assignment;

/// Version of the format of manifests that this library writes and reads.
pub const MANIFEST_FORMAT: u32 = 3;

/// The names of all manifests begin so.
pub(super) const PREFIX: &str = "manifests/";

/// The names of all objects begin so.
const OBJECTS: &str = "objects/";

const MAGIC: &str = "thalweg-manifest";

/// The one small object that makes a set of snapshot objects a checkpoint: the checkpoint exists from the instant
/// this is durable, so that it is written after all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// The boundary: all data before this epoch is in, none at or after it.
    pub epoch: u64,
    /// The epoch of the checkpoint before this one: the one taken last in this run, or the one it resumed from.
    /// [`retain`](super::retain) follows it, and so passes over checkpoints that were given up as damaged.
    pub previous: Option<u64>,
    /// Ticks of the timestamp that make an epoch.
    pub epoch_ticks: u64,
    /// The source's position, if it is known: in a dataflow of one operator with one input, the records that it took in
    /// before the boundary.
    pub records: Option<u64>,
    /// Why it was taken.
    pub reason: String,
    /// What a run that resumes from it must agree with.
    pub fingerprint: Fingerprint,
    /// The key spaces, by name.
    pub spaces: BTreeMap<String, Space>,
    /// The objects with their state: of this checkpoint, and of earlier ones where nothing has changed since.
    pub objects: Vec<ObjectRef>,
    /// Where the sources stand at the boundary, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, SourcePositions>,
    /// The sinks, all of whose output before the boundary is durable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<String>,
}

/// A key space as of a boundary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// The assignment in force from the boundary on.
    pub assignment: Assignment,
    /// The operators that it routes, whose states are in: no operator is in two key spaces.
    pub operators: Vec<String>,
}

impl Manifest {
    /// The name of the manifest of this epoch's boundary.
    pub fn name_at(epoch: u64) -> String {
        format!("{PREFIX}{epoch:020}.json")
    }

    /// Its name in a store.
    pub fn name(&self) -> String {
        Manifest::name_at(self.epoch)
    }

    /// The operators whose states are in.
    pub fn operators(&self) -> impl Iterator<Item = &str> {
        self.spaces.values().flat_map(|space| space.operators.iter().map(String::as_str))
    }

    /// The assignment of the key space of this name, in force from the boundary on.
    pub fn assignment_of(&self, space: &str) -> Option<&Assignment> {
        self.spaces.get(space).map(|space| &space.assignment)
    }

    /// Bytes of state in its objects.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.length).sum()
    }

    /// Writes the manifest: with that, and not before, the checkpoint exists. After an error it may exist or not; what
    /// is given up then must not be needed in either case. [`Error::Usage`] if there is another one of this epoch: no
    /// run writes two, so that another run must have.
    pub fn write(&self, store: &dyn Store) -> Result<(), Error> {
        store.create(&self.name(), &self.encode()?).map_err(|error| match error {
            Error::Store { source, .. } if source.kind() == ErrorKind::AlreadyExists => {
                let name = self.name();
                let what = "end one of the runs, and resume the other from what is there";
                Error::usage(format!("another run has written {name} to the same store: {what}")).with(source)
            }
            error => error,
        })
    }

    /// As [`write`](Manifest::write), in place of one that was passed over as damaged.
    pub fn replace(&self, store: &dyn Store) -> Result<(), Error> {
        store.put(&self.name(), &self.encode()?)
    }

    /// Puts a manifest that a run has passed over where none is looked for, `skipped/{epoch}.json`: so that it is not
    /// resumed from later, should it become readable again, when that run has rolled back what came after its own.
    pub(super) fn set_aside(store: &dyn Store, epoch: u64) -> Result<(), Error> {
        let name = Manifest::name_at(epoch);
        if let Ok(bytes) = store.get(&name) {
            store.put(&format!("skipped/{epoch:020}.json"), &bytes)?;
        }
        store.delete(&name)
    }

    /// Reads the manifest of this epoch's boundary, and checks every byte of it.
    pub fn read(store: &dyn Store, epoch: u64) -> Result<Self, Error> {
        let name = Manifest::name_at(epoch);
        let manifest = Manifest::decode(&store.get(&name).map_err(damage)?, &name)?;
        if manifest.epoch == epoch {
            return Ok(manifest);
        }
        Err(Error::corrupt(&name, format!("it is that of epoch {}: give it its own name again", manifest.epoch)))
    }

    /// The epochs of all manifests in a store, ascending. Other things beside them are passed over.
    pub fn list(store: &dyn Store) -> Result<Vec<u64>, Error> {
        Ok(store.list(PREFIX)?.iter().filter_map(|name| epoch_of(name)).collect())
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut body = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::usage(format!("{} can't be written as JSON", self.name())).with(e))?;
        body.push(b'\n');
        let mut bytes = first_line(self.format, &body).into_bytes();
        bytes.append(&mut body);
        Ok(bytes)
    }

    fn decode(bytes: &[u8], name: &str) -> Result<Self, Error> {
        let end = bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |newline| newline + 1);
        let (line, body) = bytes.split_at(end);
        let format = format_of(line).ok_or_else(|| Error::corrupt(name, "it does not begin as a manifest does"))?;
        if format != MANIFEST_FORMAT {
            return Err(Error::incompatible(
                name,
                format!(
                    "it has format {format}, this library reads {MANIFEST_FORMAT}: \
                     use the library that wrote it, or begin anew in an empty store"
                ),
            ));
        }
        // Compared as text, so that a byte of the line can't change without meaning anything.
        let expected = first_line(format, body);
        if line != expected.as_bytes() {
            let found = String::from_utf8_lossy(line);
            let what = format!("it begins with {:?}, but {:?} would fit what follows", found.trim(), expected.trim());
            return Err(Error::corrupt(name, what));
        }
        let manifest: Manifest =
            serde_json::from_slice(body).map_err(|e| Error::corrupt(name, "it does not hold a manifest").with(e))?;
        if manifest.format != format {
            let what = format!("its first line says that it has format {format}, what follows {}", manifest.format);
            return Err(Error::corrupt(name, what));
        }
        match manifest.objects.iter().find(|object| !names_object(&object.name)) {
            Some(object) => Err(Error::corrupt(name, format!("it refers to {:?}, which is no object", object.name))),
            None => Ok(manifest),
        }
    }
}

/// Whether a manifest may refer to what has this name: something right below `objects/`, and nothing else anywhere.
fn names_object(name: &str) -> bool {
    name.strip_prefix(OBJECTS).is_some_and(|rest| !rest.contains('/') && check_name(rest).is_ok())
}

/// The epoch of the manifest of this name, if it names one.
fn epoch_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(".json")?;
    digits.parse().ok().filter(|epoch| Manifest::name_at(*epoch) == name)
}

fn first_line(format: u32, body: &[u8]) -> String {
    format!("{MAGIC} {format} {:08x} {}\n", crc32fast::hash(body), body.len())
}

fn format_of(line: &[u8]) -> Option<u32> {
    let words = str::from_utf8(line).ok()?.strip_prefix(MAGIC)?;
    words.strip_prefix(' ')?.split(' ').next()?.trim_end().parse().ok()
}

#[cfg(test)]
pub(super) fn example(epoch: u64, previous: Option<u64>, objects: Vec<ObjectRef>) -> Manifest {
    Manifest {
        format: MANIFEST_FORMAT,
        epoch,
        previous,
        epoch_ticks: 1,
        records: Some(epoch * 100),
        reason: "a test".into(),
        fingerprint: Fingerprint::default().with("key", "station"),
        spaces: [("keys", 3, vec!["count"]), ("users", 5, vec!["join", "sum"])].map(space).into(),
        objects,
        sources: BTreeMap::new(),
        sinks: Vec::new(),
    }
}

#[cfg(test)]
fn space((name, shards, operators): (&str, usize, Vec<&str>)) -> (String, Space) {
    let operators = operators.into_iter().map(str::to_owned).collect();
    (name.to_owned(), Space { assignment: Assignment::even(shards, 2).unwrap(), operators })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Memory, ObjectWriter};
    use crate::keyed::Chunk;
    use crate::keyspace::KeyRange;

    #[test]
    fn a_manifest_comes_back() {
        let store = Memory::default();
        for epoch in [0, 9, 10, u64::MAX] {
            let manifest = example(epoch.min(1 << 40), epoch.checked_sub(1), Vec::new());
            let manifest = Manifest { epoch, ..manifest };
            manifest.write(&store).unwrap();
            assert_eq!(Manifest::read(&store, epoch).unwrap(), manifest);
        }
        for name in ["manifests/README", "manifests/7.json", "manifests/00000000000000000007.json.bak"] {
            store.put(name, b"").unwrap();
        }
        assert_eq!(Manifest::list(&store).unwrap(), [0, 9, 10, u64::MAX]);
    }

    #[test]
    fn any_changed_bit_and_any_other_length_is_found() {
        let whole = example(7, Some(3), Vec::new()).encode().unwrap();
        let check = |bytes: &[u8], what: &str| {
            let error = Manifest::decode(bytes, "m").expect_err(what);
            assert!(matches!(error, Error::Corrupt { .. } | Error::Incompatible { .. }), "{what}: {error}");
        };
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            check(&damaged, &format!("bit {bit}"));
        }
        for length in 0..whole.len() {
            check(&whole[..length], &format!("{length} bytes"));
            let (before, after) = whole.split_at(length);
            check(&[before, b" ", after].concat(), &format!("a space at {length}"));
            check(&[before, &after[1..]].concat(), &format!("byte {length} missing"));
        }
        check(&[&whole[..], b"\n"].concat(), "one line more");
    }

    /// As it was written with one assignment and one list of operators.
    #[test]
    fn a_manifest_of_format_1_is_told_from_a_damaged_one() {
        let body =
            r#"{ "format": 1, "epoch": 7, "assignment": { "workers": 1, "shards": [] }, "operators": ["count"] }"#;
        let whole = [first_line(1, body.as_bytes()).as_bytes(), body.as_bytes()].concat();
        let error = Manifest::decode(&whole, "m").unwrap_err();
        assert!(matches!(error, Error::Incompatible { .. }) && error.to_string().contains("has format 1,"), "{error}");
    }

    #[test]
    fn operators_are_those_of_all_key_spaces() {
        let manifest = example(7, None, Vec::new());
        assert_eq!(manifest.operators().collect::<Vec<_>>(), ["count", "join", "sum"]);
        assert_eq!(manifest.assignment_of("users").map(Assignment::len), Some(5));
        assert_eq!(manifest.assignment_of("join"), None);
    }

    #[test]
    fn a_foreign_format_and_a_foreign_name_are_told() {
        let store = Memory::default();
        for (format, text) in [(1, "has format 1, this library reads 3: use"), (9, "has format 9")] {
            Manifest { format, ..example(7, None, Vec::new()) }.replace(&store).unwrap();
            let error = Manifest::read(&store, 7).unwrap_err();
            assert!(matches!(error, Error::Incompatible { .. }) && error.to_string().contains(text), "{error}");
        }
        store.put(&Manifest::name_at(8), &example(7, None, Vec::new()).encode().unwrap()).unwrap();
        let error = Manifest::read(&store, 8).unwrap_err();
        assert!(error.to_string().contains("is that of epoch 7"), "{error}");
    }

    #[test]
    fn a_manifest_that_leads_elsewhere_is_damaged() {
        let store = Memory::default();
        let mut names =
            vec!["../../etc/passwd", "/etc/passwd", "objects/../../etc/passwd", "objects//etc/passwd", "objects"];
        names.extend([
            "objects/link/passwd",
            "manifests/00000000000000000007.json",
            "objects/.lock",
            "",
            "objects/a\0b",
        ]);
        for name in names {
            let mut writer = ObjectWriter::new(7, 0, 0).unwrap();
            let chunk = Chunk { range: KeyRange::ALL, last: true, keys: 1, bytes: vec![7] };
            writer.push("count", &chunk).unwrap();
            let mut object = writer.finish().remove(0).reference;
            example(7, None, vec![object.clone()]).replace(&store).unwrap();
            Manifest::read(&store, 7).unwrap();
            object.name = name.to_owned();
            example(7, None, vec![object]).replace(&store).unwrap();
            let error = Manifest::read(&store, 7).unwrap_err();
            let told = format!("it refers to {name:?}, which is no object");
            assert!(matches!(error, Error::Corrupt { .. }) && error.to_string().contains(&told), "{error}");
        }
    }

    /// Found by fuzzing: written again, it would have had a format that nobody reads.
    #[test]
    fn a_manifest_with_two_formats_is_damaged() {
        let whole = Manifest { format: MANIFEST_FORMAT + 1, ..example(7, None, Vec::new()) }.encode().unwrap();
        let body = &whole[whole.iter().position(|byte| *byte == b'\n').unwrap() + 1..];
        let forged = [first_line(MANIFEST_FORMAT, body).as_bytes(), body].concat();
        let error = Manifest::decode(&forged, "m").unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }) && error.to_string().contains("its first line says"), "{error}");
    }

    #[test]
    fn no_run_writes_over_the_manifest_of_another() {
        let store = Memory::default();
        example(7, None, Vec::new()).write(&store).unwrap();
        let other = example(7, Some(3), Vec::new());
        let error = other.write(&store).unwrap_err();
        let told = "another run has written manifests/00000000000000000007.json";
        assert!(matches!(error, Error::Usage { .. }) && error.to_string().contains(told), "{error}");
        assert_eq!(Manifest::read(&store, 7).unwrap().previous, None);
        other.replace(&store).unwrap();
        assert_eq!(Manifest::read(&store, 7).unwrap(), other);
    }
}
