//! Which shards move when, where that is planned: the experiment of the Megaphone paper. And what
//! else was commanded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use thalweg::observe::Event;
use thalweg::policy::{Proactive, Reactive, Script, ScriptError};
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

/// A quarter of the shards, from the first half of the workers to the second after a third of the run, and back after
/// two thirds; an error if they can't.
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

/// What was commanded.
#[derive(Clone, Debug, Default)]
pub struct Commanded {
    /// How often each command, by name.
    pub commands: BTreeMap<String, usize>,
    /// The boundaries at which shards moved, in milliseconds.
    pub moved_at: BTreeSet<u64>,
    pub moved_bytes: u64,
}

/// How a query is routed.
#[derive(Clone)]
pub struct Adaptivity {
    config: Config,
    script: Script,
    policy: PolicyChoice,
    commanded: Arc<Mutex<Commanded>>,
}

impl Adaptivity {
    pub fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        Ok(Adaptivity {
            config: Config { epochs: Epochs::of(arguments.epoch)?, ..arguments.config.clone() },
            script: script(&moves(arguments).map_err(anyhow::Error::msg)?)?,
            policy: arguments.policy,
            commanded: Arc::default(),
        })
    }

    /// A loop for the operators of a query.
    pub fn begin<'scope>(&self, scope: Scope<'scope, u64>) -> Result<Keys<'scope>, Error> {
        let (commanded, epochs) = (Arc::clone(&self.commanded), self.config.epochs);
        let looped = Loop::new(scope, &self.config)?.observe(move |event| {
            commanded.lock().unwrap_or_else(PoisonError::into_inner).note(event, epochs);
        });
        Ok(Keys { looped, adaptivity: self.clone() })
    }

    /// What has been commanded so far.
    pub fn commanded(&self) -> Commanded {
        self.commanded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The key spaces of a query, all under the policy that was asked for.
pub struct Keys<'scope> {
    looped: Loop<'scope, u64>,
    adaptivity: Adaptivity,
}

impl<'scope> Keys<'scope> {
    /// The key space of this name.
    pub fn of(&self, name: &str) -> Result<KeySpace<'scope, u64>, Error> {
        let Adaptivity { config, script, policy, .. } = &self.adaptivity;
        let keys = self.looped.key_space(name)?;
        match policy {
            PolicyChoice::Static => keys.policy(script.clone()),
            PolicyChoice::Reactive => keys.policy(Reactive::new(config.policy.clone())?),
            PolicyChoice::Proactive => keys.policy(Proactive::new(config.policy.clone())?),
        }
    }
}

impl Commanded {
    fn note(&mut self, event: &Event, epochs: Epochs) {
        let Event::Epoch(epoch) = event else { return };
        for command in &epoch.commands {
            let name = command.to_string().split(' ').next().unwrap_or_default().to_owned();
            *self.commands.entry(name).or_default() += 1;
            if matches!(command, Command::Move { .. }) {
                self.moved_at.extend(epochs.start::<u64>(epoch.boundary));
            }
        }
        self.moved_bytes += epoch.moved_bytes;
    }
}
