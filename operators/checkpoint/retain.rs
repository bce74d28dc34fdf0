use std::collections::{BTreeMap, BTreeSet};

use super::manifest::Manifest;
use super::store::Store;
use crate::error::Error;
use crate::fault::point;

/// What [`retain`] has removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Epochs of the checkpoints that were removed.
    pub checkpoints: Vec<u64>,
    /// Names of the objects that were removed.
    pub objects: Vec<String>,
}

/// Keeps the newest `keep` checkpoints, one at least, up to the one at the epoch `committed`, and what they refer to.
/// To be called when that one's manifest has been written, and by one worker alone.
///
/// Which are the newest is told by [`Manifest::previous`], not by their order: a checkpoint that a run has passed over
/// as damaged is none that the next one could fall back to, and does not count. Manifests go first, oldest first, then
/// objects, so that at every instant each manifest in the store has all its objects. What stays:
///
/// - manifests after `committed`: this run has passed over them, and removes them when it has come past them;
/// - objects at or after `committed`: they may belong to a checkpoint in flight;
/// - objects that are in use, by their names: a manifest to come may refer to them;
/// - everything, if any manifest that stays can't be read, since what it refers to can't be known. That is an error.
///
/// An object before `committed` to which no manifest refers is the leftover of a checkpoint that was never finished.
/// So checkpoints are to be finished in order of their epochs: once one is, those in flight before it are abandoned.
pub fn retain(
    store: &dyn Store,
    keep: usize,
    committed: u64,
    is_in_use: &dyn Fn(&str) -> bool,
) -> Result<Retained, Error> {
    let manifests = Manifest::list(store)?.into_iter().map(|epoch| (epoch, Manifest::read(store, epoch))).collect();
    let mut doomed = decide(&manifests, &store.list("objects/")?, keep, committed)?;
    point("retain.listed");
    // Asked after they have been listed: what is being written is noted before it is there.
    doomed.objects.retain(|object| !is_in_use(object));
    for epoch in &doomed.checkpoints {
        store.delete(&Manifest::name_at(*epoch))?;
        point("retain.manifest");
    }
    for object in &doomed.objects {
        store.delete(object)?;
        point("retain.object");
    }
    Ok(doomed)
}

/// What to remove, over what reading the manifests and listing the objects has given.
fn decide(
    manifests: &BTreeMap<u64, Result<Manifest, Error>>,
    objects: &[String],
    keep: usize,
    committed: u64,
) -> Result<Retained, Error> {
    let mut referenced = BTreeSet::new();
    let mut staying: BTreeSet<u64> = manifests.range(committed..).map(|(epoch, _)| *epoch).collect();
    for manifest in manifests.range(committed..).map(|(_, manifest)| manifest) {
        referenced.extend(objects_of(manifest)?);
    }
    let mut newest = manifests.get(&committed);
    if newest.is_none() {
        return Err(Error::usage(format!("{} is not in the store: nothing is removed", Manifest::name_at(committed))));
    }
    for _ in 1..keep {
        let Some(Ok(manifest)) = newest else { break };
        let Some(previous) = manifest.previous.filter(|epoch| *epoch < manifest.epoch) else { break };
        newest = manifests.get(&previous);
        if let Some(manifest) = newest {
            staying.insert(previous);
            referenced.extend(objects_of(manifest)?);
        }
    }
    let goes = |name: &&String| epoch_of(name).is_some_and(|e| e < committed) && !referenced.contains(name.as_str());
    Ok(Retained {
        checkpoints: manifests.keys().copied().filter(|epoch| !staying.contains(epoch)).collect(),
        objects: objects.iter().filter(goes).cloned().collect(),
    })
}

fn objects_of(manifest: &Result<Manifest, Error>) -> Result<impl Iterator<Item = &str>, Error> {
    match manifest {
        Ok(manifest) => Ok(manifest.objects.iter().map(|object| object.name.as_str())),
        Err(error) => Err(Error::corrupt(
            "a checkpoint that is to be kept",
            format!("{}; no old checkpoint is removed until it is put back, or removed by hand", error.with_causes()),
        )),
    }
}

