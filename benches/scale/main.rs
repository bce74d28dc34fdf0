//! What the control loop costs per epoch: how that grows with the shards, with those of them that are live (that see
//! records), and with the workers; and what a shard takes in memory beside its state.
//!
//! Profiles, policy and orchestrator are driven as the operators of a dataflow drive them, for so many logical workers;
//! the keyed operator is measured in a dataflow of one worker. Loads are steady but for chance, so that what is
//! measured is an epoch like any other; what a boundary with commands costs is a table of its own. Figures are CPU time
//! of the thread. `max_shards` is 2^21: where there are more, all shards are gone through. Left out is the start: a
//! loop is measured once all that remembers epochs is full.
//!
//! Memory is what is allocated, counted by a global allocator, as the difference between many shards and few.

mod allocator;
#[path = "../common/mod.rs"]
mod common;
mod dataflow;
mod looped;

use clap::Parser;
use common::{Arguments, Sample, Verdict, cpu_seconds, finish, interleave};
use looped::{Decides, Kind, Loop, Sizes};
use serde_json::{Value, json};
use thalweg::{Assignment, Command};

/// Shards of each table.
const SHARDS: [usize; 4] = [1 << 8, 1 << 12, 1 << 16, 1 << 20];

/// Of them so many see records where that is not what varies.
const LIVE: usize = 1 << 8;

/// An epoch with many shards may cost so many times one with few and as many live ones.
const IDLE_TARGET: f64 = 1.1;

/// Nanoseconds per live shard and epoch, where they are many.
const REACTIVE_TARGET: f64 = 300.0;
const PROACTIVE_TARGET: f64 = 1_000.0;

/// Bytes per idle shard.
const MEMORY_TARGET: f64 = 64.0;

fn main() {
    let arguments = Arguments::parse();
    let mut found = Vec::new();
    let mut verdicts = Vec::new();
    idle(&arguments, &mut found, &mut verdicts);
    live(&arguments, &mut found, &mut verdicts);
    workers(&arguments, &mut found);
    boundaries(&arguments, &mut found);
    operator(&arguments, &mut found, &mut verdicts);
    memory(&arguments, &mut found, &mut verdicts);
    println!();
    found.extend(verdicts.into_iter().map(Verdict::tell));
    finish(found);
}

type Found = Vec<(String, Value)>;

fn micros(sample: &Sample) -> f64 {
    sample.median() * 1e6
}

/// Idle shards: ever more shards of which as many are live.
fn idle(arguments: &Arguments, found: &mut Found, verdicts: &mut Vec<Verdict>) {
    println!("\nCPU µs per epoch, {LIVE} shards of so many live, 8 workers; and 2^20 over 2^8\n");
    println!("{:>12}{:>12}{:>12}{:>12}{:>12}   ratio", "policy", "2^8", "2^12", "2^16", "2^20");
    for decides in Decides::ALL {
        let sizes = SHARDS.map(|shards| Sizes::of(shards, LIVE, 8));
        let [a, b, c, d] = sizes.map(|sizes| move || Loop::new(decides, sizes).seconds(20));
        let samples = interleave(arguments.pairs(), [&a, &b, &c, &d]);
        let ratio = samples[3].ratio(&samples[0]);
        let [a, b, c, d] = samples.each_ref().map(micros);
        println!("{:>12}{a:12.1}{b:12.1}{c:12.1}{d:12.1}   {ratio}", decides.name());
        found.push((format!("idle, {}", decides.name()), ratio.json()));
        let what = format!("{}: an epoch with 2^20 shards over one with 2^8, as many live", decides.name());
        verdicts.push(Verdict::at_most(what, ratio.median, IDLE_TARGET));
    }
}

