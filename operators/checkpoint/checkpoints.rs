use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::ThreadId;

use super::compact::{Compactor, Merges};
use super::lock::StoreLock;
use super::read::{Chunks, Wanted};
use super::resume::resolve;
use super::writer::Writer;
use super::{CheckpointConfig, Fingerprint, Manifest, ObjectRef, Operators, Store};
use crate::error::Error;
use crate::keyed::{Backlog, Merge, Restore, Restored};
use crate::keyspace::{Assignment, KeyRange};

/// The reason of a checkpoint that the program has asked for by [`Checkpoints::request`].
pub const REQUESTED: &str = "requested";

/// Where a run keeps its checkpoints, and the one it resumes from, if any. To be made once per process, before the
/// workers start: all of them must resume from the same one.
///
/// ```
/// use std::sync::Arc;
/// use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Fingerprint, Memory};
///
/// let store = Arc::new(Memory::default());
/// let fingerprint = Fingerprint::default().with("key", "station").with("epoch", "1 h");
/// let checkpoints = Checkpoints::resume(store, fingerprint, CheckpointConfig::default()).unwrap();
/// assert_eq!((checkpoints.epoch(), checkpoints.records()), (0, Some(0)));
/// ```
#[derive(Clone)]
pub struct Checkpoints {
    store: Arc<dyn Store>,
    fingerprint: Fingerprint,
    config: CheckpointConfig,
    resumed: Option<Arc<Manifest>>,
    /// The run goes on with another, even if that has left no checkpoint.
    resuming: bool,
    /// By epoch.
    skipped: Arc<BTreeMap<u64, String>>,
    /// The program has asked for a checkpoint.
    requested: Arc<AtomicBool>,
    /// How the states of the operators that run are merged.
    merges: Arc<Mutex<Merges>>,
    backlog: Arc<Backlog>,
    /// The threads, workers, on which some loop takes these checkpoints.
    taken: Arc<Mutex<HashSet<ThreadId>>>,
    #[allow(dead_code, reason = "it is held to be dropped")]
    claim: Option<Arc<Claim>>,
}

/// Says that a loop of this worker takes the checkpoints, for as long as it lives.
struct Claim {
    thread: ThreadId,
    taken: Arc<Mutex<HashSet<ThreadId>>>,
    #[allow(dead_code, reason = "it is held to be dropped")]
    lock: Option<StoreLock>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.thread);
    }
}

impl fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoints")
            .field("fingerprint", &self.fingerprint)
            .field("config", &self.config)
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}

impl Checkpoints {
    /// For a run that begins with no state. Refuses a store that holds checkpoints already.
    pub fn begin(store: Arc<dyn Store>, fingerprint: Fingerprint, config: CheckpointConfig) -> Result<Self, Error> {
        config.validate()?;
        if let Some(epoch) = Manifest::list(&*store)?.last() {
            return Err(Error::usage(format!(
                "the store holds a checkpoint of epoch {epoch} already: resume from it, or give an empty store"
            )));
        }
        Ok(Self::new(store, fingerprint, config, None, Arc::default()))
    }

    /// For a run that resumes from the newest whole checkpoint, or begins anew if the store holds none. See [`resolve`]
    /// for what is refused and what is passed over.
    pub fn resume(store: Arc<dyn Store>, fingerprint: Fingerprint, config: CheckpointConfig) -> Result<Self, Error> {
        config.validate()?;
        let resume = resolve(&*store, &fingerprint)?;
        let skipped: BTreeMap<_, _> = resume.skipped.iter().map(|s| (s.epoch, s.error.with_causes())).collect();
        let resumed = resume.checkpoint.map(Arc::new);
        Ok(Checkpoints { resuming: true, ..Self::new(store, fingerprint, config, resumed, Arc::new(skipped)) })
    }

    fn new(
        store: Arc<dyn Store>,
        fingerprint: Fingerprint,
        config: CheckpointConfig,
        resumed: Option<Arc<Manifest>>,
        skipped: Arc<BTreeMap<u64, String>>,
    ) -> Self {
        let backlog = Arc::new(Backlog::new(config.backlog_bytes));
        let (requested, merges, taken) = Default::default();
        Checkpoints {
            store,
            fingerprint,
            config,
            resumed,
            resuming: false,
            skipped,
            requested,
            merges,
            backlog,
            taken,
            claim: None,
        }
    }

