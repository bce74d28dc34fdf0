//! Operators for [timely dataflow](timely) that keep keyed, stateful dataflows balanced and recoverable while they run.
//!
//! Thalweg (TAHL-veg) is the line along which a river runs fastest. Load carves it, and it moves when the load moves.
//!
//! ```text
//!   data ──▶ gate ══routed exchange══▶ keyed operator ──▶ output          ══ routed by the assignment in force
//!             ▲                          ▲  │  │  └────▶ snapshots ──▶ store        at the message's time
//!             │                          │  │  └─chunks─▶ keyed operator (new owner)
//!             │                          │  └──reports──▶ orchestrator (worker 0)
//!             └───────── control ────────┴──◀─ feedback(lead) ◀─┘
//! ```
//!
//! Each keyed operator tells, epoch by epoch, what its shards have seen. An orchestrator on worker 0 turns that into
//! commands, which come back by a feedback edge and take effect *between* two epochs: they change the routing, move the
//! state concerned live, most of it copied ahead while it is still served, and take checkpoints. Whatever is commanded,
//! and however often the run is resumed on another number of workers, the output of each epoch is that of a plain,
//! static program.
//!
//! # A program
//!
//! What a user adds is `rebalance` in front of the keyed operator, which is given closures and not a pact:
//!
//! ```
//! use thalweg::{Config, Rebalance, stable_hash};
//! use timely::dataflow::operators::{Inspect, ToStream};
//!
//! timely::execute_directly(|worker| {
//!     worker.dataflow::<u64, _, _>(|scope| {
//!         ["Castro", "Market", "Castro"].map(String::from).to_stream(scope)
//!             .container::<Vec<_>>()
//!             .rebalance(&Config::default(), |station| stable_hash(station))?         // who: routing key
//!             .fold_keyed(|station| station.clone(), |station, trips: &mut u64, out| {
//!                 *trips += 1;
//!                 out.give((station, *trips));
//!             })
//!             .inspect(|(station, trips)| println!("{station}: {trips}"));
//!         Ok::<_, thalweg::Error>(())
//!     })
//! }).unwrap();
//! ```
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | epoch | the unit of decision: a timely timestamp, or so many ticks of finer ones: [`Epochs`] |
//! | routing key | a `u64` that the user's function gives for a record: [`stable_hash`] of a key, or an [`ordered_key`] |
//! | shard | a [`KeyRange`] that is profiled, routed and moved as one; its ends may lie at any routing key |
//! | assignment | which worker owns each shard: [`Assignment`], with [`Versions`](routing::Versions) by time |
//! | key space | an assignment with its policy, and the operators that are routed by it: [`KeySpace`] |
//! | profile | what one shard saw in one epoch, and rolling over a window of epochs: [`profile::Profile`] |
//! | boundary | the instant before an epoch: after all data before it, before any data at or after it |
//! | command | split, merge, move, fold (a hot key) or checkpoint, effective *at* a boundary: [`Command`] |
//! | policy | a pure function from profiles, and what it foresees from them, to commands: [`policy::Policy`] |
//! | lead | how many epochs lie between the epoch a command was decided from and its boundary |
//! | snapshot | the state of shards as of a time `t`: all data before `t`, none at or after it |
//! | manifest | the one small object that makes a set of snapshot objects a checkpoint: [`checkpoint::Manifest`] |
//! | position | a place in a partition of a source, from which it can be read again: [`source::ReplaySource`] |
//! | part | epochs of output that become visible at once: [`sink::EpochSink`] |
//!
//! # Parts
//!
//! [`Rebalance`] composes the parts; each is also an operator of its own, to be composed differently: [`routing::gate`]
//! and the pact [`routing::Routed`], [`keyed::keyed`] and [`keyed::keyed_pair`], [`aggregate::folding_gate`],
//! [`orchestrate::orchestrate`], [`checkpoint::save`] and [`checkpoint::commit`], [`profile::ProfileStream`]. Records
//! come in by [`source::read`] and go out by [`sink::write`], exactly once through any crash. What decides is pure and
//! knows nothing of timely: [`keyspace`], [`profile`] (but for its operator), [`forecast`], [`planning`], [`policy`],
//! [`windows`], and the triggers of [`checkpoint`]. Modules depend one way:
//!
//! ```text
//!   error, epoch, pending ◀─ keyspace, windows ◀─ profile, forecast ◀─ planning ◀─ policy ◀─ routing
//!          routing ◀─ keyed ◀─ aggregate, observe ◀─ checkpoint ◀─ source, sink, orchestrate, config ◀─ rebalance
//! ```

#![forbid(missing_docs)]
#![cfg_attr(not(feature = "abomonation"), forbid(unsafe_code))]
#![cfg_attr(feature = "abomonation", deny(unsafe_code))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

pub mod aggregate;
pub mod checkpoint;
pub mod cluster;
mod config;
mod durable;
mod epoch;
mod error;
pub mod fault;
pub mod forecast;
pub mod keyed;
pub mod keyspace;
pub mod observe;
pub mod orchestrate;
mod pending;
pub mod planning;
pub mod policy;
pub mod profile;
mod rebalance;
pub mod routing;
pub mod sink;
pub mod source;
pub mod windows;

pub use config::Config;
pub use epoch::{Epochs, Ticks};
pub use error::{Cause, Error};
pub use keyed::{Measure, Measured, Unmeasured};
pub use keyspace::{
    Applied, Assignment, Command, Handover, KeyRange, OrderedKey, RoutingError, StableHash, ordered_key, stable_hash,
};
pub use pending::Pending;
pub use rebalance::{
    DivideLate, IntoKeySpace, KeySpace, Loop, Rebalance, Rebalanced, RebalancedPair, RebalancedWindows,
};
