//! Supervising: the program runs as processes of its own, which are started again together when one of them fails.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::stop::Stop;

/// Between two looks at the processes: short beside what a restart takes.
const LOOK: Duration = Duration::from_millis(20);

/// Before the first restart; twice as long before each further one.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Longer than this is waited for no restart.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// How long the other processes have to end by themselves when one has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The exit code of a command line that makes no sense: it makes none the next time either.
const USAGE: i32 = 2;

/// Runs so many processes, with this program's own arguments, until all have ended well, or one has failed and they
/// have been started again `restarts` times.
pub fn supervise(processes: usize, restarts: u32) -> Result<ExitCode> {
    let stop = Stop::on_signal().context("can't take note of SIGTERM")?;
    let mut again = false;
    for left in (0..=restarts).rev() {
        let mut running = Running::start(processes, again)?;
        let Some(failed) = running.finish(&stop)? else { return Ok(ExitCode::SUCCESS) };
        if left == 0 || failed.code() == Some(USAGE) || stop.is_asked() {
            return Ok(failed
                .code()
                .and_then(|code| u8::try_from(code).ok())
                .map_or(ExitCode::FAILURE, ExitCode::from));
        }
        let pause = BACK_OFF.saturating_mul(1 << (restarts - left).min(16)).min(LONGEST_BACK_OFF);
        writeln!(io::stderr(), "warning: a process has ended with {failed}: starting all again, {left} times at most")?;
        sleep(pause);
        again = true;
    }
    Ok(ExitCode::FAILURE)
}

/// The processes of one attempt. None outlives it.
struct Running(Vec<Child>);

impl Running {
    fn start(processes: usize, again: bool) -> Result<Self> {
        let program = env::current_exe().context("can't find this program")?;
        let arguments = own_arguments(env::args_os().skip(1), again);
        let mut running = Running(Vec::new());
        for process in 0..processes {
            let mut command = Command::new(&program);
            command.args(&arguments).arg(format!("--process={process}"));
            running.0.push(command.spawn().with_context(|| format!("can't start {}", program.display()))?);
        }
        Ok(running)
    }

    /// Waits until all have ended; how the first has failed, if one has. The others then end by themselves, or are
    /// ended.
    fn finish(&mut self, stop: &Stop) -> Result<Option<ExitStatus>> {
        let mut failed: Option<(ExitStatus, Instant)> = None;
        let mut told = false;
        loop {
            let mut running = 0;
            for child in &mut self.0 {
                match child.try_wait()? {
                    None => running += 1,
                    Some(status) if !status.success() => _ = failed.get_or_insert((status, Instant::now())),
                    Some(_) => {}
                }
            }
            if running == 0 {
                return Ok(failed.map(|(status, _)| status));
            }
            if stop.is_asked() && !told {
                told = true;
                self.0.iter().for_each(terminate);
            }
            if failed.is_some_and(|(_, since)| since.elapsed() > PATIENCE) {
                self.0.iter_mut().for_each(|child| _ = child.kill());
            }
            sleep(LOOK);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            _ = child.kill();
            _ = child.wait();
        }
    }
}

/// A process that has ended already is as it should be.
fn terminate(child: &Child) {
    _ = kill_process(Pid::from_child(child), Signal::TERM);
}

/// The arguments for the processes: those of this one, but for supervising.
fn own_arguments(mut arguments: impl Iterator<Item = OsString>, again: bool) -> Vec<OsString> {
    let mut own = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--supervise") => _ = arguments.next(),
            Some(text) if text.starts_with("--supervise=") => {}
            Some("--resume") if again => {}
            _ => own.push(argument),
        }
    }
    own.extend(again.then(|| "--resume".into()));
    own
}
