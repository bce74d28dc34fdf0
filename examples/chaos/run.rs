//! A run: legs until it is complete, and the comparison of what it leaves behind.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::arguments::Arguments;
use crate::attempt::{Attempt, Ended};
use crate::output::Output;
use crate::plan::{Fate, LAYOUTS, Leg, Plan, STREAMS, Victims};
use crate::recovery::{Start, Steady, Timing, visible};
use crate::replay::Replay;

/// Records that a run takes in a second, at most: so a run lasts a little longer than kills are spread over.
const RATE: u64 = 20_000;

/// Seconds for which a process waits for one that may have been killed before it came up.
const CONNECT_TIMEOUT: u64 = 5;

/// Ports for the runs of one job: those of legs that have just ended may still be taken.
const PORTS: u16 = 60;

/// What all runs share.
pub struct Workshop {
    replay: Replay,
    kills: u64,
    port: u16,
    /// By stream and layout, what a run that nothing happens to leaves behind.
    expected: Vec<Vec<Output>>,
    /// By stream, what such a run is like.
    steady: Vec<Steady>,
    root: PathBuf,
    #[allow(dead_code, reason = "it is held to be removed")]
    temporary: Option<TempDir>,
}

/// What has come of a run.
#[derive(Debug)]
pub struct Outcome {
    pub legs: u64,
    /// Where it was killed.
    pub kills: Vec<String>,
    pub stops: u64,
    pub lost: u64,
    pub timings: Vec<Timing>,
    pub verdict: Result<()>,
}

impl Workshop {
    /// Runs each stream once, with nothing happening to it.
    pub fn new(arguments: &Arguments, replay: Replay) -> Result<Self> {
        let (root, temporary) = match &arguments.results {
            Some(root) => (root.clone(), None),
            None => {
                let temporary = tempfile::tempdir().context("can't make a directory for temporary files")?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let Arguments { kills, port, .. } = *arguments;
        let (expected, steady) = (Vec::new(), Vec::new());
        let mut workshop = Workshop { replay, kills, port, expected, steady, root, temporary };
        for stream in 0..STREAMS {
            let mut expected = Vec::new();
            for (layout, epochs) in LAYOUTS.into_iter().enumerate() {
                let (output, steady) = workshop.run_in_peace(stream, layout)?;
                expected.push(output);
                workshop.steady.extend((epochs == 1).then_some(steady));
            }
            workshop.expected.push(expected);
        }
        Ok(workshop)
    }

    /// A run that nothing happens to.
    fn run_in_peace(&self, stream: u64, layout: usize) -> Result<(Output, Steady)> {
        let folder = Folder::new(&self.root.join(format!("expected-{stream}")))?;
        let plan = Plan { stream, layout, ..Plan::new(0, 0, &[]) };
        let events = folder.0.join("events");
        let prepare = |_| {
            let mut command = self.replay.command(stream);
            command.args(folder.arguments(&Plan { when: "epoch", ..plan.clone() }));
            command.args(["--workers=1", "--policy=static"]).arg(format!("--rate={RATE}"));
            command.arg(format!("--events={}", events.display()));
            command
        };
        let attempt = Attempt::start(&Leg { processes: 1, ..plan.legs[0].clone() }, &folder.0, prepare)?;
        attempt.finish(&Fate::Completes).context("a run that nothing happens to has failed")?;
        let steady = Steady::new(&events, &visible(&folder.output())?)?;
        let output = folder.read()?;
        folder.remove()?;
        Ok((output, steady))
    }
}

/// Where a run is kept.
struct Folder(PathBuf);

impl Folder {
    fn new(path: &Path) -> Result<Self> {
        if path.exists() {
            fs::remove_dir_all(path).with_context(|| format!("can't remove {}", path.display()))?;
        }
        let folder = Folder(path.to_owned());
        for directory in [folder.output(), folder.results()] {
            fs::create_dir_all(&directory).with_context(|| format!("can't make {}", directory.display()))?;
        }
        Ok(folder)
    }

    fn output(&self) -> PathBuf {
        self.0.join("output")
    }

    fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    fn results(&self) -> PathBuf {
        self.0.join("results")
    }

    fn read(&self) -> Result<Output> {
        Output::read(&[&self.output(), &self.results()])
    }

    fn arguments(&self, plan: &Plan) -> [String; 6] {
        [
            format!("--checkpoint={}", self.store().display()),
            "--resume".to_owned(),
            format!("--results={}", self.results().join("results.csv").display()),
            format!("--output={}", self.output().display()),
            format!("--output-when={}", plan.when),
            format!("--output-epochs={}", LAYOUTS[plan.layout]),
        ]
    }

    fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.0).with_context(|| format!("can't remove {}", self.0.display()))
    }
}

