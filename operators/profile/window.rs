use super::Statistics;

/// The statistics of one shard over the last epochs, as a queue that knows its sum.
///
/// It is made of two stacks. Epochs come onto `recent`, which is summed up as it grows. `older` holds, for each of its
/// epochs, the sum from that one to the newest of them, so that the oldest epoch can be dropped without taking
/// anything out of a sum, which no sketch allows. When `older` is used up, `recent` is turned over onto it. An epoch
/// is merged about three times on its way through, however long the window is.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// The oldest epoch last.
    older: Vec<(u64, Statistics)>,
    /// The newest epoch last.
    recent: Vec<(u64, Statistics)>,
    sum_of_recent: Statistics,
}

impl Window {
    /// Adds an epoch later than all before.
    pub(super) fn push(&mut self, epoch: u64, statistics: Statistics) {
        self.sum_of_recent.merge(&statistics);
        self.recent.push((epoch, statistics));
    }

    /// Drops the epochs before `oldest`.
    pub(super) fn drop_before(&mut self, oldest: u64) {
        while self.older.pop_if(|(epoch, _)| *epoch < oldest).is_some() {}
        if self.older.is_empty() && self.recent.first().is_some_and(|(epoch, _)| *epoch < oldest) {
            self.recent.retain(|(epoch, _)| *epoch >= oldest);
            self.turn_over();
        }
    }

    /// All of it together.
    pub(super) fn sum(&self) -> Statistics {
        let mut sum = self.older.last().map(|(_, sum)| sum.clone()).unwrap_or_default();
        sum.merge(&self.sum_of_recent);
        sum
    }

    fn turn_over(&mut self) {
        self.sum_of_recent = Statistics::default();
        for (epoch, mut statistics) in self.recent.drain(..).rev() {
            if let Some((_, sum)) = self.older.last() {
                statistics.merge(sum);
            }
            self.older.push((epoch, statistics));
        }
    }
}
