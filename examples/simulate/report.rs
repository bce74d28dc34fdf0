//! The table at the end.

use std::fmt;

use indicatif::{BinaryBytes, HumanCount};

use crate::balance::Figures;

/// What is shown of a simulation.
pub struct Report<'a> {
    pub figures: Vec<&'a Figures>,
    pub records: u64,
    pub epochs: u64,
    pub keys: usize,
    pub workers: usize,
    pub shards: usize,
    pub target: f64,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { figures, records, epochs, keys, workers, shards, target } = self;
        writeln!(
            f,
            "simulated    {} records of {} keys in {} epochs on {} workers, {} shards at the start",
            HumanCount(*records),
            HumanCount(*keys as u64),
            HumanCount(*epochs),
            HumanCount(*workers as u64),
            HumanCount(*shards as u64),
        )?;
        writeln!(f, "{:13}{:^32}  {:^24}", "", "max/mean", "epochs")?;
        let over = format!("over {target}");
        writeln!(
            f,
            "{:13}{:>8}{:>8}{:>8}{:>8}  {over:>10}{:>10}{:>10}",
            "policy", "p50", "p90", "p99", "max", "2% worse", "5% worse"
        )?;
        for figures in figures {
            let [p50, p90, p99, max] = figures.quantiles([0.5, 0.9, 0.99, 1.0]);
            let Figures { name, over_target, worse_by_2, worse_by_5, .. } = figures;
            write!(f, "{name:13}{p50:>8.3}{p90:>8.3}{p99:>8.3}{max:>8.3}")?;
            writeln!(f, "  {over_target:>10}{worse_by_2:>10}{worse_by_5:>10}")?;
        }
        writeln!(
            f,
            "\n{:13}{:>12}{:>8}{:>10}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}",
            "policy", "moved", "plans", "moves", "flaps", "splits", "merges", "folds", "unfolds", "in use"
        )?;
        for figures in figures {
            let Figures { name, plans, moves, flaps, splits, merges, folds, unfolds, .. } = figures;
            let moved = BinaryBytes(figures.moved_bytes).to_string();
            write!(f, "{name:13}{moved:>12}{plans:>8}{moves:>10}{flaps:>8}{splits:>8}{merges:>8}")?;
            writeln!(f, "{folds:>8}{unfolds:>8}{:>8.1}", figures.mean_in_use())?;
        }
        Ok(())
    }
}
