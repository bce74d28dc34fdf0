//! Which shards move when, where that is planned: the experiment of the Megaphone paper.

use thalweg::Assignment;
use thalweg::policy::Script;

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
pub fn script(moves: &[Move]) -> Result<Script, thalweg::policy::ScriptError> {
    let lines: Vec<String> =
        moves.iter().map(|Move { boundary, key, to }| format!("{boundary} move {key:#x} {to}")).collect();
    lines.join("\n").parse()
}