/// Carries out what a seed says. `job` is one of those that run at the same time.
pub fn run(workshop: &Workshop, job: u64, seed: u64) -> Outcome {
    let plan = Plan::new(seed, workshop.kills, workshop.replay.points());
    let mut outcome = Outcome { legs: 0, kills: Vec::new(), stops: 0, lost: 0, timings: Vec::new(), verdict: Ok(()) };
    let path = workshop.root.join(format!("seed-{seed}"));
    let mut told = String::new();
    outcome.verdict = carry_out(workshop, job, &plan, &path, &mut outcome, &mut told);
    if let Err(wrong) = &outcome.verdict {
        // Where the directory can't be written, what is wrong is told all the same.
        _ = fs::write(path.join("legs.txt"), format!("{told}{wrong:#}\n"));
    }
    outcome
}

fn carry_out(
    workshop: &Workshop,
    job: u64,
    plan: &Plan,
    path: &Path,
    outcome: &mut Outcome,
    told: &mut String,
) -> Result<()> {
    let folder = Folder::new(path)?;
    for (number, leg) in plan.legs.iter().enumerate() {
        outcome.legs += 1;
        *told += &format!("leg {number}: {leg}\n");
        let logs = folder.0.join(format!("leg-{number}"));
        fs::create_dir_all(&logs)?;
        let hosts = logs.join("hosts");
        fs::write(&hosts, workshop.addresses(job, number, leg.processes))?;
        let prepare = |process: usize| {
            let mut command = workshop.replay.command(plan.stream);
            command.args(folder.arguments(plan)).args([
                format!("--trigger=every:{}", plan.every),
                format!("--policy=restless:{}", leg.commands),
                format!("--lead={}", leg.lead),
                format!("--rate={RATE}"),
                "--chunk-bytes=200".to_owned(),
                format!("--connect-timeout={CONNECT_TIMEOUT}"),
                format!("--workers={}", leg.workers),
                format!("--processes={}", leg.processes),
                format!("--process={process}"),
                format!("--hostfile={}", hosts.display()),
            ]);
            command
        };
        let (before, start) = (visible(&folder.output())?, Start::new(&folder.store())?);
        let ended = Attempt::start(leg, &logs, prepare)?.finish(&leg.fate);
        if plan.when == "epoch" && LAYOUTS[plan.layout] == 1 {
            let steady = &workshop.steady[plan.stream as usize];
            outcome.timings.extend(steady.timing(&start, leg.processes, &before, &visible(&folder.output())?));
        }
        match ended.with_context(|| format!("leg {number} ({leg})"))? {
            Ended::Complete => return compare(workshop, plan, folder),
            Ended::Stopped => outcome.stops += 1,
            Ended::Killed { lost } => {
                outcome.lost += lost;
                outcome.kills.push(point(&leg.fate));
            }
        }
    }
    bail!("the last leg is not complete")
}

fn compare(workshop: &Workshop, plan: &Plan, folder: Folder) -> Result<()> {
    workshop.expected[plan.stream as usize][plan.layout].check(&folder.read()?)?;
    folder.remove()
}

/// Where a leg was killed, as it is counted.
fn point(fate: &Fate) -> String {
    match fate {
        Fate::DiesAt { point, .. } => (*point).to_owned(),
        Fate::Dies { victims: Victims::All, .. } => "time, all".to_owned(),
        Fate::Dies { .. } => "time, one".to_owned(),
        Fate::Stops { .. } | Fate::Completes => "while starting".to_owned(),
    }
}

impl Workshop {
    /// A line for each process, with a port that nobody listens on.
    fn addresses(&self, job: u64, leg: usize, processes: usize) -> String {
        let first = self.port + job as u16 * PORTS;
        let mut ports = (0..PORTS).map(|port| first + (port + leg as u16 * 7) % PORTS);
        let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
        ports.by_ref().filter(is_free).take(processes).map(|port| format!("127.0.0.1:{port}\n")).collect()
    }
}