/// Live shards: ever more of 2^16, or of 2^20.
fn live(arguments: &Arguments, found: &mut Found, verdicts: &mut Vec<Verdict>) {
    let shards = arguments.sized(1 << 16, 1 << 20) as usize;
    let live = [1 << 8, 1 << 12, 1 << 14, shards];
    println!(
        "\nCPU ns per epoch and live shard, so many live of {shards}, 8 workers; beside the profiles: without them\n"
    );
    println!("{:>12}{:>12}{:>12}{:>12}{:>12}   beside the profiles", "policy", live[0], live[1], live[2], live[3]);
    let mut profiles = [0.0; 4];
    for decides in Decides::ALL {
        let sizes = live.map(|live| Sizes::of(shards, live, 8));
        let [a, b, c, d] = sizes.map(|sizes| move || Loop::new(decides, sizes).seconds(4) / sizes.live as f64);
        let samples = interleave(arguments.pairs().min(5), [&a, &b, &c, &d]);
        let nanos = samples.each_ref().map(|sample| sample.median() * 1e9);
        if decides == Decides::Profiles {
            profiles = nanos;
        }
        let beside: [f64; 4] = std::array::from_fn(|i| nanos[i] - profiles[i]);
        let line = |nanos: [f64; 4]| nanos.map(|nanos| format!("{nanos:12.0}")).concat();
        println!("{:>12}{}   {}", decides.name(), line(nanos), line(beside));
        found.push((format!("live, {}", decides.name()), json!({ "nanos": nanos, "policy_nanos": beside })));
        let target = match decides {
            Decides::Profiles => continue,
            Decides::Reactive => REACTIVE_TARGET,
            Decides::Proactive => PROACTIVE_TARGET,
        };
        let what = format!("{}: ns per live shard beside the profiles, {shards} live", decides.name());
        verdicts.push(Verdict::at_most(what, beside[3], target));
    }
}

/// Workers: ever more, with 2^12 live shards.
fn workers(arguments: &Arguments, found: &mut Found) {
    let workers = [2, 8, 32, 64];
    println!("\nCPU µs per epoch, 2^12 shards, all live, so many workers; and 64 over 2\n");
    println!("{:>12}{:>12}{:>12}{:>12}{:>12}   ratio", "policy", workers[0], workers[1], workers[2], workers[3]);
    for decides in Decides::ALL {
        let sizes = workers.map(|workers| Sizes::of(1 << 12, 1 << 12, workers));
        let [a, b, c, d] = sizes.map(|sizes| move || Loop::new(decides, sizes).seconds(10));
        let samples = interleave(arguments.pairs(), [&a, &b, &c, &d]);
        let ratio = samples[3].ratio(&samples[0]);
        let [a, b, c, d] = samples.each_ref().map(micros);
        println!("{:>12}{a:12.1}{b:12.1}{c:12.1}{d:12.1}   {ratio}", decides.name());
        found.push((format!("workers, {}", decides.name()), ratio.json()));
    }
}

/// A boundary: what commands cost the assignment, and an epoch in which the loop has to follow one.
fn boundaries(arguments: &Arguments, found: &mut Found) {
    println!("\nCPU µs to apply 16 commands to an assignment of so many shards; of an epoch after one, 128 live\n");
    println!("{:>20}{:>12}{:>12}{:>12}{:>12}   ratio", "commands", "2^8", "2^12", "2^16", "2^20");
    for (name, commands) in [("16 moves", moves as fn(&Assignment) -> Vec<Command>), ("8 splits, 8 moves", splits)] {
        let assignments = SHARDS.map(|shards| Assignment::even(shards, 8).expect("the sizes are possible"));
        let arms = assignments.each_ref().map(|before| {
            move || {
                let commands: Vec<Vec<Command>> = (0..20).map(|_| commands(before)).collect();
                let started = cpu_seconds();
                commands.into_iter().for_each(|commands| drop(before.apply_valid(commands)));
                (cpu_seconds() - started) / 20.0
            }
        });
        boundary(arguments, name, arms.each_ref().map(|arm| arm as &dyn Fn() -> f64), found);
    }
    for (name, kind) in [("proactive, a move", Kind::Move), ("proactive, a split", Kind::Split)] {
        let sizes = SHARDS.map(|shards| Sizes { command: Some(kind), ..Sizes::of(shards, 1 << 7, 8) });
        let arms = sizes.map(|sizes| move || Loop::new(Decides::Proactive, sizes).seconds(20));
        boundary(arguments, name, arms.each_ref().map(|arm| arm as &dyn Fn() -> f64), found);
    }
}

