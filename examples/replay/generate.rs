//! The built-in stream: fourteen days of readings of many gauges, made up from a seed.
//!
//! The rate follows the hour of the day. About half of the readings come from a few hot gauges, each of which has its
//! hours, the same every day; after ten days another gauge takes its place. So what is hot alternates over
//! the day, yesterday tells much about today, and it drifts. All of it is whole-number arithmetic: the same everywhere.

#[path = "../common/random.rs"]
mod random;

use crate::event::Event;
use crate::file::Progress;
use crate::rows::Timed;
use random::Random;

const HOURS: usize = 14 * 24;
const HOUR: u64 = 3_600_000_000_000;
/// 2026-01-01 00:00 UTC.
const START: i64 = 1_767_225_600_000_000_000;

/// The rate by hour of the day.
const DAY: [u64; 24] =
    [22, 16, 12, 11, 14, 27, 55, 92, 118, 101, 82, 78, 85, 83, 80, 88, 106, 124, 109, 80, 61, 49, 38, 29];

/// Hot gauges: one for each hour of the day at which it peaks.
const HOT: usize = 24;
/// Weights of the hot gauges, over and over: some are hotter than others.
const HEAT: [u64; 6] = [9, 3, 5, 2, 7, 1];
/// A hot gauge is hot for less than so many hours either side of its peak.
const BREADTH: usize = 9;
/// Of a hundred readings, so many come from hot gauges.
const HOT_SHARE: u64 = 52;
/// So many days a gauge is hot before another takes its place.
const REIGN: usize = 10;

/// Numbers to draw by weight.
#[derive(Default)]
struct Weighted {
    sums: Vec<u64>,
}

impl Weighted {
    fn new(weights: impl Iterator<Item = u64>) -> Self {
        let mut total = 0;
        let sums = weights.map(|weight| {
            total += weight;
            total
        });
        Weighted { sums: sums.collect() }
    }

    fn draw(&self, random: &mut Random) -> usize {
        let ball = random.below(self.sums.last().copied().unwrap_or(0));
        self.sums.partition_point(|&sum| sum <= ball)
    }
}

/// Makes up the stream.
pub struct Generator {
    seed: u64,
    records: u64,
    random: Random,
    cold: Weighted,
    hot: Weighted,
    hot_keys: Vec<usize>,
    /// The hour being filled, its records, and how many of them have been given out.
    hour: usize,
    of_hour: u64,
    given: u64,
    line: u64,
    progress: Progress,
}

impl Generator {
    /// So many records of so many keys.
    pub fn new(seed: u64, records: u64, keys: u32) -> Self {
        let cold = Weighted::new((0..u64::from(keys.max(1))).map(|key| (1 << 32) / (key + 8)));
        let mut generator = Generator {
            seed,
            records,
            random: Random(seed),
            cold,
            hot: Weighted::default(),
            hot_keys: Vec::new(),
            hour: 0,
            of_hour: 0,
            given: 0,
            line: 0,
            progress: Progress::of(records),
        };
        generator.enter(0);
        generator
    }

    /// Sees to it that the hour has a record left, if any hour has.
    fn fill(&mut self) -> Option<()> {
        while self.given == self.of_hour {
            if self.hour + 1 >= HOURS {
                return None;
            }
            self.enter(self.hour + 1);
        }
        Some(())
    }

    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    fn enter(&mut self, hour: usize) {
        let per_day: u64 = DAY.iter().sum();
        let before = |hour: usize| {
            let weight = (hour / 24) as u64 * per_day + DAY[..hour % 24].iter().sum::<u64>();
            (u128::from(self.records) * u128::from(weight) / u128::from(per_day * HOURS as u64 / 24)) as u64
        };
        self.of_hour = before(hour + 1) - before(hour);
        self.given = 0;
        self.hour = hour;
        self.hot = Weighted::new((0..HOT).map(|slot| {
            let apart = (hour + 24 - slot) % 24;
            HEAT[slot % HEAT.len()] * BREADTH.saturating_sub(apart.min(24 - apart)) as u64
        }));
        let keys = self.cold.sums.len() as u64;
        self.hot_keys = (0..HOT)
            .map(|slot| {
                let reign = (hour / 24 + slot) / REIGN;
                let own = ((slot * HOURS + reign + 1) as u64) << 32;
                Random(self.seed ^ own).below(keys) as usize
            })
            .collect();
    }

    /// A reading in micro-units: around a level that is the gauge's own.
    fn reading(&mut self, key: usize) -> i64 {
        let level = 50_000_000 + (key as i64 % 97) * 2_500_000;
        level + self.random.below(20_000_001) as i64 - 10_000_000
    }
}

impl Iterator for Generator {
    type Item = Timed;

    fn next(&mut self) -> Option<Timed> {
        self.fill()?;
        let within = u128::from(self.given) * u128::from(HOUR) / u128::from(self.of_hour);
        let time = START + (self.hour as u64 * HOUR) as i64 + within as i64;
        self.given += 1;
        self.line += 1;
        self.progress.advance(1);
        let key = match self.random.below(100) < HOT_SHARE {
            true => self.hot_keys[self.hot.draw(&mut self.random)],
            false => self.cold.draw(&mut self.random),
        };
        let event = Event { key: format!("gauge-{key:05}"), value: self.reading(key) };
        Some(Timed { time, line: self.line, event })
    }
}
