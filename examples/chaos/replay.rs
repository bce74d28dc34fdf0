//! The program that is killed.

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use thalweg::fault::{KILL, POINTS, RUN, SLOW};

/// How `replay` ends when another process is gone.
pub const LOST: i32 = 3;

/// Records of a run, which take a little longer than kills are spread over.
const STREAM: [&str; 3] = ["--records=12000", "--keys=200", "--epoch=4h"];

/// Where `replay` is.
#[derive(Clone, Debug)]
pub struct Replay {
    program: PathBuf,
    points: &'static [&'static str],
}

impl Replay {
    /// The program given, or the one beside this one.
    pub fn find(given: Option<&Path>) -> Result<Self> {
        let beside = || Some(env::current_exe().ok()?.with_file_name("replay"));
        let program = given.map(Path::to_owned).or_else(beside).context("can't find out where this program is")?;
        if !program.is_file() {
            let name = program.display();
            bail!("{name} is not there: build it with `cargo build --example replay`, in the same profile");
        }
        let mut replay = Replay { program, points: POINTS };
        let mut probe = replay.command(0);
        probe.arg("--workers=1").env(KILL, format!("{RUN}:1"));
        let status = probe.status().with_context(|| format!("can't run {}", replay.name()))?;
        if status.code().is_some() {
            replay.points = &[];
        }
        Ok(replay)
    }

    pub fn name(&self) -> String {
        self.program.display().to_string()
    }

    pub fn has_fault_points(&self) -> bool {
        !self.points.is_empty()
    }

    /// The points at which it can be killed.
    pub fn points(&self) -> &'static [&'static str] {
        self.points
    }

    /// Replays a stream, with nobody listening.
    pub fn command(&self, stream: u64) -> Command {
        let mut command = Command::new(&self.program);
        command.args(STREAM).arg(format!("--seed={stream}"));
        command.env_remove(KILL).env_remove(SLOW).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts a process, and writes what it says into files that begin with `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Child> {
        let file = |end: &str| {
            let path = log.with_extension(end);
            File::create(&path).with_context(|| format!("can't write {}", path.display()))
        };
        command.stdout(file("out")?).stderr(file("err")?).spawn().context("can't start a process")
    }
}