/// The boundary for which an object was written, if its name is one that an object has.
fn epoch_of(name: &str) -> Option<u64> {
    let (digits, _) = name.strip_prefix("objects/")?.split_once('-')?;
    digits.parse().ok().filter(|_| digits.len() == 20)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::checkpoint::hooked::{Hooked, Operation};
    use crate::checkpoint::manifest::example;
    use crate::checkpoint::{Memory, ObjectRef};

    fn name(epoch: u64, sequence: u64) -> String {
        format!("objects/{epoch:020}-count-0-{sequence}-00000000")
    }

    fn object(name: String) -> ObjectRef {
        ObjectRef { name, length: 0, crc32: 0, operator: "count".into(), epoch: 0, codec: 0, chunks: Vec::new() }
    }

    /// A checkpoint at each epoch: with an object of its own, and the first one's.
    fn store(epochs: &[u64]) -> Memory {
        let store = Memory::default();
        for (i, epoch) in epochs.iter().enumerate() {
            write(&store, *epoch, i.checked_sub(1).map(|before| epochs[before]), &[*epoch, epochs[0]]);
        }
        store
    }

    fn write(store: &Memory, epoch: u64, previous: Option<u64>, objects: &[u64]) {
        store.put(&name(epoch, 0), b"").unwrap();
        example(epoch, previous, objects.iter().map(|e| object(name(*e, 0))).collect()).write(store).unwrap();
    }

    #[test]
    fn the_newest_stay_with_all_they_refer_to() {
        let store = store(&[10, 20, 30, 40]);
        let names = [name(25, 3), name(40, 1), name(45, 0), "objects/mine".into(), "objects/0-x".into()];
        names.iter().for_each(|name| store.put(name, b"").unwrap());
        let removed = retain(&store, 2, 40, &|_| false).unwrap();
        assert_eq!(removed.checkpoints, [10, 20]);
        assert_eq!(removed.objects, [name(20, 0), name(25, 3)]);
        assert_eq!(Manifest::list(&store).unwrap(), [30, 40]);
        let left = store.list("objects/").unwrap();
        assert_eq!(left.len(), 7, "{left:?}");
        assert_eq!(retain(&store, 2, 40, &|_| false).unwrap(), Retained::default());
        assert_eq!(retain(&store, 9, 40, &|_| false).unwrap(), Retained::default());
        assert_eq!(retain(&store, 0, 40, &|_| false).unwrap().checkpoints, [30]);
    }

    #[test]
    fn what_is_put_in_the_meantime_stays() {
        let in_use = Arc::new(Mutex::new(BTreeSet::new()));
        let noted = Arc::clone(&in_use);
        let busy = Hooked::new(store(&[10, 20, 30]), move |store: &Memory, operation: Operation<'_>, _: &str| {
            if let Operation::List = operation {
                noted.lock().unwrap().insert(name(15, 0));
                store.put(&name(15, 0), b"")?;
            }
            Ok(())
        });
        let removed = retain(&busy, 1, 30, &|name| in_use.lock().unwrap().contains(name)).unwrap();
        assert_eq!(removed.objects, [name(20, 0)]);
        assert!(busy.get(&name(15, 0)).is_ok());
    }

    #[test]
    fn a_checkpoint_that_was_passed_over_neither_counts_nor_takes_the_place_of_one_that_does() {
        let store = store(&[10, 20, 90]);
        write(&store, 30, Some(20), &[30]);
        assert_eq!(retain(&store, 2, 30, &|_| false).unwrap().checkpoints, [10]);
        assert_eq!(Manifest::list(&store).unwrap(), [20, 30, 90]);
        write(&store, 100, Some(30), &[100]);
        assert_eq!(retain(&store, 2, 100, &|_| false).unwrap().checkpoints, [20, 90]);
        assert_eq!(store.list("objects/").unwrap(), [name(30, 0), name(100, 0)]);
    }

    #[test]
    fn nothing_is_removed_while_one_that_stays_cannot_be_read() {
        for damaged in [20, 30, 40] {
            let store = store(&[10, 20, 30, 40]);
            store.put(&Manifest::name_at(damaged), b"torn").unwrap();
            let before = store.list("").unwrap();
            let error = retain(&store, 2, 30, &|_| false).unwrap_err();
            assert!(error.to_string().contains(&Manifest::name_at(damaged)), "{error}");
            assert_eq!(store.list("").unwrap(), before);
        }
        let store = store(&[10, 20, 30]);
        store.put(&Manifest::name_at(10), b"torn").unwrap();
        assert_eq!(retain(&store, 2, 30, &|_| false).unwrap().checkpoints, [10]);
        assert!(retain(&store, 2, 31, &|_| false).unwrap_err().to_string().contains("not in the store"));
    }
}
