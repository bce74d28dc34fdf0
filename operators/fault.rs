//! Points at which a test may kill the process, or hold it up: in the middle of a checkpoint, a move, a restore.
//!
//! They are there only with the feature `fault-points`, which is for tests. Then the environment variable [`KILL`] says
//! where the process dies: `checkpoint.manifest.before:3` kills it, by SIGKILL, when it passes that point the third
//! time. [`SLOW`] says where it takes its time, so that others get ahead of it: `sink.write.before:20` holds up whoever
//! passes that point for 20 ms, each of the first [`SLOW_PASSES`] times.

/// The environment variable that says where to die: the name of a point, a colon, and which time it is passed, from 1.
pub const KILL: &str = "THALWEG_FAULT";

/// The environment variable that says where to be slow: the name of a point, a colon, and milliseconds.
pub const SLOW: &str = "THALWEG_SLOW";

/// Enough for a run to get into disorder, and not for ever.
pub const SLOW_PASSES: u64 = 32;

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
    "retain.listed",
    "retain.manifest",
    "retain.object",
    "file.written",
    "file.create.written",
    "file.create.named",
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

/// Holds up whoever is here, or ends the process, if the environment says so.
#[cfg(feature = "fault-points")]
pub fn point(name: &'static str) {
    use std::sync::LazyLock;

    static FATAL: LazyLock<Option<Armed>> = LazyLock::new(|| Armed::read(KILL));
    static SLOWING: LazyLock<Option<Armed>> = LazyLock::new(|| Armed::read(SLOW));
    debug_assert!(name == RUN || POINTS.contains(&name), "{name} is not among the points");
    if let Some((pass, millis)) = SLOWING.as_ref().and_then(|slow| slow.pass(name))
        && pass <= SLOW_PASSES
    {
        std::thread::sleep(std::time::Duration::from_millis(millis));
    }
    if let Some((pass, fatal)) = FATAL.as_ref().and_then(|fatal| fatal.pass(name))
        && pass == fatal
    {
        // The signal can be sent to itself at any time; what follows is not reached.
        _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort();
    }
}

/// A point at which something is to happen.
#[cfg(feature = "fault-points")]
struct Armed {
    name: String,
    number: u64,
    passes: std::sync::atomic::AtomicU64,
}

#[cfg(feature = "fault-points")]
impl Armed {
    /// What an environment variable says, if it makes sense.
    fn read(variable: &str) -> Option<Self> {
        let text = std::env::var(variable).ok()?;
        let (name, number) = text.split_once(':')?;
        Some(Armed { name: name.to_owned(), number: number.parse().ok()?, passes: Default::default() })
    }

    /// Which time this point is passed, from 1, and the number that stands with it; nothing for other points.
    fn pass(&self, name: &str) -> Option<(u64, u64)> {
        let passed = || self.passes.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        (self.name == name).then(|| (passed(), self.number))
    }
}
