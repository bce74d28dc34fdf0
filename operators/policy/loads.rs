use std::collections::VecDeque;

use super::View;
use super::holdings::Holdings;
use crate::forecast::{Exponential, Forecaster};
use crate::keyspace::{Assignment, KeyRange};
use crate::planning::{Measure, Point, ShardLoad, merge_equal};

/// Epochs remembered. At [`ALPHA`] what is older would weigh under 6 % together; with 5 and with 12 the balance was
/// within 2 % of this.
const MEMORY: usize = 8;

/// Weight of the newest epoch in a shard's expected load. At 0.2 abrupt streams were followed too late; 0.5 balanced no
/// better, with half as many moves again.
pub(crate) const ALPHA: f64 = 0.3;

/// Weight of the newest epoch in the error of the forecast: the error is a trait of the stream, and slower than its
/// load.
const ERROR_ALPHA: f64 = 0.3;

/// The error assumed before one was seen: that of a stream whose next epoch has nothing to do with the last ones.
const UNKNOWN_ERROR: f64 = 1.0;

/// What is known of the load, wherever shards begin and end.
///
/// Of the shards those are *listed* of which there is something to say: that saw records in an epoch remembered, are to
/// see some in one foreseen, or are not as they were at the start. All others are idle at home, and cost nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loads {
    /// The epochs remembered, oldest first.
    epochs: VecDeque<Measure>,
    /// For each of them, the shards that saw records, as they are now.
    live: VecDeque<Vec<usize>>,
    /// The epochs foreseen, the nearest first, with their likelihoods.
    foreseen: Vec<(Measure, f64)>,
    /// The routing keys whose records are no load of a shard, ascending.
    folded: Vec<u64>,
    /// None before the first view.
    holdings: Option<Holdings>,
    error: Option<Exponential>,
}

impl Loads {
    /// Takes where the records of the newest epoch lay.
    pub(crate) fn remember(&mut self, seen: Measure) {
        if self.epochs.len() == MEMORY {
            self.epochs.pop_front();
            self.live.pop_front();
        }
        self.epochs.push_back(seen);
    }

    /// What the epochs remembered make one expect of any, folded keys included.
    pub(crate) fn usual(&self) -> Measure {
        Measure::mixed(self.epochs.iter().zip(fading(self.epochs.len())))
    }

    /// Takes what is foreseen of the epochs from the next boundary on, with their likelihoods.
    pub(crate) fn foresee(&mut self, foreseen: Vec<(Measure, f64)>) {
        self.foreseen = foreseen;
    }

    /// Takes what else a view shows, and gives the shards of its assignment that are listed, from whose loads these
    /// keys, which are ascending, are `folded`.
    pub(crate) fn observe(&mut self, view: &View<'_>, folded: &[u64]) -> Vec<ShardLoad> {
        self.set_folded(folded);
        let known = self.holdings.take().filter(|holdings| holdings.is_of(view.assignment));
        let is_new = known.is_none();
        let mut holdings = known.unwrap_or_else(|| Holdings::new(view.assignment));
        let have_changed = holdings.follow(view.assignment, |part, whole| self.share(part, whole));
        for profile in view.profiles {
            let share = |part, whole| self.share(part, whole);
            holdings.set_state(profile.range, profile.state_bytes as f64, share);
        }
        self.holdings = Some(holdings);
        if is_new || have_changed {
            self.live.clear();
        }
        let newest = self.epochs.range(self.live.len()..).map(|epoch| epoch.shards(view.assignment));
        self.live.extend(newest.collect::<Vec<_>>());
        let shards = self.shards(&self.listed(view.assignment));
        self.learn_error(&shards, view.boundary.saturating_sub(view.epoch).max(1) as usize);
        shards
    }

    /// The listed shards of the view's assignment, with their owners.
    fn listed(&self, assignment: &Assignment) -> Vec<(KeyRange, usize)> {
        let mut listed = self.holdings.as_ref().map_or(Vec::new(), |holdings| holdings.strayed().to_vec());
        self.live.iter().for_each(|live| include(&mut listed, live));
        self.foreseen.iter().for_each(|(epoch, _)| include(&mut listed, &epoch.shards(assignment)));
        listed.into_iter().map(|index| (assignment.range(index), assignment.owner(index))).collect()
    }

    /// How many shards each worker has, whether they are listed or not.
    pub(crate) fn owned(&self) -> &[usize] {
        self.holdings.as_ref().map_or(&[], Holdings::owned)
    }

