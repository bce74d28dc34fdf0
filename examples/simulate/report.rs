//! The tables at the end.

use std::fmt;

use indicatif::{BinaryBytes, HumanCount};

use crate::balance::Figures;
use crate::fault::Skipped;

/// What is shown of a simulation.
pub struct Report<'a> {
    /// The arm whose assignment never changes: with it the others are compared.
    pub fixed: &'a Figures,
    pub figures: Vec<&'a Figures>,
    pub skipped: Skipped,
    pub records: u64,
    pub epochs: u64,
    pub keys: usize,
    pub workers: usize,
    pub shards: usize,
    pub target: f64,
    /// Whether it is known how much workers can do.
    pub capacity: bool,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [records, keys, epochs] = [self.records, self.keys as u64, self.epochs].map(HumanCount);
        let [workers, shards] = [self.workers, self.shards].map(|count| HumanCount(count as u64));
        writeln!(f, "simulated  {records} records of {keys} keys in {epochs} epochs")?;
        writeln!(f, "on         {workers} workers, with {shards} shards at the start")?;
        if self.skipped.total() > 0 {
            writeln!(f, "skipped    {} rows: {}", HumanCount(self.skipped.total()), self.skipped)?;
        }
        writeln!(f)?;
        self.balance(f)?;
        writeln!(f)?;
        self.moves(f)?;
        if self.capacity {
            writeln!(f)?;
            self.capacity(f)?;
        }
        Ok(())
    }
}

impl Report<'_> {
    fn balance(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = format!("over {}", self.target);
        writeln!(f, "{:10}{:>40}{:>32}", "", "busiest worker's load over the mean", "epochs")?;
        writeln!(
            f,
            "{:10}{:>8}{:>8}{:>8}{:>8}{:>8}{over:>12}{:>18}{:>18}",
            "policy", "mean", "p50", "p90", "p99", "max", "2 % above static", "5 % above static"
        )?;
        for figures in &self.figures {
            let [p50, p90, p99, max] = figures.quantiles([0.5, 0.9, 0.99, 1.0]);
            let [by_2, by_5] = [1.02, 1.05].map(|factor| figures.worse_than(self.fixed, factor));
            write!(f, "{:10}{:>8.3}{p50:>8.3}{p90:>8.3}{p99:>8.3}{max:>8.3}", figures.name, figures.mean())?;
            writeln!(f, "{:>12}{by_2:>18}{by_5:>18}", figures.over(self.target))?;
        }
        Ok(())
    }

    fn moves(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:10}{:>12}{:>8}{:>10}{:>10}{:>9}{:>9}{:>9}{:>9}",
            "policy", "moved", "plans", "moves", "flaps", "splits", "merges", "folds", "unfolds"
        )?;
        for figures in &self.figures {
            let Figures { name, plans, moves, flaps, splits, merges, folds, unfolds, .. } = figures;
            let moved = BinaryBytes(figures.moved_bytes).to_string();
            write!(f, "{name:10}{moved:>12}{plans:>8}{moves:>10}{flaps:>10}")?;
            writeln!(f, "{splits:>9}{merges:>9}{folds:>9}{unfolds:>9}")?;
        }
        Ok(())
    }

    fn capacity(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:10}{:>16}{:>24}{:>28}",
            "policy", "workers in use", "capacity to clairvoyant", "epochs over a capacity"
        )?;
        for figures in &self.figures {
            write!(f, "{:10}{:>16.2}", figures.name, figures.mean_in_use())?;
            writeln!(f, "{:>24.3}{:>28}", figures.capacity_ratio(), figures.over_capacity)?;
        }
        writeln!(f, "Only reactive and proactive put workers out of use; the others have all in use.")
    }
}
