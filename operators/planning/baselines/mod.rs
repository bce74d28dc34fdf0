//! What plans are measured against: from scratch, as others do it, and what nobody can beat.

mod weighted_move;

pub use weighted_move::WeightedMove;

#[cfg(test)]
mod tests;

use super::room::Room;
use super::{Plan, ShardLoad, Step};

/// The busiest worker's load for its capacity, over that of all: 1 is balanced, and infinite is a worker with load and
/// without capacity. Each worker in use has some records `evenly` besides. 1 where there is nothing to carry.
pub fn imbalance(shards: &[ShardLoad], capacities: &[f64], evenly: f64) -> f64 {
    let in_use = capacities.iter().filter(|c| **c > 0.0);
    let (workers, capacity) = (in_use.clone().count() as f64, in_use.sum::<f64>());
    let mut carried: Vec<f64> = capacities.iter().map(|c| if *c > 0.0 { evenly } else { 0.0 }).collect();
    let mut total = evenly * workers;
    for shard in shards {
        total += shard.load;
        match carried.get_mut(shard.owner) {
            Some(carried) => *carried += shard.load,
            None if shard.load > 0.0 => return f64::INFINITY,
            None => {}
        }
    }
    let ratio = |(load, capacity): (&f64, &f64)| if *load > 0.0 { load / capacity.max(0.0) } else { 0.0 };
    let busiest = carried.iter().zip(capacities).map(ratio).fold(0.0, f64::max);
    if total > 0.0 { busiest * capacity / total } else { 1.0 }
}

/// The assignment from scratch: each shard, the heaviest first, goes where the load for its capacity will be least,
/// whatever it moves. Among as many workers of equal capacity the busiest carries at most 4/3 of what the busiest of
/// the best assignment does (Graham, Bounds on multiprocessing timing anomalies, 1969).
pub fn longest_first(shards: &[ShardLoad], capacities: &[f64], evenly: f64) -> Plan {
    let before = imbalance(shards, capacities, evenly);
    let mut room = Room::new(capacities, &vec![evenly; capacities.len()]);
    let mut order: Vec<usize> = (0..shards.len()).collect();
    order.sort_by(|a, b| shards[*b].load.total_cmp(&shards[*a].load).then(a.cmp(b)));
    let mut placed = shards.to_vec();
    let (mut steps, mut bytes) = (Vec::new(), 0.0);
    for index in order {
        let shard = &shards[index];
        if let Some(to) = room.place(shard.load).filter(|to| *to != shard.owner) {
            placed[index].owner = to;
            bytes += shard.bytes;
            steps.push(Step { shard: shard.range, part: shard.range, to });
        }
    }
    Plan { steps, before, after: imbalance(&placed, capacities, evenly), bytes }
}

/// An imbalance that no assignment of these loads can be under, where none of them may be divided: load may be spread
/// as if it were water, but the heaviest has to be somewhere, and where the workers have equal capacity, two of the
/// heaviest `workers + 1` have to be together, three of the heaviest `2 workers + 1`, and so on.
pub fn lower_bound(loads: &[f64], capacities: &[f64], evenly: f64) -> f64 {
    let in_use: Vec<f64> = capacities.iter().copied().filter(|c| *c > 0.0).collect();
    let (workers, capacity) = (in_use.len(), in_use.iter().sum::<f64>());
    let total = loads.iter().sum::<f64>() + evenly * workers as f64;
    if !(total > 0.0 && capacity > 0.0) {
        return 1.0;
    }
    let largest = in_use.iter().copied().fold(0.0, f64::max);
    let is_equal = in_use.iter().all(|c| *c == largest);
    let mut heaviest = loads.to_vec();
    heaviest.sort_unstable_by(|a, b| b.total_cmp(a));
    let sum = |sum: &mut f64, load: &f64| Some(std::mem::replace(sum, *sum + load));
    let before: Vec<f64> = heaviest.iter().chain([&0.0]).scan(0.0, sum).collect();
    let crowded = (1..).map(|each| (each * workers - each, each * workers + 1));
    let crowded = crowded.take_while(|(_, end)| is_equal && *end <= loads.len());
    let crowded = crowded.map(|(first, end)| before[end] - before[first]);
    let busiest = evenly + crowded.fold(heaviest.first().copied().unwrap_or(0.0), f64::max);
    (busiest / largest * capacity / total).max(1.0)
}
