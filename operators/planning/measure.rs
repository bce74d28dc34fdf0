use crate::keyspace::{Assignment, KeyRange};
use crate::profile::Profile;

/// Points that stand for a shard of whose routing keys nothing was sampled, spread evenly over it.
const BLIND: u64 = 8;

/// Into how many parts a worker's fair share is told apart, where records need not be: 16 for each shard of the finest
/// grain. A shard with less is one point, so that a million of them are no more than a million points.
const PARTS: f64 = 256.0;

/// Where the records of one epoch lay in the key space, as far as its profiles and folded keys tell: weighted points.
///
/// A shard's points weigh its exact records together; how they divide inside it is an estimate. So whatever the shards
/// were, are or will be, the records of a range are the sum of its points. Those at folded keys are set apart:
/// whether the key was folded in that epoch or not, they are no load of a shard to come.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Measure {
    points: Vec<Point>,
    folded: Vec<Point>,
}

/// Some records at one routing key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) key: u64,
    /// Records, or what is in proportion to them.
    pub(crate) weight: f64,
    /// Whether the key was seen, rather than assumed.
    pub(crate) seen: bool,
}

impl Measure {
    /// That of these points, which are in order.
    pub(crate) fn of_points(points: Vec<Point>) -> Self {
        Measure { points, folded: Vec::new() }
    }

    /// Of an epoch with these profiles, and these records of folded keys, `(key, records)`, on so many workers.
    pub(crate) fn of(profiles: &[Profile], folded: &[(u64, u64)], workers: usize) -> Self {
        let shards: f64 = profiles.iter().map(|p| p.last.records as f64).sum();
        let total = shards + folded.iter().map(|f| f.1 as f64).sum::<f64>();
        let least = total / (PARTS * workers as f64);
        let mut points = Vec::with_capacity(profiles.len());
        for profile in profiles.iter().filter(|p| p.last.records > 0) {
            scatter(profile, least, &mut points);
        }
        let seen = folded.iter().filter(|(_, records)| *records > 0);
        points.extend(seen.map(|(key, records)| Point { key: *key, weight: *records as f64, seen: true }));
        points.sort_by_key(|p| p.key);
        Self::of_points(points)
    }

    /// All of these together, each with a weight, and nothing set apart.
    pub(crate) fn mixed<'a>(measures: impl Iterator<Item = (&'a Measure, f64)>) -> Self {
        let weighted = |(measure, weight): (&'a Measure, f64)| {
            let points = measure.points.iter().chain(&measure.folded);
            points.map(move |point| Point { weight: point.weight * weight, ..*point })
        };
        let mut points: Vec<Point> = measures.flat_map(weighted).collect();
        points.sort_by_key(|p| p.key);
        Self::of_points(merge_equal(&points))
    }

    /// All of the weight that is not set apart.
    pub(crate) fn total(&self) -> f64 {
        self.points.iter().map(|p| p.weight).sum()
    }

    /// The weight at a routing key.
    pub(crate) fn at(&self, key: u64) -> f64 {
        self.within(KeyRange::single(key)).iter().map(|p| p.weight).sum()
    }

    /// Sets apart the points at these routing keys, which are ascending, and no others.
    pub(crate) fn set_folded(&mut self, keys: &[u64]) {
        self.points.append(&mut self.folded);
        if !keys.is_empty() {
            self.folded = self.points.extract_if(.., |p| keys.binary_search(&p.key).is_ok()).collect();
        }
        self.points.sort_by_key(|p| p.key);
    }

    /// The weight set apart.
    pub(crate) fn folded(&self) -> f64 {
        self.folded.iter().map(|p| p.weight).sum()
    }

    /// How many routing keys were seen in a range, folded ones included.
    pub(crate) fn keys(&self, range: KeyRange) -> usize {
        let folded = self.folded.iter().filter(|p| range.contains(p.key)).count();
        self.within(range).iter().filter(|p| p.seen).count() + folded
    }

    /// The points in a range, in order.
    pub(crate) fn within(&self, range: KeyRange) -> &[Point] {
        let first = self.points.partition_point(|p| p.key < range.start());
        let count = self.points[first..].partition_point(|p| p.key <= range.last());
        &self.points[first..first + count]
    }

    /// The indices of the shards in which it has points, set apart or not, ascending.
    pub(crate) fn shards(&self, assignment: &Assignment) -> Vec<usize> {
        let mut shards = Vec::with_capacity(self.points.len());
        let mut last = None;
        for point in self.points.iter().chain(&self.folded) {
            if last.is_none_or(|last: KeyRange| !last.contains(point.key)) {
                let index = assignment.find(point.key);
                last = Some(assignment.range(index));
                shards.push(index);
            }
        }
        if !self.folded.is_empty() {
            shards.sort_unstable();
            shards.dedup();
        }
        shards
    }

    /// The weight of each of these ranges, which are in order and disjoint.
    pub(crate) fn weights(&self, ranges: &[KeyRange]) -> Vec<f64> {
        let mut rest = self.points.iter().peekable();
        let weight = |range: &KeyRange| {
            let mut sum = 0.0;
            while let Some(point) = rest.next_if(|p| p.key <= range.last()) {
                sum += if point.key >= range.start() { point.weight } else { 0.0 };
            }
            sum
        };
        ranges.iter().map(weight).collect()
    }
}

