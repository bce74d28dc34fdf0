use thalweg::Command;

/// The busiest worker's load over the mean of so many workers; 1 without records.
pub fn max_mean(loads: &[u64], workers: usize) -> f64 {
    let (max, sum) = (loads.iter().max().copied().unwrap_or(0), loads.iter().sum::<u64>());
    if sum == 0 { 1.0 } else { max as f64 * workers as f64 / sum as f64 }
}

/// What an arm comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Its name.
    pub name: String,
    /// The busiest worker's load over the mean, for each epoch with records.
    pub ratios: Vec<f64>,
    /// Epochs in which that was over the target.
    pub over_target: usize,
    /// Epochs in which it was more than 2 % above that of the assignment that never changes.
    pub worse_by_2: usize,
    /// Epochs in which it was more than 5 % above that.
    pub worse_by_5: usize,
    /// Bytes of state that went to another worker.
    pub moved_bytes: u64,
    /// Boundaries at which state moved.
    pub plans: usize,
    /// Shards, or keys where whole keys are packed, that went to another worker.
    pub moves: usize,
    /// Splits.
    pub splits: usize,
    /// Merges.
    pub merges: usize,
    /// Keys folded.
    pub folds: usize,
    /// Keys unfolded.
    pub unfolds: usize,
    /// Of the moves, those that go back to a worker that was left within ten epochs.
    pub flaps: usize,
    /// Workers in use, summed over the epochs.
    pub workers_in_use: u64,
}

impl Figures {
    /// The quantile of the ratios at each of these shares; 1 without epochs.
    pub fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        let mut sorted = self.ratios.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = |share: f64| ((share * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
        shares.map(|share| sorted.get(rank(share)).copied().unwrap_or(1.0))
    }

    /// The mean of the ratios.
    pub fn mean(&self) -> f64 {
        self.ratios.iter().sum::<f64>() / self.ratios.len().max(1) as f64
    }

    /// The mean number of workers in use.
    pub fn mean_in_use(&self) -> f64 {
        self.workers_in_use as f64 / self.ratios.len().max(1) as f64
    }

    /// Counts commands by their kinds.
    pub fn count(&mut self, commands: &[Command]) {
        for command in commands {
            match command {
                Command::Split { .. } => self.splits += 1,
                Command::Merge { .. } => self.merges += 1,
                Command::Fold { .. } => self.folds += 1,
                Command::Unfold { .. } => self.unfolds += 1,
                Command::Move { .. } | Command::Checkpoint => {}
            }
        }
    }
}
