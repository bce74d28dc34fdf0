//! What a plan gives for the bytes it moves, against weighted move (Slicer, OSDI 2016), and how long planning takes.
//!
//! The load of a million keys is a Zipf distribution, and in balance. Then half of the hottest 2,000 keys swap places
//! with cold ones. Both planners start from the same assignment, which was planned for the load before. Weighted move
//! knows the load of each of its shards, and where half of it lies, exactly and anew before each of its rounds, of
//! which it has as many as it takes to be as balanced as the plan, or as it can be. The plan is made once. It knows
//! of keys either the loads of the hottest 4,000, or what profiles of an epoch show. Imbalances are of the true
//! loads.

mod common;

use std::collections::HashMap;
use std::hint::black_box;

use clap::Parser;
use common::{Arguments, cpu_seconds, finish};
use serde_json::{Value, json};
use thalweg::planning::baselines::{WeightedMove, longest_first, lower_bound};
use thalweg::planning::{Planner, ShardLoad};
use thalweg::profile::{Sampler, Statistics};
use thalweg::{Assignment, Command, KeyRange, stable_hash};

const KEYS: usize = 1_000_000;
const HOTTEST: usize = 2_000;
const KNOWN: usize = 4_000;
const KEY_BYTES: f64 = 64.0;
const SHARDS_PER_WORKER: usize = 64;
const EXPONENTS: [f64; 4] = [0.6, 0.9, 0.99, 1.1];
const WORKERS: [usize; 3] = [2, 8, 64];
/// The one to reach, and one for which something is to be done with few workers and little skew too.
const TARGETS: [f64; 2] = [1.02, 1.002];
const KNOWS: [&str; 2] = ["keys", "profiles"];
/// The part of weighted move's bytes that a plan may move.
const BYTES: f64 = 0.05;
const RUNS: usize = 5;
/// As the policies do by default.
const FOLD_SHARE: f64 = 0.1;
const MOST_ROUNDS: usize = 100;

/// Keys by routing key, with the load of each, together 1.
#[derive(Clone)]
struct World {
    routing: Vec<u64>,
    loads: Vec<f64>,
    /// For each key, the load of those before it.
    before: Vec<f64>,
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 += 1;
        (stable_hash(&self.0) % n as u64) as usize
    }

    fn unit(&mut self) -> f64 {
        self.below(1 << 53) as f64 / (1u64 << 53) as f64
    }
}

impl World {
    fn new(routing: Vec<u64>, loads: Vec<f64>) -> Self {
        let mut sum = 0.0;
        let mut before = vec![0.0];
        before.extend(loads.iter().map(|load| {
            sum += load;
            sum
        }));
        World { routing, loads, before }
    }

    /// Keys whose loads are those of a Zipf distribution, and the same after half of the hottest were replaced.
    fn pair(exponent: f64, seed: u64) -> (World, World) {
        let mut random = Random(seed << 32);
        let weight = |rank: usize| (rank as f64 + 1.0).powf(-exponent);
        let total: f64 = (0..KEYS).map(weight).sum();
        let mut keys: Vec<(u64, usize)> = (0..KEYS).map(|rank| (stable_hash(&(seed, rank as u64)), rank)).collect();
        keys.sort_unstable();
        let mut ranks: Vec<usize> = (0..KEYS).collect();
        let mut hot: Vec<usize> = (0..HOTTEST).collect();
        for i in 0..HOTTEST / 2 {
            let other = i + random.below(HOTTEST - i);
            hot.swap(i, other);
            let cold = HOTTEST + random.below(KEYS - HOTTEST);
            ranks.swap(hot[i], cold);
        }
        let routing: Vec<u64> = keys.iter().map(|k| k.0).collect();
        let old = keys.iter().map(|k| weight(k.1) / total).collect();
        let new = keys.iter().map(|k| weight(ranks[k.1]) / total).collect();
        (World::new(routing.clone(), old), World::new(routing, new))
    }

    /// The keys from which a worker would have so much of its fair share, taken out; and what each worker then has.
    fn fold(&mut self, workers: usize) -> f64 {
        let enough = FOLD_SHARE / workers as f64;
        let mut loads = std::mem::take(&mut self.loads);
        let folded: f64 = loads.iter().filter(|load| **load >= enough).sum();
        loads.iter_mut().filter(|load| **load >= enough).for_each(|load| *load = 0.0);
        *self = World::new(std::mem::take(&mut self.routing), loads);
        folded / workers as f64
    }