    /// The state of each worker, by the view's assignment.
    pub(crate) fn bytes_by_worker(&self) -> Vec<f64> {
        self.holdings.as_ref().map_or(Vec::new(), Holdings::bytes_by_worker)
    }

    /// Records expected per epoch of the folded keys.
    pub(crate) fn folded(&self) -> f64 {
        self.expected(&self.scenarios().map(Measure::folded).collect::<Vec<_>>())
    }

    /// How wrong forecasts have been: the part of the shards' records, from 0 to 2, that was expected in another shard
    /// than it came to, counted on both sides.
    pub(crate) fn error(&self) -> f64 {
        self.error.as_ref().map_or(UNKNOWN_ERROR, |e| e.forecast(1).mean)
    }

    /// How likely the next epoch is to be like each one remembered, oldest first, and each one foreseen; together 1.
    pub(crate) fn likelihood(&self) -> Vec<f64> {
        let rest = 1.0 - self.trust();
        let remembered = fading(self.epochs.len()).map(|weight| rest * weight);
        remembered.chain(self.foreseen.iter().map(|f| f.1)).collect()
    }

    /// How likely it is that what is foreseen comes, rather than what was.
    pub(crate) fn trust(&self) -> f64 {
        self.foreseen.iter().map(|f| f.1).sum()
    }

    /// What is foreseen of a shard.
    pub(crate) fn foreseen<'a>(&self, shard: &'a ShardLoad) -> &'a [f64] {
        &shard.recent[self.epochs.len()..]
    }

    /// The epochs remembered, and those foreseen.
    fn scenarios(&self) -> impl Iterator<Item = &Measure> {
        self.epochs.iter().chain(self.foreseen.iter().map(|f| &f.0))
    }

    /// The shards with these owners, which are in order.
    pub(crate) fn shards(&self, owners: &[(KeyRange, usize)]) -> Vec<ShardLoad> {
        let Some(holdings) = &self.holdings else { return Vec::new() };
        let ranges: Vec<KeyRange> = owners.iter().map(|o| o.0).collect();
        (owners.iter().zip(self.recent(&ranges)))
            .map(|(&(range, owner), recent)| ShardLoad {
                range,
                owner,
                home: holdings.home(range).1,
                load: self.expected(&recent),
                recent,
                bytes: holdings.bytes(range, |part, whole| self.share(part, whole)),
            })
            .collect()
    }

    /// The shard of the start that holds a range's first routing key, and its owner.
    pub(crate) fn home(&self, range: KeyRange) -> Option<(KeyRange, usize)> {
        Some(self.holdings.as_ref()?.home(range))
    }

    /// What all epochs together show inside a range, weighted by their likelihood.
    pub(crate) fn points(&self, range: KeyRange) -> Vec<Point> {
        let mut points: Vec<Point> = (self.scenarios().zip(self.likelihood()))
            .flat_map(|(epoch, w)| epoch.within(range).iter().map(move |p| Point { weight: p.weight * w, ..*p }))
            .collect();
        points.sort_by_key(|p| p.key);
        merge_equal(&points)
    }

    /// Sets these keys apart in every epoch, so that nothing is planned for what they were before they were folded.
    fn set_folded(&mut self, folded: &[u64]) {
        let known = if self.folded == folded { self.epochs.len().saturating_sub(1) } else { 0 };
        let epochs = self.epochs.range_mut(known..).chain(self.foreseen.iter_mut().map(|f| &mut f.0));
        epochs.for_each(|epoch| epoch.set_folded(folded));
        self.folded = folded.to_vec();
    }

    /// The records of each range in each epoch.
    fn recent(&self, ranges: &[KeyRange]) -> Vec<Vec<f64>> {
        let mut recent = vec![Vec::with_capacity(MEMORY + self.foreseen.len()); ranges.len()];
        for epoch in self.scenarios() {
            for (recent, records) in recent.iter_mut().zip(epoch.weights(ranges)) {
                recent.push(records);
            }
        }
        recent
    }

    /// The records to be expected, given those of each epoch.
    fn expected(&self, recent: &[f64]) -> f64 {
        let (remembered, foreseen) = recent.split_at(self.epochs.len());
        let foreseen: f64 = foreseen.iter().zip(&self.foreseen).map(|(records, f)| records * f.1).sum();
        (1.0 - self.trust()) * expected(remembered) + foreseen
    }

    /// Compares the epoch with what could be expected of it when the commands for it were decided, `lead` epochs ago.
    fn learn_error(&mut self, shards: &[ShardLoad], lead: usize) {
        let epochs = self.epochs.len();
        if epochs <= lead && epochs < MEMORY {
            return;
        }
        let known = epochs.saturating_sub(lead).max(1);
        let forecast: Vec<f64> = shards.iter().map(|s| expected(&s.recent[..known])).collect();
        let actual = |s: &ShardLoad| s.recent[epochs - 1];
        let (expected, came): (f64, f64) = (forecast.iter().sum(), shards.iter().map(actual).sum());
        if expected > 0.0 && came > 0.0 {
            let error = forecast.iter().zip(shards).map(|(f, s)| (f / expected - actual(s) / came).abs()).sum();
            self.error.get_or_insert_with(|| Exponential::new(ERROR_ALPHA)).observe(error);
        }
    }

    /// The part of the state of `whole` that lies in `part`, by the last epoch that showed keys there.
    fn share(&self, part: KeyRange, whole: KeyRange) -> f64 {
        let last = self.epochs.iter().rev().find(|epoch| epoch.keys(whole) > 0);
        last.map_or(width(part) / width(whole), |epoch| epoch.keys(part) as f64 / epoch.keys(whole) as f64)
    }
}