fn boundary(arguments: &Arguments, name: &str, arms: [&dyn Fn() -> f64; 4], found: &mut Found) {
    let samples = interleave(arguments.pairs(), arms);
    let ratio = samples[3].ratio(&samples[0]);
    let [a, b, c, d] = samples.each_ref().map(micros);
    println!("{name:>20}{a:12.1}{b:12.1}{c:12.1}{d:12.1}   {ratio}");
    found.push((format!("boundary, {name}"), ratio.json()));
}

fn moves(before: &Assignment) -> Vec<Command> {
    (0..16).map(|i| Command::Move { shard: before.range(i * before.len() / 16), to: 7 }).collect()
}

fn splits(before: &Assignment) -> Vec<Command> {
    let split = |i: usize| {
        let shard = before.range(i * before.len() / 8);
        let at = shard.start() + (shard.last() - shard.start()) / 2;
        let (left, _) = shard.split(at).expect("a shard of many keys");
        [Command::Split { shard, at }, Command::Move { shard: left, to: 7 }]
    };
    (0..8).flat_map(split).collect()
}

/// The keyed operator, and all else of a dataflow of one worker.
fn operator(arguments: &Arguments, found: &mut Found, verdicts: &mut Vec<Verdict>) {
    println!("\nCPU µs per epoch of a dataflow with so many shards, one worker, Static; and 2^20 over 2^8\n");
    println!("{:>12}{:>12}{:>12}{:>12}{:>12}   ratio", "live shards", "2^8", "2^12", "2^16", "2^20");
    for live in [0, LIVE] {
        let [a, b, c, d] =
            SHARDS.map(|shards| move || dataflow::run(dataflow::Decides::Static, shards, live, 50).seconds);
        let samples = interleave(arguments.pairs(), [&a, &b, &c, &d]);
        let ratio = samples[3].ratio(&samples[0]);
        let [a, b, c, d] = samples.each_ref().map(micros);
        println!("{live:>12}{a:12.1}{b:12.1}{c:12.1}{d:12.1}   {ratio}");
        found.push((format!("dataflow, {live} live"), ratio.json()));
        let what = format!("dataflow: an epoch with 2^20 shards over one with 2^8, {live} live");
        verdicts.push(Verdict::at_most(what, ratio.median, IDLE_TARGET));
    }
}

/// Memory per shard.
fn memory(arguments: &Arguments, found: &mut Found, verdicts: &mut Vec<Verdict>) {
    let (few, many) = (1 << 10, arguments.sized(1 << 16, 1 << 18) as usize);
    let per_shard = |bytes: &dyn Fn(usize) -> usize| (bytes(many) as f64 - bytes(few) as f64) / (many - few) as f64;
    println!("\nBytes per shard, of {many}: idle, and live with 16 records of 8 keys in every epoch\n");
    println!("{:>40}{:>10}{:>10}", "", "idle", "live");
    let mut line = |name: &str, [idle, live]: [f64; 2]| {
        println!("{name:>40}{idle:10.1}{live:10.1}");
        found.push((format!("memory, {name}"), json!({ "idle": idle, "live": live })));
    };
    line("an assignment", [per_shard(&looped::assignment_bytes); 2]);
    for decides in Decides::ALL {
        let sizes = |shards: usize, live: usize| Sizes::of(shards, live.min(shards), 8);
        let bytes = [1 << 8, usize::MAX].map(|live| per_shard(&|shards| looped::bytes(decides, sizes(shards, live))));
        line(&format!("what decides alone, {}", decides.name()), bytes);
    }
    let whole = [
        ("a worker with all, static", dataflow::Decides::Static),
        ("a worker with all, proactive", dataflow::Decides::Proactive),
        ("the same, shards have changed", dataflow::Decides::Splitting),
    ];
    for (name, decides) in whole {
        let bytes = [0, 1].map(|live| per_shard(&|shards| dataflow::run(decides, shards, live * shards, 4).bytes));
        line(name, bytes);
        verdicts.push(Verdict::at_most(format!("bytes per idle shard: {name}"), bytes[0], MEMORY_TARGET));
    }
}
