//! What has come of all runs.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use crate::plan::MOST_PROCESSES;
use crate::recovery::Timing;
use crate::run::Outcome;

/// The last line.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    runs: u64,
    legs: u64,
    kills: BTreeMap<String, u64>,
    stops: u64,
    lost: u64,
    wrong: Vec<u64>,
    median_recovery_ratio: Option<f64>,
    #[serde(skip)]
    timings: Vec<Timing>,
}

impl Tally {
    pub fn add(&mut self, seed: u64, outcome: Outcome) {
        self.runs += 1;
        self.legs += outcome.legs;
        self.stops += outcome.stops;
        self.lost += outcome.lost;
        self.timings.extend(outcome.timings);
        for point in outcome.kills {
            *self.kills.entry(point).or_default() += 1;
        }
        self.wrong.extend(outcome.verdict.err().map(|_| seed));
    }

    pub fn kills(&self) -> u64 {
        self.kills.values().sum()
    }

    pub fn wrong(&self) -> usize {
        self.wrong.len()
    }

    pub fn line(&mut self) -> Result<String> {
        self.wrong.sort_unstable();
        self.median_recovery_ratio = median(self.ratios());
        Ok(serde_json::to_string(self)?)
    }

    /// Of recoveries, less what it takes so many processes to come up.
    fn ratios(&self) -> Vec<f64> {
        let of = |processes: usize, is_recovery: bool| {
            self.timings.iter().filter(move |t| (t.processes, t.is_recovery) == (processes, is_recovery))
        };
        let mut ratios = Vec::new();
        for processes in 1..=MOST_PROCESSES {
            let Some(startup) = median(of(processes, false).map(|t| t.took - t.expected).collect()) else { continue };
            let recoveries = of(processes, true).filter(|t| t.expected > 0.0);
            ratios.extend(recoveries.map(|t| (t.took - startup).max(0.0) / t.expected));
        }
        ratios
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