    fn keys(&self, range: KeyRange) -> std::ops::Range<usize> {
        let first = self.routing.partition_point(|key| *key < range.start());
        first..first + self.routing[first..].partition_point(|key| *key <= range.last())
    }

    fn load(&self, range: KeyRange) -> f64 {
        let keys = self.keys(range);
        (self.before[keys.end] - self.before[keys.start]).max(0.0)
    }

    fn shard(&self, range: KeyRange, owner: usize) -> ShardLoad {
        ShardLoad::certain(range, owner, self.load(range), self.keys(range).len() as f64 * KEY_BYTES)
    }

    fn shards(&self, assignment: &Assignment) -> Vec<ShardLoad> {
        assignment.iter().map(|(range, owner)| self.shard(range, owner)).collect()
    }

    /// Both halves of a shard, by load.
    fn halves(&self, shard: &ShardLoad) -> Option<(ShardLoad, ShardLoad)> {
        let keys = self.keys(shard.range);
        if keys.len() < 2 {
            return None;
        }
        let half = (self.before[keys.start] + self.before[keys.end]) / 2.0;
        let middle = self.before[keys.clone()].partition_point(|before| *before < half) + keys.start;
        let nearest = |a: usize, b: usize| if half - self.before[a] < self.before[b] - half { a } else { b };
        let middle = nearest(middle.saturating_sub(1), middle.min(keys.end)).clamp(keys.start + 1, keys.end - 1);
        let (left, right) = shard.range.split(*self.routing.get(middle)?)?;
        Some((self.shard(left, shard.owner), self.shard(right, shard.owner)))
    }

    /// A key as a shard of its own.
    fn key(&self, index: usize, owner: usize, load: f64) -> ShardLoad {
        ShardLoad::certain(KeyRange::single(self.routing[index]), owner, load, KEY_BYTES)
    }

    /// The hottest keys, in their order.
    fn hottest(&self) -> Vec<usize> {
        let mut hottest: Vec<usize> = (0..KEYS).collect();
        hottest.select_nth_unstable_by(KNOWN, |a, b| self.loads[*b].total_cmp(&self.loads[*a]));
        hottest.truncate(KNOWN);
        hottest.sort_unstable();
        hottest
    }

    /// Records, each by the index of its key.
    fn records(&self, records: usize, seed: u64) -> Vec<u32> {
        let mut random = Random(seed << 33);
        let total = self.before[KEYS];
        let at = |share: f64| self.before.partition_point(|before| *before <= share * total).clamp(1, KEYS) - 1;
        (0..records).map(|_| at(random.unit()) as u32).collect()
    }

    fn imbalance(&self, assignment: &Assignment, evenly: f64) -> f64 {
        let mut carried = vec![evenly; assignment.workers()];
        assignment.iter().for_each(|(range, owner)| carried[owner] += self.load(range));
        carried.iter().copied().fold(0.0, f64::max) * carried.len() as f64 / carried.iter().sum::<f64>()
    }

    fn bytes(&self, before: &Assignment, after: &Assignment) -> f64 {
        before.handovers(after).iter().map(|h| self.keys(h.range).len()).sum::<usize>() as f64 * KEY_BYTES
    }
}

/// What is known of the keys of each shard.
enum Knowledge {
    Hottest(Vec<usize>),
    Profiles(HashMap<KeyRange, (f64, Vec<(u64, f64)>)>),
}

impl Knowledge {
    /// What the profiles of an epoch of some records tell; the world is one without the keys that are folded.
    fn profiles(world: &World, records: &[u32], assignment: &Assignment) -> Self {
        let mut statistics: Vec<(Statistics, Sampler)> =
            (0..assignment.len()).map(|i| (Statistics::default(), Sampler::new(0.125, i as u64))).collect();
        for index in records.iter().map(|index| *index as usize).filter(|index| world.loads[*index] > 0.0) {
            let key = world.routing[index];
            let (statistics, sampler) = &mut statistics[assignment.find(key)];
            statistics.observe(key, 0.0, 24, sampler);
        }
        let each = 1.0 / records.len() as f64;
        let known = statistics.iter().enumerate().map(|(i, (statistics, _))| {
            let summary = statistics.summary(1);
            let load = summary.records as f64 * each;
            (assignment.range(i), (load, summary.heavy.iter().map(|h| (h.key, h.share * load)).collect()))
        });
        Knowledge::Profiles(known.collect())
    }

    fn shards(&self, world: &World, assignment: &Assignment) -> Vec<ShardLoad> {
        let mut shards = world.shards(assignment);
        if let Knowledge::Profiles(known) = self {
            for shard in &mut shards {
                shard.load = known[&shard.range].0;
                shard.recent = vec![shard.load];
            }
        }
        shards
    }

