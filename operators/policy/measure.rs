use crate::keyspace::KeyRange;
use crate::profile::Profile;

/// Points that stand for a shard of whose routing keys nothing was sampled, spread evenly over it.
const BLIND: u64 = 8;

/// Where the records of one epoch lay in the key space, as far as its profiles tell: weighted points.
///
/// A shard's points weigh its exact records together; how they divide inside it is an estimate. So whatever the shards
/// were, are or will be, the records of a range are the sum of its points.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Measure {
    points: Vec<Point>,
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
    pub(crate) fn of(profiles: &[Profile]) -> Self {
        let mut points = Vec::new();
        for profile in profiles.iter().filter(|p| p.last.records > 0) {
            scatter(profile, &mut points);
        }
        // Already sorted, unless profiles are out of order.
        points.sort_by_key(|p| p.key);
        Measure { points }
    }

    /// The points in a range, in order.
    pub(crate) fn within(&self, range: KeyRange) -> &[Point] {
        let first = self.points.partition_point(|p| p.key < range.start());
        let count = self.points[first..].partition_point(|p| p.key <= range.last());
        &self.points[first..first + count]
    }

    /// The weight of each of these ranges, which are in order and disjoint.
    pub(crate) fn weights<'a>(&'a self, ranges: impl Iterator<Item = KeyRange> + 'a) -> impl Iterator<Item = f64> + 'a {
        let mut rest = self.points.as_slice();
        ranges.map(move |range| {
            let before = rest.iter().take_while(|p| p.key < range.start()).count();
            let inside = rest[before..].iter().take_while(|p| p.key <= range.last()).count();
            let weight = rest[before..before + inside].iter().map(|p| p.weight).sum();
            rest = &rest[before + inside..];
            weight
        })
    }
}

/// Appends the points of one profile: heavy keys by their shares, the rest by the sample.
fn scatter(profile: &Profile, points: &mut Vec<Point>) {
    let (range, records) = (profile.range, profile.last.records as f64);
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
        let step = (u128::from(range.last() - range.start()) + 1).div_ceil(u128::from(BLIND));
        let count = (range.end() - u128::from(range.start())).div_ceil(step);
        points.extend((0..count).map(|i| Point {
            key: (u128::from(range.start()) + i * step) as u64,
            weight: records / count as f64,
            seen: range.is_single(),
        }));
    }
    points[first..].sort_by_key(|p| p.key);
    let merged = merge_equal(&points[first..]);
    points.truncate(first);
    points.extend(merged);
}

/// The heavy keys of a profile, ascending, with credible shares.
fn heavy_shares(profile: &Profile) -> Vec<(u64, f64)> {
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
    let mut merged: Vec<Point> = Vec::with_capacity(points.len());
    for point in points {
        match merged.last_mut() {
            Some(last) if last.key == point.key => {
                last.weight += point.weight;
                last.seen |= point.seen;
            }
            _ => merged.push(*point),
        }
    }
    merged
}
