//! Processes that run one program together, and that end when one of them has gone.
//!
//! Timely waits for ever for a process that has died. [`execute`] takes the place of `timely::execute`: it connects the
//! processes of a [`Cluster`], and tells the workers, through [`Peers`], when one of the others is lost:
//!
//! | what happens to a process | when the others know |
//! |---|---|
//! | it dies, or one of its workers fails | at once: its connections close without a word of farewell |
//! | its machine vanishes, or is cut off | after [`Cluster::silence`], when the kernel gives the connection up |
//! | it ends well, and the others go on | after [`Cluster::grace`]: they would wait for it |
//! | it never comes up | after [`Cluster::connect_timeout`] |
//!
//! Each is an [`Error::Lost`](crate::Error::Lost) that names the processes; all of them end, and whoever supervises
//! them starts them again, from the last checkpoint. A process that is stopped but whose kernel answers for it
//! (`SIGSTOP`, a debugger) is waited for.
//!
//! ```
//! use thalweg::Error;
//! use thalweg::cluster::{Cluster, execute};
//! use std::time::Duration;
//! use timely::dataflow::operators::{Inspect, Probe, ToStream};
//!
//! let counts: Vec<usize> = execute(&Cluster::of_threads(2), |worker, peers| {
//!     let probe = worker.dataflow::<u64, _, _>(|scope| (0..10).to_stream(scope).container::<Vec<_>>().probe().0);
//!     while !probe.done() {
//!         worker.step_or_park(None);
//!         peers.check()?;
//!     }
//!     Ok::<_, Error>(worker.peers())
//! })?;
//! assert_eq!(counts, [2, 2]);
//! # Ok::<(), Error>(())
//! ```

mod config;
mod connect;
mod execute;
mod framing;
mod hello;
mod peers;
mod watched;

pub use config::{Cluster, DEFAULT_CONNECT_TIMEOUT, DEFAULT_GRACE, DEFAULT_SILENCE};
pub use execute::execute;
pub use peers::Peers;