/// Weights of so many epochs, oldest first; together 1.
fn fading(epochs: usize) -> impl Iterator<Item = f64> {
    let weight = |age: usize| (1.0 - ALPHA).powi(age as i32);
    let total: f64 = (0..epochs).map(weight).sum();
    (0..epochs).rev().map(move |age| weight(age) / total)
}

/// What [`Exponential`] smoothing makes one expect of any later epoch.
fn expected(recent: &[f64]) -> f64 {
    recent.iter().copied().reduce(|level, records| (1.0 - ALPHA) * level + ALPHA * records).unwrap_or(0.0)
}

/// Adds indices to others, both ascending.
fn include(indices: &mut Vec<usize>, more: &[usize]) {
    if indices[..] == *more {
        return;
    }
    let mut old = std::mem::replace(indices, Vec::with_capacity(indices.len().max(more.len()))).into_iter().peekable();
    for &index in more {
        while let Some(before) = old.next_if(|old| *old < index) {
            indices.push(before);
        }
        old.next_if_eq(&index);
        indices.push(index);
    }
    indices.extend(old);
}

fn width(range: KeyRange) -> f64 {
    (range.last() - range.start()) as f64 + 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Command;
    use crate::profile::{Profile, Summary};
    use crate::stable_hash;

    fn profile(range: KeyRange, records: u64, sample: &[u64]) -> Profile {
        let last = Summary { epochs: 1, records, sample: sample.to_vec(), ..Summary::default() };
        let rolling = last.clone();
        Profile { epoch: 0, range, worker: 0, keys: 2, state_bytes: 100, last, rolling, health: 0.5 }
    }

    fn observe(loads: &mut Loads, assignment: &Assignment, lead: u64, profiles: &[Profile]) {
        let view = View { epoch: 5, boundary: 5 + lead, assignment, profiles, can_fold: false, folded: &[] };
        loads.remember(Measure::of(profiles, &[], assignment.workers()));
        loads.observe(&view, assignment.folded());
    }

    #[test]
    fn a_profile_counts_for_the_shards_that_came_after_it() {
        let before = Assignment::even(1, 2).unwrap();
        let after = before.apply(&[Command::Split { shard: KeyRange::ALL, at: 50 }]).unwrap();
        let mut loads = Loads::default();
        observe(&mut loads, &before, 2, &[profile(KeyRange::ALL, 400, &[10, 10, 10, 90])]);
        observe(&mut loads, &after, 2, &[profile(KeyRange::ALL, 800, &[10, 10, 90, 90])]);
        let shards = loads.shards(&after.iter().collect::<Vec<_>>());
        assert_eq!((&shards[0].recent[..], &shards[1].recent[..]), (&[300.0, 400.0][..], &[100.0, 400.0][..]));
        assert_eq!((shards[0].bytes, shards[1].bytes), (50.0, 50.0));
        assert_eq!(shards[0].load, 300.0 + ALPHA * 100.0);
    }

    #[test]
    fn what_is_not_listed_is_idle_at_home() {
        let start = Assignment::even(64, 3).unwrap();
        let (mut loads, mut now) = (Loads::default(), start.clone());
        for epoch in 0..40u64 {
            let seen = |i: usize| stable_hash(&(epoch / 4, i as u64)).is_multiple_of(16);
            let profiles: Vec<Profile> =
                (0..now.len()).filter(|i| seen(*i)).map(|i| profile(now.range(i), 4, &[])).collect();
            observe(&mut loads, &now, 2, &profiles);
            let listed = loads.listed(&now);
            assert!(listed.is_sorted() && listed.len() < now.len(), "{listed:?}");
            let all = loads.shards(&now.iter().collect::<Vec<_>>());
            for shard in all.iter().filter(|shard| !listed.contains(&(shard.range, shard.owner))) {
                assert_eq!(loads.home(shard.range), Some((shard.range, shard.owner)));
                assert!(shard.recent.iter().all(|records| *records == 0.0), "{shard:?} in epoch {epoch}");
            }
            let shard = now.range((epoch * 7) as usize % now.len());
            let at = shard.start() + (shard.last() - shard.start()) / 2 + 1;
            let (left, _) = shard.split(at).unwrap();
            let changes = match epoch % 5 {
                0 => vec![Command::Move { shard, to: epoch as usize % 3 }],
                1 => vec![Command::Split { shard, at }, Command::Move { shard: left, to: 2 }],
                2 => vec![Command::Fold { key: shard.start() }],
                _ => vec![Command::Merge { left: now.range(3), right: now.range(4) }],
            };
            now = now.apply_valid(changes).assignment;
        }
        assert_ne!(now, start);
    }

    #[test]
    fn a_key_leaves_no_load_behind_when_it_is_folded() {
        let one = Assignment::even(1, 2).unwrap();
        let mut loads = Loads::default();
        (0..3).for_each(|_| observe(&mut loads, &one, 1, &[profile(KeyRange::ALL, 400, &[10, 10, 10, 90])]));
        let folded = one.apply([&Command::Fold { key: 10 }]).unwrap();
        // Still seen in its shard, as the command is on its way.
        observe(&mut loads, &folded, 1, &[profile(KeyRange::ALL, 400, &[10, 10, 10, 90])]);
        let load = |loads: &Loads| loads.shards(&[(KeyRange::ALL, 0)])[0].load;
        assert_eq!((load(&loads), loads.folded()), (100.0, 300.0));
        observe(&mut loads, &one, 1, &[profile(KeyRange::ALL, 400, &[10, 10, 10, 90])]);
        assert_eq!((load(&loads), loads.folded()), (400.0, 0.0));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_its_likelihood_is_one() {
        let one = Assignment::even(1, 2).unwrap();
        let mut loads = Loads::default();
        for _ in 0..3 * MEMORY {
            observe(&mut loads, &one, 1, &[profile(KeyRange::ALL, 1, &[])]);
        }
        assert_eq!(loads.likelihood().len(), MEMORY);
        assert!((loads.likelihood().iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_error_is_what_came_elsewhere() {
        let two = Assignment::even(2, 2).unwrap();
        let mut loads = Loads::default();
        assert_eq!(loads.error(), UNKNOWN_ERROR);
        observe(&mut loads, &two, 1, &[profile(two.range(0), 100, &[])]);
        observe(&mut loads, &two, 1, &[profile(two.range(0), 700, &[])]);
        assert_eq!(loads.error(), 0.0);
        observe(&mut loads, &two, 1, &[profile(two.range(1), 100, &[])]);
        assert_eq!(loads.error(), 2.0 * ERROR_ALPHA);
    }

    #[test]
    fn cold_shards_keep_their_state_through_splits_and_merges() {
        let one = Assignment::even(1, 2).unwrap();
        let mut loads = Loads::default();
        observe(&mut loads, &one, 1, &[profile(KeyRange::ALL, 4, &[1, 2, 3, u64::MAX])]);
        let two = one.apply(&[Command::Split { shard: KeyRange::ALL, at: 1 << 63 }]).unwrap();
        observe(&mut loads, &two, 1, &[]);
        let bytes = |a: &Assignment| -> Vec<f64> {
            loads.shards(&a.iter().collect::<Vec<_>>()).iter().map(|s| s.bytes).collect()
        };
        assert_eq!(bytes(&two), [75.0, 25.0]);
        assert_eq!(bytes(&one), [100.0]);
    }
}