    fn keys(&self, world: &World, shard: &ShardLoad) -> Vec<ShardLoad> {
        match self {
            Knowledge::Hottest(hottest) => {
                let keys = world.keys(shard.range);
                let first = hottest.partition_point(|key| *key < keys.start);
                let inside = hottest[first..].iter().take_while(|key| **key < keys.end);
                inside.map(|key| world.key(*key, shard.owner, world.loads[*key])).collect()
            }
            Knowledge::Profiles(known) => {
                let heavy = known.get(&shard.range).map_or(&[][..], |known| &known.1);
                let key = |(key, load): &(u64, f64)| {
                    ShardLoad::certain(KeyRange::single(*key), shard.owner, *load, KEY_BYTES)
                };
                heavy.iter().map(key).collect()
            }
        }
    }

    fn plan(&self, world: &World, start: &Assignment, evenly: f64, target: f64) -> Assignment {
        let planner = Planner { evenly, target, ..Planner::new(start.workers()) };
        let plan = planner.plan(&self.shards(world, start), &[1.0], |shard| self.keys(world, shard));
        start.apply(&plan.commands()).expect("a plan can be carried out")
    }
}

/// What weighted move comes to, until it is as balanced as this or can't go on: its assignment, and bytes.
fn weighted_move(world: &World, start: &Assignment, evenly: f64, target: f64) -> (Assignment, f64) {
    let mut slicer = WeightedMove::new(world.shards(start), vec![1.0; start.workers()], evenly);
    let mut now = start.clone();
    for _ in 0..MOST_ROUNDS {
        let commands: Vec<Command> = slicer.round(target, |shard| world.halves(shard));
        now = now.apply(&commands).expect("a round can be carried out");
        if commands.is_empty() || slicer.imbalance() <= target {
            break;
        }
    }
    (now, slicer.bytes())
}

/// Loads before and after a shift, and some records after it.
struct Shift {
    old: World,
    new: World,
    records: Vec<u32>,
}

/// What a plan came to, and weighted move.
#[derive(Clone, Copy)]
struct Outcome {
    shifted: f64,
    reached: f64,
    bytes: f64,
    weighted_reached: f64,
    weighted_bytes: f64,
}

/// Plans for a shift with either knowledge. Keys are folded where no assignment of whole keys would reach the target.
fn compare(shift: &Shift, workers: usize, target: f64) -> [Outcome; 2] {
    let (mut old, mut new) = (shift.old.clone(), shift.new.clone());
    let (mut old_evenly, mut evenly) = (0.0, 0.0);
    if lower_bound(&new.loads, &vec![1.0; workers], 0.0) > target {
        (old_evenly, evenly) = (old.fold(workers), new.fold(workers));
    }
    let even = Assignment::even(SHARDS_PER_WORKER * workers, workers).expect("few shards");
    let start = Knowledge::Hottest(old.hottest()).plan(&old, &even, old_evenly, target);
    let shifted = new.imbalance(&start, evenly);
    [Knowledge::Hottest(new.hottest()), Knowledge::profiles(&new, &shift.records, &start)].map(|knowledge| {
        let after = knowledge.plan(&new, &start, evenly, target);
        let (reached, bytes) = (new.imbalance(&after, evenly), new.bytes(&start, &after));
        let (theirs, weighted_bytes) = weighted_move(&new, &start, evenly, reached.max(target));
        Outcome { shifted, reached, bytes, weighted_reached: new.imbalance(&theirs, evenly), weighted_bytes }
    })
}

/// The worst imbalance of some outcomes, and all their bytes over all of weighted move's.
fn summary(outcomes: &[Outcome]) -> (f64, f64) {
    let bytes: f64 = outcomes.iter().map(|o| o.bytes).sum();
    let weighted_bytes: f64 = outcomes.iter().map(|o| o.weighted_bytes).sum();
    let worst = outcomes.iter().map(|o| o.reached).fold(0.0, f64::max);
    (worst, if bytes == 0.0 { 0.0 } else { bytes / weighted_bytes })
}

/// Prints the outcomes of one case, one for each seed: the worst imbalances, and the bytes of all.
fn print(exponent: f64, workers: usize, target: f64, knows: &str, outcomes: &[Outcome]) {
    let worst = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).fold(0.0, f64::max);
    let kib = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / 1024.0;
    let (reached, ratio) = summary(outcomes);
    println!(
        "{exponent:>4} {workers:>8} {target:>7} {knows:>9} {:6.3} {reached:6.4} {:9.1}  {:6.4} {:9.1}  {ratio:.4}",
        worst(|o| o.shifted),
        kib(|o| o.bytes),
        worst(|o| o.weighted_reached),
        kib(|o| o.weighted_bytes),
    );
}

