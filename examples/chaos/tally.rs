//! What has come of all runs.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

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
    ratios: Vec<f64>,
}

impl Tally {
    pub fn add(&mut self, seed: u64, outcome: Outcome) {
        self.runs += 1;
        self.legs += outcome.legs;
        self.stops += outcome.stops;
        self.lost += outcome.lost;
        self.ratios.extend(outcome.ratios);
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
        self.ratios.sort_by(f64::total_cmp);
        self.median_recovery_ratio = self.ratios.get(self.ratios.len() / 2).copied();
        Ok(serde_json::to_string(self)?)
    }
}
