//! What is to happen to a run: decided by its seed, before it begins.

use std::fmt;
use std::time::Duration;

use crate::random::Random;

/// The streams that are replayed: so many seeds of the built-in stream.
pub const STREAMS: u64 = 3;

/// Processes of a leg, at most.
pub const MOST_PROCESSES: usize = 3;

/// Epochs in a file of the output.
pub const LAYOUTS: [u64; 2] = [1, 3];

/// Kills by time come within this of a start: a run that nothing happens to takes about as long.
const SPAN: Duration = Duration::from_millis(600);

/// A point is fatal at one of its first passes: later ones are passed by few runs.
const PASSES: u64 = 5;

/// Milliseconds for which a point is held up, at most: longer than all that could get ahead takes.
const SLOWEST: u64 = 30;

/// One start of a run, and what ends it.
#[derive(Clone, Debug)]
pub struct Leg {
    pub processes: usize,
    /// Of each process.
    pub workers: usize,
    /// By which commands are made up.
    pub commands: u64,
    pub lead: u64,
    /// A point at which all processes are held up, and for how many milliseconds.
    pub slow: Option<(&'static str, u64)>,
    pub fate: Fate,
}

/// What becomes of a leg, unless it is complete before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Completes,
    /// It is killed after so long.
    Dies { after: Duration, victims: Victims },
    /// The victim dies when it passes this point the so manieth time.
    DiesAt { point: &'static str, pass: u64, victims: Victims },
    /// One of the processes gets SIGTERM.
    Stops { after: Duration, process: usize },
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victims {
    All,
    One(usize),
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of the built-in stream.
    pub stream: u64,
    /// Epochs between checkpoints.
    pub every: u64,
    /// When output becomes visible.
    pub when: &'static str,
    /// The index of the number of epochs in a file.
    pub layout: usize,
    pub legs: Vec<Leg>,
}

impl Plan {
    /// What the seed says, with kills at these points.
    pub fn new(seed: u64, kills: u64, points: &[&'static str]) -> Self {
        let mut random = Random(seed);
        let stream = random.below(STREAMS);
        let every = 1 + random.below(8);
        let kills = if kills == 0 { 0 } else { 1 + random.below(kills) };
        let mut legs: Vec<Leg> = (0..kills).map(|_| Leg::new(&mut random, points)).collect();
        legs.push(Leg { fate: Fate::Completes, ..Leg::new(&mut random, points) });
        let when = ["epoch", "checkpoint"][random.index(2)];
        let layout = random.index(LAYOUTS.len());
        Plan { stream, every, when, layout, legs }
    }
}

impl Leg {
    fn new(random: &mut Random, points: &[&'static str]) -> Self {
        // Half of all legs are of one process, which is where most can be done in a second.
        let processes = [1, 1, 2, MOST_PROCESSES][random.index(4)];
        let workers = 1 + random.index(if processes == 1 { 4 } else { 2 });
        let after = Duration::from_micros(random.below(SPAN.as_micros() as u64));
        let one = random.index(processes);
        let victims = if random.below(2) == 0 { Victims::All } else { Victims::One(one) };
        let fate = match (random.below(8), pick_point(random, points)) {
            (0, _) => Fate::Stops { after, process: one },
            (1..5, Some(point)) => Fate::DiesAt { point, pass: 1 + random.below(PASSES), victims },
            _ => Fate::Dies { after, victims },
        };
        let slow = pick_point(random, points).map(|point| (point, 1 + random.below(SLOWEST)));
        let slow = slow.filter(|_| random.below(2) == 0);
        Leg { processes, workers, commands: random.next() >> 1, lead: 1 + random.below(3), slow, fate }
    }
}

/// A point of some stage: each stage is as likely as the others, however many points it has.
fn pick_point(random: &mut Random, points: &[&'static str]) -> Option<&'static str> {
    let stage = |point: &'static str| point.split('.').next();
    let mut stages: Vec<_> = points.iter().map(|point| stage(point)).collect();
    stages.dedup();
    let chosen = *random.pick(&stages)?;
    let of_stage: Vec<&'static str> = points.iter().copied().filter(|point| stage(point) == chosen).collect();
    random.pick(&of_stage).copied()
}

impl Victims {
    pub fn has(self, process: usize) -> bool {
        self == Victims::All || self == Victims::One(process)
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} workers, lead {}", self.processes, self.workers, self.lead)?;
        if let Some((point, millis)) = self.slow {
            write!(f, ", {millis} ms slow at {point}")?;
        }
        match &self.fate {
            Fate::Completes => write!(f, ", to its end"),
            Fate::Dies { after, victims } => write!(f, ", {victims:?} killed after {after:?}"),
            Fate::DiesAt { point, pass, victims } => write!(f, ", {victims:?} killed at {point}:{pass}"),
            Fate::Stops { after, process } => write!(f, ", process {process} terminated after {after:?}"),
        }
    }
}
