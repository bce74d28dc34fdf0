//! Points at which a test may kill the process: in the middle of a checkpoint, a move, a restore.
//!
//! They are there only with the feature `fault-points`, which is for tests. Then the environment variable
//! [`VARIABLE`] says where: `checkpoint.manifest.before:3` kills the process, by SIGKILL, when it passes that point the
//! third time.

/// The environment variable that says where to die: the name of a point, a colon, and which time it is passed, from 1.
pub const VARIABLE: &str = "THALWEG_FAULT";

/// Whether the points are compiled in.
pub const ENABLED: bool = cfg!(feature = "fault-points");

/// A run begins. Every process passes it once: to see whether a program has points at all.
pub const RUN: &str = "run";

/// The names of the points, but for [`RUN`].
pub const POINTS: &[&str] = &[
    "checkpoint.chunk",
    "checkpoint.object.before",
    "checkpoint.object.after",
    "checkpoint.manifest.before",
    "checkpoint.manifest.after",
    "compact.object.before",
    "compact.object.after",
    "retain.manifest",
    "retain.object",
    "migrate.sent",
    "migrate.taken",
    "restore.chunk",
    "sink.write.before",
    "sink.write.after",
    "sink.publish.before",
    "sink.publish.joined",
    "sink.publish.after",
];

/// Without the feature, nothing.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub fn point(_: &'static str) {}

/// Ends the process here if the environment says so.
#[cfg(feature = "fault-points")]
pub fn point(name: &'static str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static FATAL: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (name, pass) = text.split_once(':')?;
        Some((name.to_owned(), pass.parse().ok()?))
    });
    static PASSES: AtomicU64 = AtomicU64::new(0);
    debug_assert!(name == RUN || POINTS.contains(&name), "{name} is not among the points");
    if let Some((_, pass)) = FATAL.as_ref().filter(|(fatal, _)| fatal == name)
        && PASSES.fetch_add(1, Ordering::Relaxed) + 1 == *pass
    {
        // The signal can be sent to itself at any time; what follows is not reached.
        _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort();
    }
}
