//! Checkpoints in a store: what a damaged byte, a missing object or a crash at any operation leaves to resume from.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use thalweg::checkpoint::{
    Directory, Fingerprint, MANIFEST_FORMAT, Manifest, Memory, ObjectWriter, Resume, Space, Store, read_chunk, resolve,
    retain, verify,
};
use thalweg::keyed::Chunk;
use thalweg::{Assignment, Error, KeyRange};

fn fingerprint() -> Fingerprint {
    Fingerprint::default().with("key", "station")
}

/// The state as of a boundary: two chunks for each of two operators.
fn state(epoch: u64) -> Vec<(&'static str, Chunk)> {
    let halves = [KeyRange::try_from(0..1 << 63).unwrap(), KeyRange::from(1 << 63..)];
    let chunk = |range| Chunk { range, last: true, keys: 2, bytes: epoch.to_le_bytes().repeat(2) };
    ["count", "join (left)"].into_iter().flat_map(|operator| halves.map(|range| (operator, chunk(range)))).collect()
}

/// A key space with one operator.
fn space((name, shards, operator): (&str, usize, &str)) -> (String, Space) {
    (name.into(), Space { assignment: Assignment::even(shards, 2).unwrap(), operators: vec![operator.into()] })
}

/// Takes a checkpoint: objects, then the manifest, then retention.
fn checkpoint(store: &dyn Store, epoch: u64, previous: Option<u64>, keep: usize) -> Result<Manifest, Error> {
    let mut writer = ObjectWriter::new(epoch, 0, 1)?;
    for (operator, chunk) in state(epoch) {
        assert_eq!(writer.push(operator, &chunk)?, None);
    }
    let objects = writer.finish();
    for object in &objects {
        store.put(&object.reference.name, &object.bytes)?;
    }
    let manifest = Manifest {
        format: MANIFEST_FORMAT,
        epoch,
        previous,
        epoch_ticks: 1,
        records: Some(10 * epoch),
        reason: "every: 10 epochs since the last checkpoint".into(),
        fingerprint: fingerprint(),
        spaces: [("keys", 2, "count"), ("users", 4, "join (left)")].map(space).into(),
        objects: objects.into_iter().map(|object| object.reference).collect(),
        sources: BTreeMap::new(),
        sinks: Vec::new(),
    };
    manifest.write(store)?;
    retain(store, keep, epoch, &|_| false)?;
    Ok(manifest)
}

/// Two checkpoints, and the names of all that belongs to the newer one.
fn two(store: &dyn Store) -> Vec<String> {
    checkpoint(store, 10, None, 2).unwrap();
    let newer = checkpoint(store, 20, Some(10), 2).unwrap();
    newer.objects.iter().map(|object| object.name.clone()).chain([newer.name()]).collect()
}

/// The epoch resumed from. All of its state must be there and as it was.
fn resumed(store: &dyn Store, resume: &Resume) -> Option<u64> {
    let manifest = resume.checkpoint.as_ref()?;
    let chunks = manifest.objects.iter().flat_map(|object| object.chunks.iter().map(move |chunk| (object, chunk)));
    let found: Vec<(&str, Chunk)> =
        chunks.map(|(object, chunk)| (&*object.operator, read_chunk(store, object, chunk).unwrap())).collect();
    assert_eq!(found, state(manifest.epoch));
    assert_eq!(manifest.records, Some(10 * manifest.epoch));
    Some(manifest.epoch)
}

/// The older checkpoint must be found, and the error of the newer one name the object.
fn falls_back(store: &dyn Store, name: &str, what: &str) -> Error {
    let mut resume = resolve(store, &fingerprint()).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(resumed(store, &resume), Some(10), "{what}");
    assert_eq!(resume.skipped.len(), 1, "{what}");
    let error = resume.skipped.remove(0).error;
    assert!(error.to_string().contains(name), "{what}: {error}");
    error
}

#[test]
fn an_empty_store_has_nothing_to_resume_from() {
    let directory = tempfile::tempdir().unwrap();
    for store in [&Memory::default() as &dyn Store, &Directory::open(directory.path()).unwrap()] {
        let resume = resolve(store, &fingerprint()).unwrap();
        assert!(resume.checkpoint.is_none() && resume.skipped.is_empty());
        assert_eq!(two(store).len(), 3);
        assert_eq!(resumed(store, &resolve(store, &fingerprint()).unwrap()), Some(20));
    }
}

