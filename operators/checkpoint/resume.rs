use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::fingerprint::Fingerprint;
use super::format::check;
use super::manifest::Manifest;
use super::reference::ObjectRef;
use super::store::Store;
use crate::error::Error;

/// What to resume from.
#[derive(Debug)]
pub struct Resume {
    /// The newest whole checkpoint; `None` in a store without any, where a run begins anew.
    pub checkpoint: Option<Manifest>,
    /// The newer ones, which can't be used, newest first: to be reported.
    pub skipped: Vec<Skipped>,
}

/// A checkpoint that can't be used.
#[derive(Debug)]
pub struct Skipped {
    /// Its epoch.
    pub epoch: u64,
    /// Why.
    pub error: Error,
}

/// Finds the newest checkpoint that is whole: its manifest and every byte of its objects are read and checked.
///
/// A damaged checkpoint, or one of another format, is passed over, with its error in [`Resume::skipped`], and the one
/// before it is tried: what was consumed since is replayed, so that the answer stays the same. If there are
/// checkpoints and none can be used, that is an error that lists them all: to begin anew would silently give up what
/// they held. A configuration that does not fit the newest readable manifest is an error as well, and nothing older
/// is tried: the checkpoint is in order and the run is not the one it belongs to; an older one that happened to fit
/// would bring back a state from before the configuration was changed. A store that can't be read is one, too.
///
/// The answer depends on what the store gives at this moment: ask once, and tell all workers.
pub fn resolve(store: &dyn Store, fingerprint: &Fingerprint) -> Result<Resume, Error> {
    let epochs = Manifest::list(store)?;
    let manifests = epochs.into_iter().rev().map(|epoch| (epoch, Manifest::read(store, epoch)));
    decide(manifests, |manifest| check_all(store, &manifest.objects), fingerprint)
}

/// Checks objects, several at a time. If several are damaged, the error is that of the first.
fn check_all(store: &dyn Store, objects: &[ObjectRef]) -> Result<(), Error> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(objects.len());
    let (next, first) = (AtomicUsize::new(0), Mutex::new(None::<(usize, Error)>));
    let found = || first.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        // Objects are taken in order, so that once one is found damaged, all before it have been taken.
        while found().is_none() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(object) = objects.get(index) else { return };
            let Err(error) = check(store, object) else { continue };
            let mut first = found();
            if first.as_ref().is_none_or(|(before, _)| index < *before) {
                *first = Some((index, error));
            }
        }
    };
    thread::scope(|scope| {
        // Where no more threads are to be had, fewer do it.
        (1..threads).for_each(|_| _ = thread::Builder::new().spawn_scoped(scope, work));
        work();
    });
    first.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), |(_, error)| Err(error))
}

/// The decision, over what reading the manifests, newest first, and checking the objects of one has given.
fn decide(
    manifests: impl Iterator<Item = (u64, Result<Manifest, Error>)>,
    whole: impl Fn(&Manifest) -> Result<(), Error>,
    fingerprint: &Fingerprint,
) -> Result<Resume, Error> {
    let mut skipped = Vec::new();
    let mut newest_readable = true;
    for (epoch, manifest) in manifests {
        let checked = manifest.and_then(|manifest| {
            let fits = fingerprint.check(&manifest.fingerprint, &manifest.name());
            let newest = std::mem::take(&mut newest_readable);
            match fits {
                Err(error) if newest => Ok(Err(error)),
                fits => fits.and_then(|()| whole(&manifest)).map(|()| Ok(manifest)),
            }
        });
        match checked {
            Ok(Ok(manifest)) => return Ok(Resume { checkpoint: Some(manifest), skipped }),
            Ok(Err(misfit)) => return Err(misfit),
            // It may be whole, and readable the next time: to go on from an older one would be to go back.
            Err(error @ Error::Store { .. }) => return Err(error),
            Err(error) => skipped.push(Skipped { epoch, error }),
        }
    }
    if skipped.is_empty() { Ok(Resume { checkpoint: None, skipped }) } else { Err(none_left(&skipped)) }
}

