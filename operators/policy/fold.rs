use std::collections::BTreeMap;

use super::View;
use crate::keyspace::Command;
use crate::planning::heavy_shares;
use crate::profile::Profile;

/// Records of a key in an epoch for each worker, under which folding it spares little: its owner would have as many
/// partials to merge. At 2, 64 workers with 260 records each were balanced a tenth worse.
const PER_PARTIAL: f64 = 1.0;

/// The part of the records from which a key is folded, down to which it stays so: far enough below 1 that a key near
/// that share does not flap. At 0.5 the stream of 70 keys folded six keys again in 319 epochs, here one.
const LIGHT: f64 = 0.25;

/// Epochs in a row for which a folded key must be light to be unfolded. Staying folded costs it no more messages than
/// it has records, while turning hot unfolded costs epochs that are out of balance: in 325 epochs of a stream whose hot
/// keys are others in every session there were 141 with 8, 128 with 16 and 122 with 32, when twice the keys were
/// folded.
const PATIENCE: u32 = 16;

/// Keys that may be folded for each worker. So no key left over has more than a quarter of the fair share: it would
/// have taken the place of one with less than a quarter of its records.
pub const FOLDED_PER_WORKER: usize = 16;

/// Decides which keys are folded, from the newest epoch and what is foreseen of the one at the boundary: no state
/// moves, so that little is lost where a key was hot only once, and the next epoch is in balance where it wasn't.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folds {
    /// For each key that is folded from the last view's boundary on, the epochs in a row for which it has been light.
    light: BTreeMap<u64, u32>,
}

/// What the keys that stand out had in an epoch.
struct Heavy {
    records: BTreeMap<u64, f64>,
    /// The records from which a key is folded.
    enough: f64,
}

impl Folds {
    /// Folds the keys that have `fold_share` fair shares or more, and unfolds those that have long been light, or whose
    /// place is needed for a much heavier one; all of them where nothing can be folded.
    ///
    /// Of some keys it may be `foreseen` how many records they will have at the boundary.
    pub(crate) fn decide(
        &mut self,
        view: &View<'_>,
        fold_share: f64,
        foreseen: impl Iterator<Item = (u64, f64)>,
    ) -> Vec<Command> {
        let (workers, folded) = (view.assignment.workers(), view.assignment.folded());
        if !view.can_fold || workers == 1 {
            self.light.clear();
            return folded.iter().map(|key| Command::Unfold { key: *key }).collect();
        }
        let mut heavy = Heavy::of(view, fold_share);
        heavy.foresee(foreseen);
        let enough = heavy.enough;
        self.age(folded, &heavy, LIGHT * enough);

        let mut fold = heavy.of_at_least(enough);
        fold.retain(|(key, _)| !view.assignment.is_folded(*key));
        let (mut unfold, stay): (Vec<u64>, Vec<u64>) = folded.iter().partition(|key| self.light[*key] >= PATIENCE);
        let room = (FOLDED_PER_WORKER * workers).saturating_sub(stay.len());
        let displaced = heavy.displaced(fold.iter().skip(room).map(|f| f.1), stay);
        fold.truncate(room + displaced.len());
        unfold.extend(displaced);

        unfold.iter().for_each(|key| _ = self.light.remove(key));
        self.light.extend(fold.iter().map(|(key, _)| (*key, 0)));
        let unfold = unfold.into_iter().map(|key| Command::Unfold { key });
        unfold.chain(fold.into_iter().map(|(key, _)| Command::Fold { key })).collect()
    }

    /// The keys that are folded from the last view's boundary on, ascending.
    pub(crate) fn keys(&self) -> Vec<u64> {
        self.light.keys().copied().collect()
    }

    /// Counts the epoch for the folded keys that are light in it, and forgets those that are folded no more.
    fn age(&mut self, folded: &[u64], heavy: &Heavy, light: f64) {
        let epochs = |key: &u64| match heavy.records(*key) <= light {
            true => self.light.get(key).map_or(1, |epochs| epochs.saturating_add(1)),
            false => 0,
        };
        self.light = folded.iter().map(|key| (*key, epochs(key))).collect();
    }
}

impl Heavy {
    /// Those of the view that may be more than light.
    fn of(view: &View<'_>, fold_share: f64) -> Self {
        let inside = |profile: &Profile| profile.last.records as f64;
        let folded: f64 = view.folded.iter().map(|folded| folded.records as f64).sum();
        let workers = view.assignment.workers() as f64;
        let fair = (folded + view.profiles.iter().map(inside).sum::<f64>()) / workers;
        let enough = (fold_share * fair).max(PER_PARTIAL * workers);
        let mut records: BTreeMap<u64, f64> = BTreeMap::new();
        for folded in view.folded {
            folded.key.into_iter().for_each(|key| *records.entry(key).or_default() += folded.records as f64);
        }
        for profile in view.profiles.iter().filter(|profile| inside(profile) > LIGHT * enough) {
            for (key, share) in heavy_shares(profile) {
                *records.entry(key).or_default() += inside(profile) * share;
            }
        }
        Heavy { records, enough }
    }

