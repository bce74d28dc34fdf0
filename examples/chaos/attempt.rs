//! One start of a run: its processes, what is done to them, and whether they ended as they should.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use thalweg::fault::{KILL, SLOW};

use crate::plan::{Fate, Leg};
use crate::replay::{LOST, Replay};

/// Between two looks at the processes: kills are spread over hundreds of times as long.
const LOOK: Duration = Duration::from_millis(1);

/// A leg that takes longer hangs, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(120);

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All of the stream has been replayed.
    Complete,
    /// It took a last checkpoint.
    Stopped,
    /// Some of its processes were killed, and so many others have said that they lost them.
    Killed { lost: u64 },
}

/// The processes of an attempt. None outlives it.
pub struct Attempt {
    children: Vec<Child>,
    /// The files that they write what they say to, without the ending.
    logs: Vec<PathBuf>,
    started: Instant,
}

impl Attempt {
    /// Starts the processes; `prepare` gives the command for each.
    pub fn start(leg: &Leg, logs: &Path, prepare: impl Fn(usize) -> Command) -> Result<Self> {
        let mut attempt = Attempt { children: Vec::new(), logs: Vec::new(), started: Instant::now() };
        for process in 0..leg.processes {
            let mut command = prepare(process);
            match &leg.fate {
                Fate::DiesAt { point, pass, victims } if victims.has(process) => {
                    command.env(KILL, format!("{point}:{pass}"));
                }
                _ => {}
            }
            if let Some((point, millis)) = leg.slow {
                command.env(SLOW, format!("{point}:{millis}"));
            }
            let log = logs.join(format!("process-{process}"));
            attempt.children.push(Replay::start(&mut command, &log)?);
            attempt.logs.push(log);
        }
        Ok(attempt)
    }

    /// Does to them what the leg says, and waits until all have ended.
    pub fn finish(mut self, fate: &Fate) -> Result<Ended> {
        let mut due = match fate {
            Fate::Dies { after, .. } | Fate::Stops { after, .. } => Some(*after),
            Fate::Completes | Fate::DiesAt { .. } => None,
        };
        let mut ends: Vec<Option<ExitStatus>> = vec![None; self.children.len()];
        while ends.iter().any(Option::is_none) {
            if due.take_if(|after| self.started.elapsed() >= *after).is_some() {
                self.strike(fate)?;
            }
            for (child, end) in self.children.iter_mut().zip(&mut ends).filter(|(_, end)| end.is_none()) {
                *end = child.try_wait()?;
            }
            if self.started.elapsed() > DEADLINE {
                bail!("it does not end");
            }
            sleep(LOOK);
        }
        let mut says = Vec::new();
        for (end, log) in ends.into_iter().flatten().zip(&self.logs) {
            let read = |kind: &str| fs::read_to_string(log.with_extension(kind)).context("can't read what it said");
            says.push(End { status: end, output: read("out")?, errors: read("err")? });
        }
        judge(fate, &says)
    }

    fn strike(&mut self, fate: &Fate) -> Result<()> {
        for (process, child) in self.children.iter_mut().enumerate() {
            match fate {
                Fate::Dies { victims, .. } if victims.has(process) => child.kill()?,
                // One that has ended already is as it should be.
                Fate::Stops { process: told, .. } if *told == process => {
                    _ = kill_process(Pid::from_child(child), Signal::TERM);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        for child in &mut self.children {
            _ = child.kill();
            _ = child.wait();
        }
    }
}

/// How a process ended, and what it said.
struct End {
    status: ExitStatus,
    output: String,
    errors: String,
}

/// Whether the processes of an attempt ended as they should.
fn judge(fate: &Fate, ends: &[End]) -> Result<Ended> {
    let victims = |process: usize| match fate {
        Fate::Dies { victims, .. } | Fate::DiesAt { victims, .. } => victims.has(process),
        Fate::Stops { process: told, .. } => *told == process,
        Fate::Completes => false,
    };
    // One that is terminated before it can take note of that is killed by it.
    let ours = [Signal::KILL, Signal::TERM].map(|signal| Some(signal.as_raw()));
    let is_killed = |(process, end): (usize, &End)| victims(process) && ours.contains(&end.status.signal());
    let killed = ends.iter().enumerate().any(is_killed);
    let mut lost = 0;
    for (process, end) in ends.iter().enumerate() {
        if end.errors.contains("panicked") {
            bail!("process {process} has panicked: {}", end.errors.trim());
        }
        match end.status.code() {
            Some(0) => {}
            Some(LOST) if killed => lost += 1,
            None if is_killed((process, end)) => {}
            _ => bail!("process {process} has ended with {}: {}", end.status, end.errors.trim()),
        }
    }
    let stopped = ends.iter().filter(|end| end.output.contains("stopped before epoch")).count();
    match stopped {
        _ if killed => Ok(Ended::Killed { lost }),
        0 => Ok(Ended::Complete),
        _ if stopped == ends.len() => Ok(Ended::Stopped),
        _ => bail!("{stopped} of {} processes have stopped, the others have gone on", ends.len()),
    }
}
