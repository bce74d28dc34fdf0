//! The part of the loop that decides, fed as the operators of a dataflow feed it.

use std::collections::BTreeMap;

use thalweg::keyed::Report;
use thalweg::orchestrate::{Orchestrator, Space};
use thalweg::policy::{Policy, PolicyConfig, Proactive, Reactive, Sight, View};
use thalweg::profile::{ProfileConfig, Sampler, ShardEpoch, Statistics};
use thalweg::{Assignment, Command, Config, stable_hash};

use crate::allocator::allocated;
use crate::common::cpu_seconds;

/// Epochs before any is measured: all that remembers some is full then.
const WARM_UP: u64 = 12;

/// Mean records per live shard and epoch, and the keys that they have.
const RECORDS: u64 = 16;
const KEYS: u64 = 8;

/// Epochs after the last that is measured.
const MOST: u64 = 100;

/// Loads that come by turns, which chance makes different.
const LOADS: u64 = 3;

/// What decides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Decides {
    /// Nothing: what is left are the profiles.
    Profiles,
    Reactive,
    Proactive,
}

/// Looks on.
struct Looks;

impl Policy for Looks {
    fn decide(&mut self, _: &View<'_>) -> Vec<Command> {
        Vec::new()
    }

    fn sight(&self) -> Sight {
        Sight::Epoch
    }
}

/// How much there is of what.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub shards: usize,
    pub live: usize,
    pub workers: usize,
    /// A command for an idle shard in every epoch.
    pub command: Option<Kind>,
}

/// What a command does to its shard, again and again.
#[derive(Clone, Copy)]
pub enum Kind {
    /// It goes to another worker, and back.
    Move,
    /// It is split, and merged.
    Split,
}

impl Sizes {
    pub fn of(shards: usize, live: usize, workers: usize) -> Self {
        Sizes { shards, live, workers, command: None }
    }

    /// The commands known before the run.
    fn known(self, assignment: &Assignment) -> BTreeMap<u64, Vec<Command>> {
        let index = self.shards - 1;
        let (shard, owner) = (assignment.range(index), assignment.owner(index));
        let middle = shard.start() + (shard.last() - shard.start()) / 2;
        let (left, right) = shard.split(middle).expect("a shard has many keys");
        let command = |epoch: u64, kind: Kind| match (kind, epoch % 2) {
            (Kind::Move, 0) => Command::Move { shard, to: (owner + 1) % self.workers },
            (Kind::Move, _) => Command::Move { shard, to: owner },
            (Kind::Split, 0) => Command::Split { shard, at: middle },
            (Kind::Split, _) => Command::Merge { left, right },
        };
        let boundaries = self.command.into_iter().flat_map(|kind| (Config::LEAD..MOST).map(move |at| (at, kind)));
        boundaries.map(|(boundary, kind)| (boundary, vec![command(boundary, kind)])).collect()
    }
}

/// An orchestrator, and what it is told.
pub struct Loop {
    orchestrator: Orchestrator,
    epoch: u64,
    loads: Vec<Vec<Report>>,
}

impl Decides {
    pub const ALL: [Decides; 3] = [Decides::Profiles, Decides::Reactive, Decides::Proactive];

    pub fn name(self) -> &'static str {
        match self {
            Decides::Profiles => "profiles",
            Decides::Reactive => "reactive",
            Decides::Proactive => "proactive",
        }
    }

    fn policy(self) -> Box<dyn Policy> {
        let config = PolicyConfig { max_shards: 1 << 21, ..PolicyConfig::default() };
        let valid = "the configuration is valid";
        match self {
            Decides::Profiles => Box::new(Looks),
            Decides::Reactive => Box::new(Reactive::new(config).expect(valid)),
            Decides::Proactive => Box::new(Proactive::new(config).expect(valid)),
        }
    }
}

impl Loop {
    /// One that is warm.
    pub fn new(decides: Decides, sizes: Sizes) -> Self {
        let initial = Assignment::even(sizes.shards, sizes.workers).expect("the sizes are possible");
        let loads = (0..LOADS).map(|load| reports(&initial, sizes, load)).collect();
        let (known, policy) = (sizes.known(&initial), decides.policy());
        let space = Space { name: String::new(), initial, policy, known, can_fold: true };
        let orchestrator = Orchestrator::new(vec![space], vec![0], Config::LEAD, ProfileConfig::WINDOW);
        let mut looped = Loop { orchestrator, epoch: 0, loads };
        looped.seconds(WARM_UP);
        looped
    }

    /// CPU time per epoch over the next epochs.
    pub fn seconds(&mut self, epochs: u64) -> f64 {
        let mut seconds = 0.0;
        for _ in 0..epochs {
            let load = &self.loads[(stable_hash(&self.epoch) % LOADS) as usize];
            let reports = load.iter().map(|report| (0, report.clone())).collect();
            let started = cpu_seconds();
            let decision = self.orchestrator.decide(self.epoch, reports, 1.0);
            seconds += cpu_seconds() - started;
            drop(decision);
            self.epoch += 1;
        }
        seconds / epochs as f64
    }
}

/// What an assignment takes.
pub fn assignment_bytes(shards: usize) -> usize {
    let before = allocated();
    let assignment = Assignment::even(shards, 8).expect("the sizes are possible");
    let bytes = allocated() - before;
    drop(assignment);
    bytes
}

/// What an orchestrator holds between epochs.
pub fn bytes(decides: Decides, sizes: Sizes) -> usize {
    let before = allocated();
    let mut looped = Loop::new(decides, sizes);
    looped.loads = Vec::new();
    allocated() - before
}

/// What the workers tell of an epoch.
fn reports(assignment: &Assignment, sizes: Sizes, load: u64) -> Vec<Report> {
    let mut sampler = Sampler::new(ProfileConfig::SAMPLE, 0);
    vec![Report::Shards(live(sizes).map(|index| report(assignment, index, load, &mut sampler)).collect())]
}

/// The shards that are live, as even over the key space, and over the workers, as can be.
fn live(sizes: Sizes) -> impl Iterator<Item = usize> {
    let apart = sizes.shards / sizes.live;
    (0..sizes.live).map(move |i| i * apart + i % apart.min(sizes.workers))
}

fn report(assignment: &Assignment, index: usize, load: u64, sampler: &mut Sampler) -> ShardEpoch {
    let (range, worker) = (assignment.range(index), assignment.owner(index));
    let chance = stable_hash(&(index as u64, load));
    let mut statistics = Statistics::default();
    for record in 0..RECORDS / 2 + chance % (RECORDS + 1) {
        let key = stable_hash(&(index as u64, stable_hash(&(chance, record)) % KEYS));
        statistics.observe(range.start() + key % (range.last() - range.start()), 1.0, 64, sampler);
    }
    ShardEpoch { range, worker, keys: KEYS, state_bytes: 64 * KEYS, statistics }
}
