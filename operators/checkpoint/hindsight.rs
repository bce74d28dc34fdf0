//! What checkpoints would have cost, and what would have been best, when all arrivals are known. Pure.

use std::collections::VecDeque;

use super::cost::Costs;

/// Arrivals over time with what failures and checkpoints cost then.
///
/// Failures are not drawn but expected: an epoch costs failure rate × its seconds × what a failure in its middle would.
#[derive(Clone, Debug)]
pub struct Hindsight {
    epochs: usize,
    /// Records before each epoch, and after the last.
    records: Vec<f64>,
    /// What a checkpoint at the start of each epoch costs.
    checkpoints: Vec<f64>,
    /// Over the epochs before each: the coefficients of their expected cost as a polynomial of the records before the
    /// last checkpoint.
    failures: Vec<[f64; 3]>,
}

impl Hindsight {
    /// Over epochs of so many seconds, with so many records in each.
    pub fn new(records: &[f64], seconds: f64, costs: &Costs) -> Self {
        let mut all = Hindsight {
            epochs: records.len(),
            records: vec![0.0],
            checkpoints: Vec::with_capacity(records.len()),
            failures: vec![[0.0; 3]],
        };
        let (mut before, mut sums) = (0.0, [0.0; 3]);
        for records in records {
            let prices = costs.at(records / seconds);
            let middle = before + records / 2.0;
            let expected = costs.failure_rate * seconds;
            let [_, linear, square] = prices.failure;
            let terms = [prices.failure(middle), -(linear + 2.0 * square * middle), square];
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += expected * term);
            before += records;
            all.records.push(before);
            all.failures.push(sums);
        }
        let mean = |from: usize| all.mean_rate(from, seconds, costs.checkpoint_seconds);
        all.checkpoints = (0..all.epochs).map(|from| costs.at(mean(from)).checkpoint).collect();
        all
    }

    /// The mean rate at which records arrive in so many seconds from the start of an epoch on.
    fn mean_rate(&self, from: usize, epoch_seconds: f64, seconds: f64) -> f64 {
        let epochs = within(seconds / epoch_seconds, self.epochs - from);
        let (whole, part) = (from + epochs as usize, epochs.fract());
        let next = self.records.get(whole + 1).map_or(0.0, |after| after - self.records[whole]);
        (self.records[whole] - self.records[from] + part * next) / (epochs * epoch_seconds)
    }

    /// How many epochs there are.
    pub fn epochs(&self) -> usize {
        self.epochs
    }

    /// What failures from the start of one epoch to that of another are expected to cost, with a checkpoint at the
    /// first and none since.
    fn exposed(&self, from: usize, to: usize) -> f64 {
        let at = self.records[from];
        let term = |power: usize| self.failures[to][power] - self.failures[from][power];
        (term(0) + at * (term(1) + at * term(2))).max(0.0)
    }

    /// Of checkpoints at the starts of these epochs, those that are taken: each is later than the one before it, and
    /// none before the first epoch or after the last.
    fn taken(&self, checkpoints: impl IntoIterator<Item = usize>) -> impl Iterator<Item = usize> {
        let mut next = 1..self.epochs;
        checkpoints.into_iter().filter(move |at| {
            let is_taken = next.contains(at);
            next.start = if is_taken { at + 1 } else { next.start };
            is_taken
        })
    }

    /// What checkpoints at the starts of these epochs, in order, cost, and the failures expected. It begins with a
    /// checkpoint that costs nothing, and a second one at the start of the same epoch does too.
    pub fn cost(&self, checkpoints: impl IntoIterator<Item = usize>) -> f64 {
        let (mut last, mut cost) = (0, 0.0);
        for at in self.taken(checkpoints) {
            cost += self.exposed(last, at) + self.checkpoints[at];
            last = at;
        }
        cost + self.exposed(last, self.epochs)
    }

    /// What has been paid by the end of each epoch, with checkpoints at the starts of these, in order: at the end of
    /// the last, their [`cost`](Hindsight::cost).
    pub fn paid(&self, checkpoints: impl IntoIterator<Item = usize>) -> Vec<f64> {
        let mut checkpoints = self.taken(checkpoints).peekable();
        let (mut last, mut before) = (0, 0.0);
        let paid = (0..self.epochs).map(|epoch| {
            if checkpoints.next_if_eq(&epoch).is_some() {
                before += self.exposed(last, epoch) + self.checkpoints[epoch];
                last = epoch;
            }
            before + self.exposed(last, epoch + 1)
        });
        paid.collect()
    }

    /// The best fixed interval, in epochs, and its cost.
    pub fn best_interval(&self) -> (usize, f64) {
        let intervals =
            (1..=self.epochs.max(1)).map(|interval| (interval, self.cost((0..self.epochs).step_by(interval))));
        intervals.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((1, 0.0))
    }

    /// The checkpoints that cost least of all, and their cost: dynamic programming over the last one before each.
    ///
    /// As a failure costs more the longer ago the last checkpoint is, the best last one is the later the later the
    /// next: so candidates stand in a queue, each with the first epoch for which it is better than those before it,
    /// found by bisection (Galil and Park, Dynamic programming with convexity, concavity and sparsity, Theoretical
    /// Computer Science 92, 1992). That takes `n log n` steps for `n` epochs.
    pub fn optimum(&self) -> (Vec<usize>, f64) {
        let mut costs = vec![0.0];
        let mut last = vec![0];
        let mut queue = VecDeque::from([(0, 1)]);
        for at in 1..=self.epochs {
            while queue.get(1).is_some_and(|(_, first)| *first <= at) {
                queue.pop_front();
            }
            let best = queue.front().map_or(0, |candidate| candidate.0);
            let taken = self.checkpoints.get(at).copied().unwrap_or(0.0);
            costs.push(costs[best] + self.exposed(best, at) + taken);
            last.push(best);
            self.stand_in(&mut queue, &costs, at);
        }
        let previous = |at: &usize| Some(last[*at]).filter(|at| *at > 0);
        let mut checkpoints: Vec<usize> = std::iter::successors(previous(&self.epochs), previous).collect();
        checkpoints.reverse();
        (checkpoints, costs[self.epochs])
    }

    /// Lets a new candidate for the last checkpoint join the queue.
    fn stand_in(&self, queue: &mut VecDeque<(usize, usize)>, costs: &[f64], candidate: usize) {
        let better = |than: usize, at: usize| {
            costs[candidate] + self.exposed(candidate, at) <= costs[than] + self.exposed(than, at)
        };
        while let Some((other, first)) = queue.back().copied() {
            let first = first.max(candidate + 1);
            if first <= self.epochs && better(other, first) {
                queue.pop_back();
                continue;
            }
            let (mut worse, mut end) = (first, self.epochs + 1);
            while end - worse > 1 {
                let middle = worse + (end - worse) / 2;
                if better(other, middle) { end = middle } else { worse = middle }
            }
            if end <= self.epochs {
                queue.push_back((candidate, end));
            }
            return;
        }
        queue.push_back((candidate, candidate + 1));
    }
}