#[test]
fn any_byte_flipped_is_found_named_and_survived() {
    let store = Memory::default();
    for name in two(&store) {
        let whole = store.get(&name).unwrap();
        for byte in 0..whole.len() {
            for flip in [0x01, 0x20, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[byte] ^= flip;
                store.put(&name, &damaged).unwrap();
                let error = falls_back(&store, &name, &format!("byte {byte} of {name} flipped by {flip:#x}"));
                assert!(matches!(error, Error::Corrupt { .. } | Error::Incompatible { .. }), "{error}");
            }
        }
        store.put(&name, &whole).unwrap();
    }
    assert_eq!(resumed(&store, &resolve(&store, &fingerprint()).unwrap()), Some(20));
}

#[test]
fn any_other_length_or_nothing_at_all_is_found_named_and_survived() {
    let directory = tempfile::tempdir().unwrap();
    let store = Directory::open(directory.path()).unwrap();
    for name in two(&store) {
        let file = directory.path().join(&name);
        let whole = std::fs::read(&file).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&file, &whole[..length]).unwrap();
            let error = falls_back(&store, &name, &format!("{name} cut to {length} bytes"));
            assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        }
        std::fs::write(&file, [&whole[..], b"\n"].concat()).unwrap();
        falls_back(&store, &name, &format!("{name} with a byte more"));
        std::fs::remove_file(&file).unwrap();
        if name.starts_with("objects/") {
            let error = falls_back(&store, &name, &format!("{name} removed"));
            assert!(error.to_string().contains("is missing"), "{error}");
        } else {
            // A checkpoint without its manifest is none.
            let resume = resolve(&store, &fingerprint()).unwrap();
            assert_eq!((resumed(&store, &resume), resume.skipped.len()), (Some(10), 0));
        }
        std::fs::write(&file, &whole).unwrap();
    }
}

#[test]
fn manifests_that_hold_something_else_are_passed_over() {
    let garbage = [
        String::new(),
        "thalweg-manifest 99999999999 00000000 0\n".into(),
        "thalweg-manifest 3 a3a6bf43 2\n{}".into(),
        "\u{0}".repeat(4096),
    ];
    for text in garbage {
        let store = Memory::default();
        let name = two(&store).pop().unwrap();
        store.put(&name, text.as_bytes()).unwrap();
        let error = falls_back(&store, &name, &text);
        assert!(matches!(error, Error::Corrupt { .. }), "{text:?}: {error}");
        store.put(&Manifest::name_at(10), text.as_bytes()).unwrap();
        let error = resolve(&store, &fingerprint()).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        for told in [&name, &Manifest::name_at(10), "begin anew in an empty store"] {
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}

#[test]
fn another_format_is_incompatible_and_not_damaged() {
    let store = Memory::default();
    let manifest = checkpoint(&store, 10, None, 2).unwrap();
    for format in [2, 4] {
        Manifest { format, epoch: 20, ..manifest.clone() }.replace(&store).unwrap();
        let told = format!("has format {format}, this library reads 3");
        let error = falls_back(&store, &Manifest::name_at(20), &told);
        assert!(matches!(error, Error::Incompatible { .. }) && error.to_string().contains(&told), "{error}");
    }
    store.delete(&Manifest::name_at(10)).unwrap();
    assert!(matches!(resolve(&store, &fingerprint()), Err(Error::Incompatible { .. })));
}

#[test]
fn another_configuration_is_an_error_that_names_what_changed() {
    let store = Memory::default();
    two(&store);
    let error = resolve(&store, &fingerprint().with("key", "user").with("codec", "postcard")).unwrap_err();
    let expected = r#"20.json can't be used here: key was "station" and is now "user", codec was absent and is now "#;
    assert!(matches!(error, Error::Incompatible { .. }) && error.to_string().contains(expected), "{error}");
}

#[test]
fn half_written_files_and_foreign_ones_are_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let store = Directory::open(directory.path()).unwrap();
    two(&store);
    for name in [".00000000000000000030.json.Ab12Cd", "README", "00000000000000000030.json~", "a b"] {
        std::fs::write(directory.path().join("manifests").join(name), "half").unwrap();
    }
    std::fs::create_dir(directory.path().join("manifests/00000000000000000040.json")).unwrap();
    let resume = resolve(&store, &fingerprint()).unwrap();
    assert!(resumed(&store, &resume) == Some(20) && resume.skipped.is_empty());
    checkpoint(&store, 30, Some(20), 1).unwrap();
    assert_eq!(Manifest::list(&store).unwrap(), [30]);
    assert_eq!(store.list("objects/").unwrap().len(), 2);
}

#[test]
fn a_path_that_cannot_hold_a_store_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Directory::open(&file).unwrap_err();
    assert!(matches!(error, Error::Usage { .. }) && error.to_string().contains("file can't hold"), "{error}");
    let error = Directory::open(file.join("below")).unwrap_err();
    assert!(matches!(error, Error::Store { .. }) && error.to_string().contains("file/below"), "{error}");
    let readonly = directory.path().join("readonly");
    std::fs::create_dir(&readonly).unwrap();
    let mut permissions = std::fs::metadata(&readonly).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&readonly, permissions).unwrap();
    // The superuser may write all the same.
    if std::fs::write(readonly.join("probe"), "").is_err() {
        let error = Directory::open(&readonly).unwrap_err();
        assert!(matches!(error, Error::Store { .. }) && error.to_string().contains("readonly"), "{error}");
    }
}