/// Appends the points of one profile: heavy keys by their shares, the rest by the sample; but one point, always the
/// same, if it has no more than the least that is told apart.
fn scatter(profile: &Profile, least: f64, points: &mut Vec<Point>) {
    let (range, records) = (profile.range, profile.last.records as f64);
    if records <= least {
        let middle = range.start() + (range.last() - range.start()) / 2;
        points.push(Point { key: middle, weight: records, seen: range.is_single() });
        return;
    }
    let heavy = heavy_shares(profile);
    let light: Vec<u64> = (profile.last.sample.iter().copied())
        .filter(|k| range.contains(*k) && heavy.binary_search_by_key(k, |h| h.0).is_err())
        .collect();
    let heavy_total: f64 = heavy.iter().map(|h| h.1).sum();
    // Shares are estimates: together they may exceed 1, and without others they must be 1.
    let scale = if light.is_empty() || heavy_total > 1.0 { heavy_total.recip() } else { 1.0 };
    let first = points.len();
    points.extend(heavy.iter().map(|(key, share)| Point { key: *key, weight: records * share * scale, seen: true }));
    let each = records * (1.0 - heavy_total * scale).max(0.0) / light.len() as f64;
    points.extend(light.iter().map(|key| Point { key: *key, weight: each, seen: true }));
    if points.len() == first {
        points.extend(spread(range, records));
    }
    points[first..].sort_by_key(|p| p.key);
    let merged = joined(&points[first..], |last, point| {
        last.key == point.key || (last.seen && point.seen && last.weight + point.weight <= least)
    });
    points.truncate(first);
    points.extend(merged);
}

/// Points for records of which it isn't known where in a range they lie.
pub(crate) fn spread(range: KeyRange, records: f64) -> impl Iterator<Item = Point> {
    let step = (u128::from(range.last() - range.start()) + 1).div_ceil(u128::from(BLIND));
    let count = (range.end() - u128::from(range.start())).div_ceil(step);
    (0..count).map(move |i| Point {
        key: (u128::from(range.start()) + i * step) as u64,
        weight: records / count as f64,
        seen: range.is_single(),
    })
}

/// The heavy keys of a profile, ascending, with credible shares.
pub(crate) fn heavy_shares(profile: &Profile) -> Vec<(u64, f64)> {
    let mut heavy: Vec<(u64, f64)> = (profile.last.heavy.iter())
        .filter(|h| profile.range.contains(h.key) && h.share > 0.0 && h.share <= 1.0)
        .map(|h| (h.key, h.share))
        .collect();
    heavy.sort_by_key(|h| h.0);
    heavy.dedup_by_key(|h| h.0);
    heavy
}

/// Makes one point of those with the same key. The points are in order.
pub(crate) fn merge_equal(points: &[Point]) -> Vec<Point> {
    joined(points, |last, point| last.key == point.key)
}