/// The mean rate at which records arrive in so many seconds, given how many arrive in each epoch from then on.
pub(super) fn mean_rate(records: &[f64], epoch_seconds: f64, seconds: f64) -> f64 {
    let epochs = within(seconds / epoch_seconds, records.len());
    let whole = epochs as usize;
    let part = records.get(whole).map_or(0.0, |records| records * (epochs - whole as f64));
    (records[..whole].iter().sum::<f64>() + part) / (epochs * epoch_seconds)
}

/// At least an epoch, and no more than there are.
fn within(epochs: f64, all: usize) -> f64 {
    epochs.max(1.0).min(all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::cost::CostModel;
    use proptest::prelude::*;

    fn costs(model: CostModel) -> Costs {
        Costs { model, service_rate: 30.0, checkpoint_seconds: 3.0, outage_seconds: 1.0, failure_rate: 0.05 }
    }

    /// Added up epoch by epoch, as it is defined.
    fn naive(records: &[f64], seconds: f64, costs: &Costs, checkpoints: &[usize]) -> f64 {
        let (mut since, mut cost) = (0.0, 0.0);
        for (epoch, arrived) in records.iter().enumerate() {
            if checkpoints.contains(&epoch) {
                since = 0.0;
                let ends = epoch as f64 + (costs.checkpoint_seconds / seconds).max(1.0);
                let overlap = |at: usize| (ends - at as f64).clamp(0.0, 1.0);
                let meanwhile: f64 = (epoch..records.len()).map(|at| overlap(at) * records[at]).sum();
                let epochs: f64 = (epoch..records.len()).map(overlap).sum();
                cost += costs.at(meanwhile / (epochs * seconds)).checkpoint;
            }
            cost += costs.failure_rate * seconds * costs.at(arrived / seconds).failure(since + arrived / 2.0);
            since += arrived;
        }
        cost
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
    }

    proptest! {
        #[test]
        fn costs_are_added_up_as_defined(
            records in proptest::collection::vec(0u8..50, 1..40),
            taken in proptest::collection::vec(any::<bool>(), 40),
            seconds in 0.1f64..4.0,
        ) {
            let records: Vec<f64> = records.into_iter().map(f64::from).collect();
            let checkpoints: Vec<usize> = (1..records.len()).filter(|at| taken[*at]).collect();
            for model in CostModel::ALL {
                let costs = costs(model);
                let hindsight = Hindsight::new(&records, seconds, &costs);
                let cost = hindsight.cost(checkpoints.iter().copied());
                let naive = naive(&records, seconds, &costs, &checkpoints);
                prop_assert!(close(cost, naive), "{model}: {cost} {naive}");
                let paid = hindsight.paid(checkpoints.iter().copied());
                prop_assert!(close(*paid.last().unwrap(), cost) && paid.len() == records.len());
            }
        }

        #[test]
        fn no_set_of_checkpoints_costs_less_than_the_optimum(
            records in proptest::collection::vec(prop_oneof![Just(0u8), 1u8..60], 1..=12),
        ) {
            let records: Vec<f64> = records.into_iter().map(f64::from).collect();
            for model in CostModel::ALL {
                let costs = costs(model);
                let hindsight = Hindsight::new(&records, 1.0, &costs);
                let sets = (0u32..1 << (records.len() - 1)).map(|set| {
                    let taken: Vec<usize> = (1..records.len()).filter(|at| set >> (at - 1) & 1 == 1).collect();
                    naive(&records, 1.0, &costs, &taken)
                });
                let least = sets.fold(f64::INFINITY, f64::min);
                let (taken, cost) = hindsight.optimum();
                prop_assert!(close(cost, least), "{model}: {cost} at {taken:?}, least {least}");
                prop_assert!(close(hindsight.cost(taken), cost));
                let (interval, fixed) = hindsight.best_interval();
                prop_assert!(fixed >= cost - 1e-9 && close(fixed, hindsight.cost((0..12).step_by(interval))));
            }
        }
    }

    #[test]
    fn what_is_taken_twice_or_outside_of_all_epochs_is_paid_once_or_never() {
        let hindsight = Hindsight::new(&[10.0, 20.0, 30.0, 10.0, 5.0], 1.0, &costs(CostModel::Delay));
        for (given, taken) in [(vec![0, 1, 1, 3, 3], vec![1, 3]), (vec![2, 5, usize::MAX], vec![2]), (vec![], vec![])] {
            assert_eq!(hindsight.cost(given.iter().copied()), hindsight.cost(taken.iter().copied()), "{given:?}");
            assert_eq!(hindsight.paid(given.iter().copied()), hindsight.paid(taken), "{given:?}");
        }
    }

    #[test]
    fn at_a_constant_rate_the_optimum_is_the_fixed_interval() {
        let costs = Costs { failure_rate: 1e-3, ..costs(CostModel::Delay) };
        let hindsight = Hindsight::new(&[10.0; 100_000], 1.0, &costs);
        let (interval, fixed) = hindsight.best_interval();
        assert!((interval as f64 / costs.interval(10.0) - 1.0).abs() <= 0.03, "{interval}");
        let (checkpoints, cost) = hindsight.optimum();
        assert!(cost <= fixed && cost >= 0.999 * fixed && checkpoints.len().abs_diff(100_000 / interval) <= 20);
    }
}