#[test]
fn names_that_lead_out_of_a_store_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let store = Directory::open(directory.path().join("store")).unwrap();
    for name in ["../secret", "objects/../../secret", ".", "", secret.to_str().unwrap()] {
        let results = [store.put(name, b""), store.get(name).map(drop), store.delete(name)];
        for result in results.into_iter().chain([store.get_range(name, 0, 1).map(drop)]) {
            assert!(matches!(result, Err(Error::Usage { .. })), "{name:?}");
        }
    }
    assert!(store.list("../").is_err());
    assert_eq!(std::fs::read(secret).unwrap(), b"secret");
}

/// A store of a process that dies at the n-th operation: that one is done or not, and no other after it.
struct Dying {
    store: Memory,
    left: AtomicUsize,
    done: bool,
}

impl Dying {
    fn step<R>(&self, operation: impl FnOnce(&Memory) -> Result<R, Error>) -> Result<R, Error> {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        if left > 1 {
            return operation(&self.store);
        }
        if left == 1 && self.done {
            operation(&self.store)?;
        }
        Err(Error::Store { action: "reach", object: "the store".into(), source: std::io::Error::other("crash") })
    }
}

impl Store for Dying {
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.step(|store| store.put(name, bytes))
    }
    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.step(|store| store.create(name, bytes))
    }
    fn get(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.step(|store| store.get(name))
    }
    fn get_range(&self, name: &str, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        self.step(|store| store.get_range(name, offset, length))
    }
    fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.step(|store| store.list(prefix))
    }
    fn delete(&self, name: &str) -> Result<(), Error> {
        self.step(|store| store.delete(name))
    }
}

#[test]
fn a_crash_at_any_operation_leaves_the_old_checkpoint_or_the_new_one() {
    let mut resumed_from = [0, 0];
    for done in [false, true] {
        for operations in 1.. {
            let memory = Memory::default();
            two(&memory);
            let store = Dying { store: memory.clone(), left: AtomicUsize::new(operations), done };
            let finished = checkpoint(&store, 30, Some(20), 1).is_ok();
            let resume = resolve(&memory, &fingerprint()).unwrap();
            let epoch = resumed(&memory, &resume).unwrap();
            assert!(resume.skipped.is_empty());
            assert!(epoch == 30 || epoch == 20 && !finished, "{operations}: {epoch}");
            resumed_from[usize::from(epoch == 30)] += 1;
            for epoch in Manifest::list(&memory).unwrap() {
                Manifest::read(&memory, epoch)
                    .unwrap()
                    .objects
                    .iter()
                    .for_each(|object| verify(&memory, object).unwrap());
            }
            // The next run takes the same checkpoint again, or the next, and cleans up after the crash.
            checkpoint(&memory, 40, Some(epoch), 1).unwrap();
            assert_eq!((Manifest::list(&memory).unwrap(), memory.list("objects/").unwrap().len()), (vec![40], 2));
            if finished {
                break;
            }
        }
    }
    assert!(resumed_from.iter().all(|crashes| *crashes > 4), "{resumed_from:?}");
}
