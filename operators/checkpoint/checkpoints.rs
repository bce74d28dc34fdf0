use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

use super::resume::resolve;
use super::writer::Writer;
use super::{CheckpointConfig, Fingerprint, Manifest, ObjectRef, Store, read_chunk};
use crate::error::Error;
use crate::keyed::{Chunk, Restore};
use crate::keyspace::{Assignment, KeyRange};

/// Where a run keeps its checkpoints, and the one it resumes from, if any. To be made once per process, before the workers
/// start: all of them must resume from the same one.
///
/// ```
/// use std::sync::Arc;
/// use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Fingerprint, Memory};
///
/// let store = Arc::new(Memory::default());
/// let fingerprint = Fingerprint::default().with("key", "station").with("epoch", "1 h");
/// let checkpoints = Checkpoints::resume(store, fingerprint, CheckpointConfig::default()).unwrap();
/// assert_eq!((checkpoints.epoch(), checkpoints.records()), (0, 0));
/// ```
#[derive(Clone)]
pub struct Checkpoints {
    store: Arc<dyn Store>,
    fingerprint: Fingerprint,
    config: CheckpointConfig,
    resumed: Option<Arc<Manifest>>,
    skipped: Arc<[String]>,
    /// The threads, workers, on which some stage takes these checkpoints.
    taken: Arc<Mutex<HashSet<ThreadId>>>,
    #[allow(dead_code, reason = "it is held to be dropped")]
    claim: Option<Arc<Claim>>,
}

/// Says that a stage of this worker takes the checkpoints, for as long as it lives.
struct Claim {
    thread: ThreadId,
    taken: Arc<Mutex<HashSet<ThreadId>>>,
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
        Ok(Self::new(store, fingerprint, config, None, Arc::new([])))
    }

    /// For a run that resumes from the newest whole checkpoint, or begins anew if the store holds none. See [`resolve`]
    /// for what is refused and what is passed over.
    pub fn resume(store: Arc<dyn Store>, fingerprint: Fingerprint, config: CheckpointConfig) -> Result<Self, Error> {
        config.validate()?;
        let resume = resolve(&*store, &fingerprint)?;
        let skipped = resume.skipped.iter().map(Error::with_causes).collect();
        Ok(Self::new(store, fingerprint, config, resume.checkpoint.map(Arc::new), skipped))
    }

    fn new(
        store: Arc<dyn Store>,
        fingerprint: Fingerprint,
        config: CheckpointConfig,
        resumed: Option<Arc<Manifest>>,
        skipped: Arc<[String]>,
    ) -> Self {
        Checkpoints { store, fingerprint, config, resumed, skipped, taken: Arc::default(), claim: None }
    }

    /// The same for one stage of this worker. An error while another one has them: each would overwrite the other's.
    pub(crate) fn claim(&self) -> Result<Self, Error> {
        let thread = std::thread::current().id();
        if !self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(thread) {
            return Err(Error::usage(
                "another stage of this worker takes these checkpoints: a checkpoint is of one stage, give each a store of its own",
            ));
        }
        let claim = Some(Arc::new(Claim { thread, taken: Arc::clone(&self.taken) }));
        Ok(Checkpoints { claim, ..self.clone() })
    }

    /// The epoch from which the run goes on: the source must send nothing before it.
    pub fn epoch(&self) -> u64 {
        self.resumed().map_or(0, |manifest| manifest.epoch)
    }

    /// Records that all operators of earlier runs together took in before that epoch. In a dataflow of one operator,
    /// that is the source's position.
    pub fn records(&self) -> u64 {
        self.resumed().map_or(0, |manifest| manifest.records)
    }

    /// Why newer checkpoints than the one resumed from can't be used: to be told to somebody.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// The checkpoint that the run resumes from.
    pub fn resumed(&self) -> Option<&Manifest> {
        self.resumed.as_deref()
    }

    /// When checkpoints are taken, and how many are kept.
    pub fn config(&self) -> &CheckpointConfig {
        &self.config
    }

    /// The assignment with which a key space is resumed on so many workers. `None` if it begins with one of its own: in a
    /// run that begins anew, and if the checkpoint has no key space of this name.
    ///
    /// A key space may get another name, and an operator may be put into another one, since states are found by their
    /// routing keys, whatever the assignment; only what the checkpoint knows of the load is lost with the name.
    pub fn assignment(&self, space: &str, workers: usize) -> Option<Result<Assignment, Error>> {
        let assignment = self.resumed()?.assignment_of(space)?;
        Some(assignment.rescaled(workers).map_err(Error::from))
    }

    pub(super) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    pub(super) fn writer(&self, wake: impl Fn() + Send + 'static) -> Result<Writer, Error> {
        Writer::new(Arc::clone(&self.store), wake)
    }

    /// The states of an operator's keys in those shards that `assignment` gives to `worker`.
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
            let chunks = Box::new(std::iter::once(Err(error)));
            return Some(Restore { epoch: manifest.epoch, parts: vec![KeyRange::ALL], chunks });
        }
        let wanted = |range: KeyRange| {
            (assignment.find(range.start())..=assignment.find(range.last())).any(|i| assignment.owner(i) == worker)
        };
        let mut chunks = Vec::new();
        for (o, object) in manifest.objects.iter().enumerate().filter(|(_, object)| object.operator == operator) {
            let of_object = object.chunks.iter().enumerate().filter(|(_, chunk)| wanted(chunk.range));
            chunks.extend(of_object.map(|(c, chunk)| (o, c, chunk.range)));
        }
        let store = Arc::clone(&self.store);
        let epoch = manifest.epoch;
        let parts = chunks.iter().map(|(_, _, range)| *range).collect();
        let chunks = chunks.into_iter().map(move |(o, c, _)| {
            let object = &manifest.objects[o];
            read(&*store, object, c, codec)
        });
        Some(Restore { epoch, parts, chunks: Box::new(chunks) })
    }
}

fn read(store: &dyn Store, object: &ObjectRef, chunk: usize, codec: u16) -> Result<Chunk, Error> {
    if object.codec != codec {
        let what =
            format!("its codec is {}, that of the operator is {codec}: use the codec that wrote it", object.codec);
        return Err(Error::incompatible(&object.name, what));
    }
    read_chunk(store, object, &object.chunks[chunk])
}
