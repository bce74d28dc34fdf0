//! Which shards move when, where that is planned: the experiment of the Megaphone paper. And which did.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use thalweg::observe::Event;
use thalweg::policy::{Reactive, Script, ScriptError, Static};
use thalweg::{Assignment, Command, Config, Epochs, Error, KeySpace, Loop};
use timely::dataflow::Scope;

use crate::arguments::{Arguments, Migrate, PolicyChoice};

/// Shards that move at a boundary if they do so in batches.
const BATCH: usize = 4;

/// A shard that is to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The number of the epoch before which it moves.
    pub boundary: u64,
    /// A routing key that it holds.
    pub key: u64,
    /// The worker it moves to.
    pub to: usize,
}

/// A quarter of the shards, from the first half of the workers to the second after a third of the run, and back after two
/// thirds; an error if they can't.
pub fn moves(arguments: &Arguments) -> Result<Vec<Move>, String> {
    let &Arguments { migrate, epoch, ref config, .. } = arguments;
    if migrate == Migrate::None {
        return Ok(Vec::new());
    }
    let workers = usize::from(arguments.workers);
    let assignment = config.initial(workers).map_err(|error| error.to_string())?;
    if workers < 2 {
        return Err(format!("--migrate {migrate} needs --workers 2 or more: there is no other worker to move to"));
    }
    if assignment.len() < 4 {
        return Err(format!("--migrate {migrate} needs --shards 4 or more, of which a quarter moves"));
    }
    if arguments.policy != PolicyChoice::Static {
        return Err(format!("--migrate {migrate} is what moves: leave --policy {} out", arguments.policy));
    }
    let shards = quarter(&assignment);
    let batch = match migrate {
        Migrate::AllAtOnce => shards.len(),
        Migrate::Batched => BATCH,
        _ => 1,
    };
    let (third, needed) = (arguments.ticks() / epoch / 3, shards.len().div_ceil(batch) as u64);
    if third < needed.max(config.lead) {
        return Err(format!(
            "--migrate {migrate} takes {needed} epochs of {epoch} ms, and a third of the run has {third}: give a longer \
             --duration or shorter --epoch",
        ));
    }
    let all = [third, 2 * third].into_iter().enumerate().flat_map(|(back, begin)| {
        shards.iter().enumerate().map(move |(i, &(key, owner))| {
            let to = if back == 1 { owner } else { workers - 1 - owner };
            Move { boundary: begin + (i / batch) as u64, key, to }
        })
    });
    Ok(all.collect())
}

/// A routing key and the owner of each shard that moves.
fn quarter(assignment: &Assignment) -> Vec<(u64, usize)> {
    let movable = assignment.iter().filter(|(_, owner)| *owner < assignment.workers() / 2);
    movable.take(assignment.len() / 4).map(|(range, owner)| (range.start(), owner)).collect()
}

/// The same as a script.
fn script(moves: &[Move]) -> Result<Script, ScriptError> {
    let lines: Vec<String> =
        moves.iter().map(|Move { boundary, key, to }| format!("{boundary} move {key:#x} {to}")).collect();
    lines.join("\n").parse()
}

/// What has moved.
#[derive(Clone, Debug, Default)]
pub struct Moved {
    /// The boundaries, in milliseconds.
    pub at: BTreeSet<u64>,
    pub shards: usize,
    pub bytes: u64,
}

/// How the operators of a query are routed.
#[derive(Clone)]
pub struct Adaptivity {
    config: Config,
    script: Script,
    policy: PolicyChoice,
    moved: Arc<Mutex<Moved>>,
}

impl Adaptivity {
    pub fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        Ok(Adaptivity {
            config: Config { epochs: Epochs::of(arguments.epoch)?, ..arguments.config.clone() },
            script: script(&moves(arguments).map_err(anyhow::Error::msg)?)?,
            policy: arguments.policy,
            moved: Arc::default(),
        })
    }

    /// The key space of a query's operators, in a loop of its own.
    pub fn key_space<'scope>(&self, scope: Scope<'scope, u64>) -> Result<KeySpace<'scope, u64>, Error> {
        let (moved, epochs) = (Arc::clone(&self.moved), self.config.epochs);
        let observe = move |event: &Event| {
            moved.lock().unwrap_or_else(PoisonError::into_inner).note(event, epochs);
        };
        let keys = Loop::new(scope, &self.config)?.observe(observe).key_space("keys")?;
        match self.policy {
            PolicyChoice::Static if self.script == Script::default() => keys.policy(Static),
            PolicyChoice::Static => keys.policy(self.script.clone()),
            PolicyChoice::Reactive => keys.policy(Reactive::new(self.config.policy.clone())?),
        }
    }

    /// What has moved so far.
    pub fn moved(&self) -> Moved {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Moved {
    fn note(&mut self, event: &Event, epochs: Epochs) {
        let Event::Epoch(epoch) = event else { return };
        let shards = epoch.commands.iter().filter(|command| matches!(command, Command::Move { .. })).count();
        self.shards += shards;
        self.bytes += epoch.moved_bytes;
        self.at.extend(epochs.start::<u64>(epoch.boundary).filter(|_| shards > 0));
    }
}
