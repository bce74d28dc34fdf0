//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Kills runs of `replay` at random, resumes them in another shape, and compares their output with that of a run that
/// nothing happened to, byte by byte.
///
/// A run is of one to three processes. It is killed by SIGKILL, all processes at once or one of them, at a random time
/// or when it passes a named point of a checkpoint, a move, a restore or a commit, or it is stopped by SIGTERM; then it
/// is resumed with other numbers of workers and processes, until it ends. Some are held up at such points besides.
/// Where one process is killed, the others must end by themselves and say so. All of that is decided by the run's seed;
/// at which record a kill by time comes is up to the machine.
///
/// The last line is JSON: `runs`, `legs` (starts of a run), `kills` by point, `stops`, `lost` (processes that ended
/// since another one was killed), `wrong` (seeds), and `median_recovery_ratio`. The recovery ratio of a leg is the time
/// from its start to the first output that the run had not given before, less what it takes its processes to come up,
/// over what a recovery should take: bytes of the checkpoint ÷ the bandwidth with which they can be read, plus records
/// up to that output × the time that each takes in a run that nothing happens to. What it takes to come up is the
/// median over the legs of as many processes that began anew, of the time to their first output less that of its
/// records.
///
/// Exits with 1, and keeps their directories, if any run was wrong: if its output differs, it does not end, or it ends
/// with an error.
#[derive(Clone, Debug, Parser)]
#[command(name = "chaos", version, max_term_width = 100)]
pub struct Arguments {
    /// Runs, each with a seed of its own.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,

    /// The first seed; the others follow.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Keep the directories of wrong runs here. [default: a directory for temporary files]
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,

    /// Runs at a time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub jobs: u64,

    /// Kills per run, at most.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(..=100))]
    pub kills: u64,

    /// The `replay` to run. [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,

    /// Each run uses some of the ports from this one on.
    #[arg(long, default_value_t = 21_000, value_parser = clap::value_parser!(u16).range(1024..=60_000))]
    pub port: u16,
}