/// Prints all cases, and gives the worst over them.
fn shifts(seeds: u64, records: usize, found: &mut Vec<(String, Value)>) {
    println!("                                   max/mean       plan          weighted move");
    println!("zipf  workers  target     knows  shift  after       KiB   after       KiB   ratio");
    let mut worst = [[(0.0f64, 0.0f64); 2]; TARGETS.len()];
    for exponent in EXPONENTS {
        let shift = |seed| {
            let (old, new) = World::pair(exponent, seed);
            let records = new.records(records, seed);
            Shift { old, new, records }
        };
        let shifts: Vec<Shift> = (1..=seeds).map(shift).collect();
        for workers in WORKERS {
            for (target, worst) in TARGETS.into_iter().zip(&mut worst) {
                let outcomes: Vec<[Outcome; 2]> = shifts.iter().map(|s| compare(s, workers, target)).collect();
                for (kind, knows) in KNOWS.into_iter().enumerate() {
                    let outcomes: Vec<Outcome> = outcomes.iter().map(|o| o[kind]).collect();
                    print(exponent, workers, target, knows, &outcomes);
                    let (reached, ratio) = summary(&outcomes);
                    worst[kind] = (worst[kind].0.max(reached), worst[kind].1.max(ratio));
                }
            }
        }
    }
    for (target, worst) in TARGETS.into_iter().zip(worst) {
        for (knows, (reached, ratio)) in KNOWS.into_iter().zip(worst) {
            let verdict = if reached <= target && ratio <= BYTES { "as wanted" } else { "not as wanted" };
            println!("target {target}, knowing {knows}: at worst {reached:.4}, {ratio:.4} x the bytes: {verdict}");
            found.push((format!("{knows}_{target}"), json!({ "max_mean": reached, "bytes": ratio })));
        }
    }
}

/// CPU time of a plan, in milliseconds: the median.
fn milliseconds(shards: usize, workers: usize, scenarios: usize) -> f64 {
    let mut random = Random(9);
    let loads = |i: usize| -> ShardLoad {
        let heavy = 1.0 / (random.unit() + 0.02);
        let recent: Vec<f64> = (0..scenarios).map(|_| 1_000.0 * heavy * (0.8 + 0.4 * random.unit())).collect();
        let load = recent.iter().sum::<f64>() / scenarios as f64;
        let range = KeyRange::new((i as u64) << 40, ((i as u128) + 1) << 40).expect("not empty");
        let owner = i % workers;
        ShardLoad { range, owner, home: owner, load, recent, bytes: 64_000.0 }
    };
    let shards: Vec<ShardLoad> = (0..shards).map(loads).collect();
    let likelihood = vec![1.0 / scenarios as f64; scenarios];
    let planner = Planner { target: 1.02, ..Planner::new(workers) };
    let plan = planner.plan(&shards, &likelihood, |_| Vec::new());
    let plans = 1 + 400_000 / shards.len();
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let started = cpu_seconds();
            for _ in 0..plans {
                black_box(planner.plan(&shards, &likelihood, |_| Vec::new()));
            }
            1e3 * (cpu_seconds() - started) / plans as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let scratch = longest_first(&shards, &planner.capacities, 0.0);
    println!(
        "{:>9} shards {workers:>5} workers {scenarios} scenarios: {median:9.3} ms, {} moves, {:.3} to {:.3}; longest \
         first {} moves, to {:.3}",
        shards.len(),
        plan.steps.len(),
        plan.before,
        plan.after,
        scratch.steps.len(),
        scratch.after
    );
    median
}

fn main() {
    let arguments = Arguments::parse();
    let mut found = Vec::new();
    shifts(arguments.sized(1, 5), arguments.sized(1_000_000, 4_000_000) as usize, &mut found);
    for (shards, workers, most) in [(4_096, 64, 1.0), (1_000_000, 1_000, 1_000.0)] {
        for scenarios in [1, 8] {
            let median = milliseconds(shards, workers, scenarios);
            let verdict = if median <= most { "as wanted" } else { "not as wanted" };
            println!("  {most} ms: {verdict}");
            found.push((format!("ms_{shards}x{workers}x{scenarios}"), json!(median)));
        }
    }
    finish(found);
}