fn none_left(skipped: &[Skipped]) -> Error {
    let listed: Vec<String> = skipped.iter().map(|skipped| skipped.error.with_causes()).collect();
    let listed = listed.join("; ");
    let object = "every checkpoint in the store";
    if skipped.iter().all(|skipped| matches!(skipped.error, Error::Incompatible { .. })) {
        return Error::incompatible(object, listed);
    }
    let what = "put back from a copy what is named here, or begin anew in an empty store";
    Error::corrupt(object, format!("{listed}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::example;
    use crate::checkpoint::{Memory, ObjectWriter};
    use crate::keyed::Chunk;
    use crate::keyspace::KeyRange;

    fn fingerprint(value: u32) -> Fingerprint {
        Fingerprint::default().with("key", value)
    }

    fn at(epoch: u64, value: u32) -> Result<Manifest, Error> {
        Ok(Manifest { fingerprint: fingerprint(value), ..example(epoch, None, Vec::new()) })
    }

    fn damaged(epoch: u64) -> Result<Manifest, Error> {
        Err(Error::corrupt(Manifest::name_at(epoch), "torn"))
    }

    fn torn_at(epochs: &[u64]) -> impl Fn(&Manifest) -> Result<(), Error> {
        |manifest| {
            if epochs.contains(&manifest.epoch) { Err(Error::corrupt("objects/x", "torn")) } else { Ok(()) }
        }
    }

    fn resumed(manifests: Vec<Result<Manifest, Error>>, torn: &[u64]) -> Result<(Option<u64>, usize), Error> {
        let manifests = manifests.into_iter().map(|manifest| (manifest.as_ref().map_or(0, |m| m.epoch), manifest));
        let resume = decide(manifests, torn_at(torn), &fingerprint(1))?;
        Ok((resume.checkpoint.map(|m| m.epoch), resume.skipped.len()))
    }

    #[test]
    fn the_newest_whole_checkpoint_is_taken() {
        assert_eq!(resumed(vec![], &[]).unwrap(), (None, 0));
        assert_eq!(resumed(vec![at(9, 1), at(8, 1)], &[]).unwrap(), (Some(9), 0));
        assert_eq!(resumed(vec![damaged(9), at(8, 1)], &[]).unwrap(), (Some(8), 1));
        assert_eq!(resumed(vec![damaged(9), at(8, 1), at(7, 1)], &[8]).unwrap(), (Some(7), 2));
        assert_eq!(resumed(vec![at(9, 1), damaged(8)], &[]).unwrap(), (Some(9), 0));
    }

    #[test]
    fn a_misfit_of_the_newest_readable_one_is_an_error_and_of_an_older_one_is_not() {
        for manifests in [vec![at(9, 2), at(8, 1)], vec![damaged(9), at(8, 2), at(7, 1)]] {
            let error = resumed(manifests, &[]).unwrap_err();
            assert!(matches!(error, Error::Incompatible { .. }) && error.to_string().contains("key was"), "{error}");
        }
        assert!(matches!(resumed(vec![at(9, 2), at(8, 1)], &[9]), Err(Error::Incompatible { .. })));
        assert_eq!(resumed(vec![at(9, 1), at(8, 2), at(7, 1)], &[9]).unwrap(), (Some(7), 2));
    }

    #[test]
    fn checkpoints_none_of_which_can_be_used_are_an_error_that_lists_them() {
        let error = resumed(vec![damaged(9), at(8, 1)], &[8]).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Corrupt { .. }), "{text}");
        assert!(text.contains("09.json is damaged: torn; objects/x is damaged: torn: put back"), "{text}");
        let foreign = vec![Err(Error::incompatible("m9", "format 9")), Err(Error::incompatible("m8", "format 9"))];
        let error = resumed(foreign, &[]).unwrap_err();
        assert!(matches!(error, Error::Incompatible { .. }) && error.to_string().contains("m8"), "{error}");
    }

    #[test]
    fn of_several_damaged_objects_the_first_is_named() {
        let store = Memory::default();
        let objects: Vec<ObjectRef> = (0..40)
            .map(|worker| {
                let mut writer = ObjectWriter::new(7, worker, 0).unwrap();
                let chunk = Chunk { range: KeyRange::ALL, last: true, keys: 1, bytes: vec![7; 100] };
                writer.push("count", &chunk).unwrap();
                let object = writer.finish().remove(0);
                store.put(&object.reference.name, &object.bytes).unwrap();
                object.reference
            })
            .collect();
        check_all(&store, &objects).unwrap();
        check_all(&store, &[]).unwrap();
        for damaged in [39, 20, 11, 1, 0] {
            store.put(&objects[damaged].name, b"torn").unwrap();
            let error = check_all(&store, &objects).unwrap_err();
            assert!(error.to_string().contains(&objects[damaged].name), "{error}");
        }
    }
}