    /// The same for one loop of this worker. An error while another one has them: each would overwrite the other's. The
    /// worker that `commits`, one of the run, has the store's lock as well, for as long as the loop lives.
    pub(crate) fn claim(&self, commits: bool) -> Result<Self, Error> {
        let thread = std::thread::current().id();
        if !self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(thread) {
            return Err(Error::usage(
                "another loop of this worker takes these checkpoints, and a checkpoint is of one loop: \
                 put all key spaces that are to be checkpointed together into one, or give each loop a store of its own",
            ));
        }
        let mut claim = Claim { thread, taken: Arc::clone(&self.taken), lock: None };
        if commits {
            claim.lock = self.store.lock()?;
            self.check_newest()?;
            self.skipped.keys().try_for_each(|epoch| Manifest::set_aside(&*self.store, *epoch))?;
        }
        let backlog = Arc::new(Backlog::new(self.config.backlog_bytes));
        Ok(Checkpoints { claim: Some(Arc::new(claim)), backlog, ..self.clone() })
    }

    /// Refuses a store in which there are other checkpoints than when it was asked what to resume from.
    fn check_newest(&self) -> Result<(), Error> {
        let resumed = self.resumed().map(|manifest| manifest.epoch);
        match Manifest::list(&*self.store)?.into_iter().find(|e| Some(*e) > resumed && !self.has_skipped(*e)) {
            Some(epoch) => Err(Error::usage(format!(
                "another run has written {} since this one began: begin again, and resume from that",
                Manifest::name_at(epoch)
            ))),
            None => Ok(()),
        }
    }

    /// The number of the epoch from which the run goes on: the source must send nothing before its start.
    pub fn epoch(&self) -> u64 {
        self.resumed().map_or(0, |manifest| manifest.epoch)
    }

    /// The source's position: the records that earlier runs took in before that epoch. It is known only where one
    /// operator with one input takes part, right behind the source; otherwise the source finds its position by the
    /// epoch.
    pub fn records(&self) -> Option<u64> {
        self.resumed().map_or(Some(0), |manifest| manifest.records)
    }

