//! The built-in stream of the `replay` example: the same for ever, skewed, and foreseeable.

#![allow(dead_code)]

#[path = "../examples/replay/arguments.rs"]
mod arguments;
#[path = "../examples/replay/cluster.rs"]
mod cluster;
#[path = "../examples/replay/decimal.rs"]
mod decimal;
#[path = "../examples/replay/epoch.rs"]
mod epoch;
#[path = "../examples/replay/event.rs"]
mod event;
#[path = "../examples/replay/fault.rs"]
mod fault;
#[path = "../examples/replay/file.rs"]
mod file;
#[path = "../examples/replay/generate.rs"]
mod generate;
#[path = "../examples/replay/input.rs"]
mod input;
#[path = "../examples/replay/rows.rs"]
mod rows;

use clap::Parser;
use thalweg::{Assignment, stable_hash};

use arguments::Arguments;
use input::{Row, Source};

fn generated(flags: &str) -> Vec<Row> {
    let line = format!("replay {flags}");
    let arguments = Arguments::try_parse_from(line.split_whitespace()).unwrap();
    let mut source = Source::open(&arguments.input).unwrap();
    std::iter::from_fn(|| source.next_row().unwrap()).collect()
}

#[test]
fn the_built_in_stream_depends_on_its_seed_alone() {
    let first = generated("--records 20000 --keys 500");
    assert_eq!(first, generated("--records 20000 --keys 500"));
    assert_ne!(first, generated("--records 20000 --keys 500 --seed 2"));
    assert_eq!((first.len(), first[0].epoch, first[19_999].epoch), (20_000, 0, 335));
    let digest =
        first.iter().fold(0u64, |digest, row| stable_hash(&(digest, row.epoch, &row.event.key, row.event.value)));
    assert_eq!(digest, 15752357114979732820, "the stream for a seed never changes");
    assert_eq!(generated("--records 3 --keys 1").len(), 3);
    assert_eq!(generated("--records 0"), []);
}

/// Loads of 64 shards in each epoch.
fn shards(rows: &[Row]) -> Vec<[u64; 64]> {
    let mut loads = vec![[0; 64]; 336];
    rows.iter().for_each(|row| loads[row.epoch as usize][(stable_hash(&row.event.key) >> 58) as usize] += 1);
    loads
}

/// Median over the epochs of the busiest of eight workers against their mean.
fn median(loads: &[[u64; 64]], owner: impl Fn(usize, usize) -> usize) -> f64 {
    let mut ratios: Vec<f64> = (48..loads.len())
        .map(|epoch| {
            let mut workers = [0; 8];
            loads[epoch].iter().enumerate().for_each(|(shard, load)| workers[owner(epoch, shard)] += load);
            *workers.iter().max().unwrap() as f64 * 8.0 / workers.iter().sum::<u64>() as f64
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// Shards dealt heaviest first, each to the worker with the least, by the loads of another epoch.
fn dealt(loads: &[u64; 64]) -> [usize; 64] {
    let (mut order, mut workers, mut owners) = (Vec::from_iter(0..64), [0; 8], [0; 64]);
    order.sort_by_key(|&shard| std::cmp::Reverse(loads[shard]));
    for shard in order {
        let least = (0..8).min_by_key(|&worker| workers[worker]).unwrap();
        (owners[shard], workers[least]) = (least, workers[least] + loads[shard]);
    }
    owners
}

#[test]
fn the_built_in_stream_is_skewed_and_what_was_tells_what_will_be() {
    let loads = shards(&generated(""));
    let even = Assignment::even(64, 8).unwrap();
    let fixed = median(&loads, |_, shard| even.owner(shard));
    let lately: Vec<_> = (0..336).map(|epoch| dealt(&loads[usize::max(epoch, 2) - 2])).collect();
    let yesterday: Vec<_> = (0..336).map(|epoch| dealt(&loads[usize::max(epoch, 24) - 24])).collect();
    let [lately, yesterday] = [lately, yesterday].map(|by| median(&loads, |epoch, shard| by[epoch][shard]));
    assert!((1.5..2.5).contains(&fixed), "{fixed}");
    assert!(lately < 1.4 && yesterday < 1.4, "{lately} {yesterday}");
}
