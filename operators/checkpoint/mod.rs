//! Checkpoints: when they are taken, what they are made of, where they are kept, and which one to resume from.
//!
//! A checkpoint at the boundary of an epoch holds the state of all operators with exactly the data before that epoch,
//! and the source's position and the assignments that belong to it. In a [`Store`] it is
//!
//! | object | what | how often |
//! |---|---|---|
//! | `objects/{epoch}-{operator}-{writer}-{sequence}-{crc32}` | chunks of one operator's state, about [`OBJECT_BYTES`] | each worker, and each merge, as many as it needs |
//! | `manifests/{epoch}.json` | the [`Manifest`]: everything else, and the names of the objects | one |
//! | `skipped/{epoch}.json` | a manifest that a run could not resume from | |
//!
//! where the numbers of epochs have 20 digits, so that names sort as epochs do.
//!
//! The protocol:
//!
//! 1. A [`Trigger`] decides on a boundary. It is a pure function of counts, and of times and forecasts that it is told;
//!    [`Hindsight`] says what that was worth.
//! 2. Each worker saves the keys that have changed since the snapshot before, and says which are gone; or all keys,
//!    where nearly all have changed. A thread of its own packs, compresses and puts them. What is put is durable when
//!    it is reported. A [`Backlog`](crate::keyed::Backlog) bounds what waits for the store.
//! 3. When all workers' objects of all [`Operators`] are durable, and sources and sinks have [`Covered`] all before the
//!    boundary, one worker writes the manifest, which refers to the objects of the checkpoint before, too. From then on
//!    the checkpoint exists; before, it does not. If anything fails, or an operator has not taken part, the checkpoint
//!    is abandoned, its objects are nobody's, and the next one saves all keys.
//! 4. The same worker removes what is no longer wanted ([`retain`]): manifests first, then objects. Checkpoints are
//!    finished in order of their epochs; one that is overtaken is abandoned.
//! 5. When a checkpoint consists of many snapshots, small ones are merged on another thread, and the next manifest
//!    refers to what has come of that.
//! 6. After a crash, [`resolve`] finds the newest checkpoint every byte of which is as it was written, and says which
//!    newer ones are not. The worker that writes manifests has the store's lock, and sets those aside. The chunks of
//!    later snapshots are read before those of earlier ones, by whoever owns their keys now: of each key the first row
//!    counts.
//!
//! Objects are immutable, so that a manifest may refer to those of earlier checkpoints, and a crash at any point of
//! this leaves either the old checkpoint or the new one, whole.

mod background;
mod chain;
mod checkpoints;
mod commit;
mod compact;
mod config;
mod cost;
mod covered;
mod directory;
mod estimate;
mod fingerprint;
mod format;
mod gather;
mod hindsight;
mod lock;
mod manifest;
mod object;
#[cfg(feature = "object-store")]
mod object_store;
mod operators;
mod packing;
mod read;
mod reference;
mod resume;
mod retain;
mod save;
mod store;
mod trigger;
mod words;
mod writer;

#[cfg(test)]
#[path = "../../tests/common/hooked.rs"]
mod hooked;

#[cfg(feature = "object-store")]
pub use self::object_store::{ObjectStore, REQUEST_TIMEOUT};
#[cfg(test)]
use crate::error::Error;
pub use checkpoints::{Checkpoints, REQUESTED};
pub use commit::commit;
pub use config::{CheckpointConfig, TriggerKind};
pub use cost::{CostModel, Costs, LEAST_HEADROOM, Prices};
pub use covered::{Covered, SourcePositions};
pub use directory::{Directory, LEFTOVER_AGE};
pub use estimate::{
    DEFAULT_CHECKPOINT_SECONDS, DEFAULT_REPLAY_RECORDS_PER_SECOND, DEFAULT_RESTORE_BYTES_PER_SECOND, RecoveryEstimate,
    SMOOTHING, Speeds,
};
pub use fingerprint::Fingerprint;
pub use format::{OBJECT_FORMAT, read_chunk, verify};
pub use hindsight::Hindsight;
pub use lock::StoreLock;
pub use manifest::{MANIFEST_FORMAT, Manifest, Space};
pub use object::{MAX_OPERATOR_NAME, OBJECT_BYTES, Object, ObjectWriter};
pub use operators::Operators;
pub use reference::{ChunkRef, ObjectRef};
pub use resume::{Resume, Skipped, resolve};
pub use retain::{Retained, retain};
pub use save::{Saved, save};
pub use store::{MAX_NAME_PART, Memory, Store, check_name};
pub use trigger::{LOOK_AHEAD, LULL, Observation, Reason, Trigger};