    /// Asks for a checkpoint as soon as an epoch is complete, before the program ends, say. It may be asked for on any
    /// process, and several requests in an epoch are one; what has become of it is told with the reason [`REQUESTED`].
    ///
    /// The source must go on until then: what a checkpoint holds is complete before its boundary.
    pub fn request(&self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    /// Whether there has been a request since the last call.
    pub(crate) fn take_request(&self) -> bool {
        self.requested.load(Ordering::Relaxed) && self.requested.swap(false, Ordering::Relaxed)
    }

    /// Why newer checkpoints than the one resumed from can't be used, newest first: to be told to somebody.
    pub fn skipped(&self) -> impl Iterator<Item = &str> {
        self.skipped.values().rev().map(String::as_str)
    }

    /// Whether there is a checkpoint of this epoch that was passed over, so that another may take its place.
    pub(super) fn has_skipped(&self, epoch: u64) -> bool {
        self.skipped.contains_key(&epoch)
    }

    /// The checkpoint that the run resumes from.
    pub fn resumed(&self) -> Option<&Manifest> {
        self.resumed.as_deref()
    }

    /// Whether the run goes on with an earlier one, even one that has left no checkpoint: so that sinks may find output
    /// of it.
    pub fn is_resuming(&self) -> bool {
        self.resuming
    }

    /// When checkpoints are taken, and how many are kept.
    pub fn config(&self) -> &CheckpointConfig {
        &self.config
    }

    /// The assignment with which a key space is resumed on so many workers. `None` if it begins with one of its own: in
    /// a run that begins anew, and if the checkpoint has no key space of this name.
    ///
    /// A key space may get another name, and an operator may be put into another one, since states are found by their
    /// routing keys, whatever the assignment; only what had been done about the load is lost with the name. Whether the
    /// operators are those of the checkpoint is for [`check_operators`](Checkpoints::check_operators) to say.
    pub fn assignment(&self, space: &str, workers: usize) -> Option<Result<Assignment, Error>> {
        let assignment = self.resumed()?.assignment_of(space)?;
        Some(assignment.rescaled(workers).map_err(Error::from))
    }

    /// Refuses operators that take part in the run's checkpoints, but are not those of the one that it resumes from.
    /// Both ways the answer would be wrong without a word: states of an operator that the run does not have would be
    /// lost, and an operator that the checkpoint does not know would begin without what was consumed before it. An
    /// error as well if there are none at all.
    pub fn check_operators(&self, operators: &Operators) -> Result<(), Error> {
        if operators.names().next().is_none() {
            return Err(Error::usage("no operator takes part in the checkpoints: add one, or take no checkpoints"));
        }
        self.resumed().map_or(Ok(()), |manifest| operators.check(manifest))
    }

    pub(super) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    pub(super) fn writer(&self, wake: impl Fn() + Send + 'static) -> Result<Writer, Error> {
        Writer::new(Arc::clone(&self.store), wake)
    }

    pub(super) fn compactor(&self) -> Compactor {
        Compactor::new(Arc::clone(&self.store))
    }

    /// What of this worker's snapshots the store has not taken yet.
    pub(crate) fn backlog(&self) -> &Arc<Backlog> {
        &self.backlog
    }

    /// Says how the states of an operator are merged.
    pub(crate) fn merge_by(&self, operator: &str, merge: Merge) {
        self.lock_merges().insert(operator.to_owned(), merge);
    }

    pub(super) fn merges(&self) -> Merges {
        self.lock_merges().clone()
    }

    fn lock_merges(&self) -> MutexGuard<'_, Merges> {
        self.merges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The states of an operator's keys in those shards that `assignment` gives to `worker`; `None` in a run that
    /// begins anew.
    pub(crate) fn restore(
        &self,
        operator: &str,
        codec: u16,
        assignment: &Assignment,
        worker: usize,
    ) -> Option<Restore> {
        let manifest = Arc::clone(self.resumed.as_ref()?);
        if !manifest.operators().any(|known| known == operator) {
            let known: Vec<&str> = manifest.operators().collect();
            let what = format!("it has no states of {operator:?}, only of {known:?}: name the operator as before");
            let error = Error::incompatible(manifest.name(), what);
            return Some(Restore { epoch: manifest.epoch, parts: vec![KeyRange::ALL], chunks: failed(error) });
        }
        let is_wanted = |range: KeyRange| {
            (assignment.find(range.start())..=assignment.find(range.last())).any(|i| assignment.owner(i) == worker)
        };
        let objects = manifest.objects.iter().filter(|object| object.operator == operator);
        let mut objects: Vec<Arc<ObjectRef>> = objects.cloned().map(Arc::new).collect();
        objects.sort_by_key(|object| Reverse(object.epoch));
        let wanted: Vec<Wanted> = objects.iter().filter_map(|object| Wanted::of(object, is_wanted)).collect();
        let range_of =
            |wanted: &Wanted| wanted.chunks.iter().map(|c| wanted.object.chunks[*c].range).collect::<Vec<_>>();
        let parts = wanted.iter().flat_map(range_of).collect();
        let chunks = match objects.iter().find(|object| object.codec != codec) {
            Some(object) => Err(foreign(object, codec)),
            None => Chunks::new(Arc::clone(&self.store), wanted).ahead(),
        };
        let chunks: Restored = match chunks {
            Ok(chunks) => Box::new(chunks),
            Err(error) => failed(error),
        };
        Some(Restore { epoch: manifest.epoch, parts, chunks })
    }
}

fn failed(error: Error) -> Restored {
    Box::new(std::iter::once(Poll::Ready(Err(error))))
}

fn foreign(object: &ObjectRef, codec: u16) -> Error {
    let what = format!("its codec is {}, that of the operator is {codec}: use the codec that wrote it", object.codec);
    Error::incompatible(&object.name, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Memory;
    use crate::checkpoint::manifest::example;

    /// A run that resumes from a checkpoint at epoch 7 of `count`, `join` and `sum`.
    fn resumed() -> Checkpoints {
        let (store, manifest) = (Memory::default(), example(7, None, Vec::new()));
        manifest.write(&store).unwrap();
        Checkpoints::resume(Arc::new(store), manifest.fingerprint, CheckpointConfig::default()).unwrap()
    }

    fn operators(names: &[&str]) -> Operators {
        let mut operators = Operators::default();
        names.iter().for_each(|name| operators.add(name, "keys", 1).unwrap());
        operators
    }

    #[test]
    fn each_key_space_is_resumed_with_its_own_assignment() {
        let resumed = resumed();
        let shape =
            |space, workers| resumed.assignment(space, workers).map(|a| a.map(|a| (a.len(), a.workers())).unwrap());
        assert_eq!([shape("keys", 2), shape("users", 4), shape("count", 2)], [Some((3, 2)), Some((5, 4)), None]);
        assert!(matches!(resumed.assignment("keys", 0), Some(Err(Error::Usage { .. }))));
    }

    #[test]
    fn operators_are_checked_against_the_checkpoint_if_there_is_one() {
        let begun =
            Checkpoints::begin(Arc::new(Memory::default()), Fingerprint::default(), CheckpointConfig::default())
                .unwrap();
        assert!(begun.assignment("keys", 2).is_none());
        begun.check_operators(&operators(&["any"])).unwrap();
        resumed().check_operators(&operators(&["count", "join", "sum"])).unwrap();
        let error = resumed().check_operators(&operators(&["count", "join"])).unwrap_err();
        assert!(matches!(error, Error::Incompatible { .. }) && error.to_string().contains("sum"), "{error}");
        for checkpoints in [begun, resumed()] {
            let error = checkpoints.check_operators(&operators(&[])).unwrap_err();
            assert!(matches!(error, Error::Usage { .. }), "{error}");
        }
    }

    #[test]
    fn an_operator_that_the_checkpoint_does_not_know_is_given_an_error_and_no_states() {
        let assignment = Assignment::even(2, 1).unwrap();
        let mut restore = resumed().restore("Count", 0, &assignment, 0).unwrap();
        let Some(Poll::Ready(Err(error))) = restore.chunks.next() else { panic!("there are no states") };
        assert!(error.to_string().contains("name the operator as before"), "{error}");
        assert!(resumed().restore("count", 0, &assignment, 0).unwrap().chunks.all(|chunk| chunk.is_pending()));
    }

    fn begun(store: &Memory) -> Result<Checkpoints, Error> {
        Checkpoints::begin(Arc::new(store.clone()), Fingerprint::default(), CheckpointConfig::default())
    }

    #[test]
    fn one_run_has_a_store_and_the_worker_that_commits_holds_it() {
        let store = Memory::default();
        let [first, second] = [0, 1].map(|_| begun(&store).unwrap());
        let claim = first.claim(true).unwrap();
        let error = second.claim(true).unwrap_err();
        assert!(matches!(error, Error::Usage { .. }) && error.to_string().contains("another run"), "{error}");
        drop(second.claim(false).unwrap());
        drop(claim);
        drop(second.claim(true).unwrap());
        first.claim(true).unwrap();
    }

    #[test]
    fn checkpoints_that_came_since_are_another_run_s() {
        let store = Memory::default();
        let late = begun(&store).unwrap();
        let manifest = example(7, None, Vec::new());
        manifest.write(&store).unwrap();
        let error = late.claim(true).unwrap_err();
        assert!(
            matches!(error, Error::Usage { .. }) && error.to_string().contains("has written manifests/"),
            "{error}"
        );
        store.put(&Manifest::name_at(9), b"torn").unwrap();
        let resume =
            || Checkpoints::resume(Arc::new(store.clone()), manifest.fingerprint.clone(), CheckpointConfig::default());
        let resumed = resume().unwrap();
        assert_eq!((resumed.epoch(), resumed.has_skipped(9), resumed.has_skipped(7)), (7, true, false));
        assert!(resumed.skipped().all(|why| why.contains("09.json is damaged")) && resumed.skipped().count() == 1);
        drop(resumed.claim(true).unwrap());
        store.put(&Manifest::name_at(8), b"torn").unwrap();
        resumed.claim(true).unwrap_err();
        drop(resume().unwrap().claim(true).unwrap());
    }
}