/// Makes one point of neighbours that are to be together, with the first one's key.
fn joined(points: &[Point], together: impl Fn(&Point, &Point) -> bool) -> Vec<Point> {
    let mut joined: Vec<Point> = Vec::with_capacity(points.len());
    for point in points {
        match joined.last_mut() {
            Some(last) if together(last, point) => {
                last.weight += point.weight;
                last.seen |= point.seen;
            }
            _ => joined.push(*point),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{HeavyKey, Summary};

    fn profile(range: KeyRange, records: u64, heavy: &[(u64, f64)], sample: &[u64]) -> Profile {
        let heavy = heavy.iter().map(|(key, share)| HeavyKey { key: *key, share: *share }).collect();
        let last = Summary { epochs: 1, records, heavy, sample: sample.to_vec(), ..Summary::default() };
        Profile { epoch: 0, range, worker: 0, keys: 0, state_bytes: 0, last, rolling: Summary::default(), health: 0.5 }
    }

    fn range(start: u64, end: u128) -> KeyRange {
        KeyRange::new(start, end).unwrap()
    }

    #[test]
    fn records_divide_by_heavy_keys_and_sample() {
        let all = range(0, 100);
        let measure = Measure::of(&[profile(all, 1000, &[(40, 0.5)], &[10, 20, 40, 40, 90, 90])], &[], 1);
        let parts = [range(0, 40), range(40, 41), range(41, 100)];
        assert_eq!(measure.weights(&parts), [250.0, 500.0, 250.0]);
        assert_eq!(measure.within(parts[2]).len(), 1);
    }

    #[test]
    fn what_is_little_is_not_told_apart() {
        let (busy, light) = (range(0, 1000), range(1000, 2000));
        let sample: Vec<u64> = (0..50).map(|i| 20 * i).collect();
        let profiles = [profile(busy, 25_600, &[(7, 0.9)], &sample), profile(light, 100, &[], &[1007, 1008])];
        let measure = Measure::of(&profiles, &[], 1);
        // Each of the sample stands for 51 records, and 100 may be one point.
        assert_eq!((measure.within(busy).len(), measure.within(light).len()), (1 + 50, 1));
        let two = Measure::of(&profiles, &[(1500, 100_000)], 1);
        assert!(two.within(busy).len() < 10 && two.at(7) == 0.9 * 25_600.0, "{two:?}");
        assert!((two.weights(&[busy])[0] - 25_600.0).abs() < 1e-6 && two.at(1499) == 100.0);
    }

    #[test]
    fn without_a_sample_records_lie_evenly() {
        let measure = Measure::of(&[profile(KeyRange::ALL, 80, &[], &[])], &[], 1);
        assert_eq!(measure.weights(&[range(0, 1 << 63), KeyRange::from(1 << 63..)]), [40.0, 40.0]);
        let tiny = Measure::of(
            &[profile(range(7, 10), 3, &[], &[]), profile(KeyRange::single(u64::MAX), 5, &[], &[])],
            &[],
            1,
        );
        assert_eq!(tiny.weights(&[range(7, 8), range(8, 10), KeyRange::single(u64::MAX)]), [1.0, 2.0, 5.0]);
    }

    #[test]
    fn what_is_folded_is_no_load_of_its_shard_and_becomes_it_again() {
        let folded = [(60, 700), (61, 0)];
        let all = range(0, 100);
        let mut measure = Measure::of(&[profile(all, 1000, &[(40, 0.5)], &[10, 20])], &folded, 1);
        let weights = |measure: &Measure| (measure.weights(&[all])[0], measure.folded(), measure.keys(all));
        assert_eq!(weights(&measure), (1700.0, 0.0, 4));
        measure.set_folded(&[40, 60]);
        assert_eq!(weights(&measure), (500.0, 1200.0, 4));
        measure.set_folded(&[10, 60]);
        assert_eq!(weights(&measure), (750.0, 950.0, 4));
        measure.set_folded(&[]);
        assert_eq!(weights(&measure), (1700.0, 0.0, 4));
        assert_eq!(measure.weights(&[range(0, 40), range(40, 60)]), [500.0, 500.0]);
    }

    #[test]
    fn a_shard_has_its_exact_records_whatever_the_estimates() {
        for heavy in [vec![(3, 0.9), (5, 0.8)], vec![(3, 0.1)], vec![(3, f64::NAN), (5, -1.0), (200, 0.5)], vec![]] {
            for sample in [vec![], vec![3, 3, 3], vec![1, 2, 3, 3, 300]] {
                let measure = Measure::of(&[profile(range(0, 100), 1000, &heavy, &sample)], &[], 1);
                let sum = measure.weights(&[range(0, 100)])[0];
                assert!((sum - 1000.0).abs() < 1e-9, "{sum} of 1000 with {heavy:?} and {sample:?}");
            }
        }
    }
}