    /// Takes a key for as heavy as it is going to be, if that is more.
    fn foresee(&mut self, foreseen: impl Iterator<Item = (u64, f64)>) {
        for (key, records) in foreseen {
            let known = self.records.entry(key).or_default();
            *known = known.max(records);
        }
    }

    fn records(&self, key: u64) -> f64 {
        self.records.get(&key).copied().unwrap_or(0.0)
    }

    /// The keys with as many records, heaviest first.
    fn of_at_least(&self, enough: f64) -> Vec<(u64, f64)> {
        let mut keys: Vec<(u64, f64)> = self
            .records
            .iter()
            .map(|(key, records)| (*key, *records))
            .filter(|(_, records)| *records >= enough)
            .collect();
        keys.sort_by(|a, b| b.1.total_cmp(&a.1));
        keys
    }

    /// Which of the keys that are folded give way to others with so many records each, of which the first is the
    /// heaviest.
    fn displaced(&self, others: impl Iterator<Item = f64>, mut folded: Vec<u64>) -> Vec<u64> {
        folded.sort_by(|a, b| self.records(*a).total_cmp(&self.records(*b)));
        let pairs = others.zip(folded);
        pairs.take_while(|(other, key)| self.records(*key) <= LIGHT * other).map(|(_, key)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::FoldedKey;
    use super::*;
    use crate::keyspace::{Assignment, KeyRange};
    use crate::profile::{HeavyKey, Summary};

    /// What one shard saw of keys that had so many records each, beside as many of other keys together.
    fn profile(keys: &[(u64, u64)]) -> Profile {
        let records = 2 * keys.iter().map(|k| k.1).sum::<u64>();
        let share = |k: &(u64, u64)| HeavyKey { key: k.0, share: k.1 as f64 / records as f64 };
        let last = Summary { records, heavy: keys.iter().map(share).collect(), ..Summary::default() };
        let (range, rolling) = (KeyRange::ALL, last.clone());
        Profile { epoch: 0, range, worker: 0, keys: 1, state_bytes: 0, last, rolling, health: 0.5 }
    }

    struct Run {
        folds: Folds,
        assignment: Assignment,
    }

    impl Run {
        fn new() -> Self {
            Run { folds: Folds::default(), assignment: Assignment::even(1, 2).unwrap() }
        }

        /// Decides from what keys had in the shard, and what folded keys had.
        fn decide(&mut self, keys: &[(u64, u64)], folded: &[(u64, u64)]) -> Vec<Command> {
            let folded: Vec<_> =
                folded.iter().map(|(key, records)| FoldedKey { key: Some(*key), records: *records }).collect();
            let (assignment, profiles) = (&self.assignment, &[profile(keys)]);
            let view = View { epoch: 0, boundary: 1, assignment, profiles, can_fold: true, folded: &folded };
            let commands = self.folds.decide(&view, 0.1, std::iter::empty());
            self.assignment = self.assignment.apply(&commands).unwrap();
            assert_eq!(self.folds.keys(), self.assignment.folded());
            commands
        }
    }

    #[test]
    fn keys_are_folded_from_a_share_on() {
        let mut run = Run::new();
        assert_eq!(run.decide(&[(1, 900), (2, 55), (3, 45)], &[]), [Command::Fold { key: 1 }]);
        assert_eq!(run.decide(&[(2, 55), (3, 45)], &[(1, 900)]), [Command::Fold { key: 2 }]);
        assert_eq!(run.decide(&[(3, 1)], &[(1, 0), (2, 0)]), [], "so few records are not worth a partial");
    }

    #[test]
    fn a_key_is_unfolded_after_it_has_been_light_for_long_without_a_break() {
        let mut run = Run::new();
        run.decide(&[(1, 900)], &[]);
        for _ in 0..3 {
            (1..PATIENCE).for_each(|_| assert_eq!(run.decide(&[(2, 1)], &[(1, 1)]), []));
            assert_eq!(run.decide(&[(2, 1)], &[(1, 900)]), []);
        }
        (1..PATIENCE).for_each(|_| drop(run.decide(&[(2, 1)], &[(1, 0)])));
        assert_eq!(run.decide(&[(2, 1)], &[(1, 0)]), [Command::Unfold { key: 1 }]);
        assert_eq!(run.decide(&[(2, 1)], &[(1, 0)]), [], "its unfolding is on its way");
        assert_eq!(run.decide(&[(2, 1)], &[(1, 900)]), [Command::Fold { key: 1 }]);
    }

    #[test]
    fn no_more_keys_are_folded_than_may_be_and_much_heavier_ones_take_the_place_of_others() {
        let most = 2 * FOLDED_PER_WORKER as u64;
        let mut run = Run::new();
        let folded = |upto: u64| -> Vec<_> { (0..upto).map(|key| (key, 100 + key)).collect() };
        (0..most).for_each(|key| drop(run.decide(&[(key, 900)], &folded(key))));
        assert_eq!(run.assignment.folded().len() as u64, most);
        assert_eq!(run.decide(&[(50, 399)], &folded(most)), []);
        let (fold, unfold) = (|key| Command::Fold { key }, |key| Command::Unfold { key });
        assert_eq!(
            run.decide(&[(50, 404), (51, 401), (52, 405)], &folded(most)),
            [unfold(0), unfold(1), fold(52), fold(50)]
        );
    }
}
