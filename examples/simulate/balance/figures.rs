use thalweg::Command;

/// What an arm comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Its name.
    pub name: String,
    /// For each epoch with records, the busiest worker's load over the mean of those in use, for what they can do.
    pub ratios: Vec<f64>,
    /// Bytes of state that went to another worker.
    pub moved_bytes: u64,
    /// Boundaries at which something went to another worker.
    pub plans: usize,
    /// Shards, or keys where whole keys are packed, that went to another worker.
    pub moves: usize,
    /// Of these, those that went back to a worker that was left within ten epochs.
    pub flaps: usize,
    /// Splits.
    pub splits: usize,
    /// Merges.
    pub merges: usize,
    /// Keys folded.
    pub folds: usize,
    /// Keys unfolded.
    pub unfolds: usize,
    /// Workers in use, summed over the epochs.
    pub workers_in_use: usize,
    /// Their capacity, summed over the epochs.
    pub capacity_in_use: f64,
    /// The capacity of the fewest workers that would have been enough, summed over the epochs.
    pub capacity_needed: f64,
    /// Epochs in which a worker had more than it can do, as far as that is known.
    pub over_capacity: usize,
}

impl Figures {
    /// The quantiles of the ratios at these shares; 1 without epochs.
    pub fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        let mut sorted = self.ratios.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = |share: f64| ((share * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
        shares.map(|share| sorted.get(rank(share)).copied().unwrap_or(1.0))
    }

    /// The mean of the ratios; 1 without epochs.
    pub fn mean(&self) -> f64 {
        if self.ratios.is_empty() { 1.0 } else { self.ratios.iter().sum::<f64>() / self.ratios.len() as f64 }
    }

    /// Epochs in which the ratio is over a target.
    pub fn over(&self, target: f64) -> usize {
        self.ratios.iter().filter(|ratio| **ratio > target).count()
    }

    /// Epochs in which the ratio is more than so many times that of another arm on the same epochs.
    pub fn worse_than(&self, other: &Figures, factor: f64) -> usize {
        self.ratios.iter().zip(&other.ratios).filter(|(ours, theirs)| **ours > factor * **theirs).count()
    }

    /// The mean number of workers in use.
    pub fn mean_in_use(&self) -> f64 {
        self.workers_in_use as f64 / self.ratios.len().max(1) as f64
    }

    /// The capacity of the workers in use over that of the fewest that would have been enough.
    pub fn capacity_ratio(&self) -> f64 {
        self.capacity_in_use / self.capacity_needed
    }

    /// Counts commands by their kinds.
    pub fn count(&mut self, commands: &[Command]) {
        for command in commands {
            match command {
                Command::Split { .. } => self.splits += 1,
                Command::Merge { .. } => self.merges += 1,
                Command::Fold { .. } => self.folds += 1,
                Command::Unfold { .. } => self.unfolds += 1,
                Command::Move { .. } | Command::Checkpoint | Command::SaveAll => {}
            }
        }
    }
}
