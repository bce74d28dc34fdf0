use crate::keyspace::{Assignment, KeyRange};

/// What is known of each shard whether it sees records or not: where it is at home, and what state it has.
///
/// It follows an assignment. An epoch before which that has not changed costs nothing here for any shard.
#[derive(Clone, Debug)]
pub(crate) struct Holdings {
    /// The assignment of the first view: where each routing key is at home.
    home: Assignment,
    /// The one that is followed.
    now: Assignment,
    /// The bytes of each shard's state.
    state: Vec<f64>,
    /// The indices of the shards that are not as they were at the start, ascending.
    strayed: Vec<usize>,
    /// How many shards each worker has.
    owned: Vec<usize>,
}

impl Holdings {
    /// At the start, with nothing known of any state.
    pub(crate) fn new(home: &Assignment) -> Self {
        Holdings {
            home: home.clone(),
            now: home.clone(),
            state: vec![0.0; home.len()],
            strayed: Vec::new(),
            owned: owned(home),
        }
    }

    /// Whether it began with as many workers as there are.
    pub(crate) fn is_of(&self, assignment: &Assignment) -> bool {
        self.home.workers() == assignment.workers()
    }

    /// Takes the shards as they are now, and says whether they may be others. What is divided of the state is divided
    /// as `share` says of a part and the whole that it was of.
    pub(crate) fn follow(&mut self, now: &Assignment, share: impl Fn(KeyRange, KeyRange) -> f64) -> bool {
        if self.now.is_divided_like(now) {
            return false;
        }
        let (before, starts) = (self.now.starts(), now.starts());
        let mut from = 0;
        let mut state = Vec::with_capacity(starts.len());
        for (index, start) in starts.iter().enumerate() {
            while before.get(from + 1).is_some_and(|next| next <= start) {
                from += 1;
            }
            let is_as_before = before[from] == *start && before.get(from + 1) == starts.get(index + 1);
            state.push(match is_as_before {
                true => self.state[from],
                false => self.bytes_from(from, now.range(index), &share),
            });
        }
        self.state = state;
        self.strayed = strayed(&self.home, now);
        self.owned = owned(now);
        self.now = now.clone();
        true
    }

    /// Takes the state that a profile gives. Its range may be of an older assignment: several shards now, or a part of
    /// one, of whose other parts nothing new is known.
    pub(crate) fn set_state(&mut self, range: KeyRange, bytes: f64, share: impl Fn(KeyRange, KeyRange) -> f64) {
        for index in self.now.find(range.start())..self.state.len() {
            let known = self.now.range(index);
            if known.start() > range.last() {
                break;
            }
            self.state[index] = match range {
                _ if range == known => bytes,
                _ if range.covers(&known) => bytes * share(known, range),
                _ => self.state[index].max(bytes),
            };
        }
    }

    /// The state of a range: where it is a part of a shard, as `share` says of a part and the whole.
    pub(crate) fn bytes(&self, range: KeyRange, share: impl Fn(KeyRange, KeyRange) -> f64) -> f64 {
        self.bytes_from(self.now.find(range.start()), range, share)
    }

    /// The same of a range that begins in this shard.
    fn bytes_from(&self, first: usize, range: KeyRange, share: impl Fn(KeyRange, KeyRange) -> f64) -> f64 {
        let mut bytes = 0.0;
        for index in first..self.state.len() {
            let (shard, state) = (self.now.range(index), self.state[index]);
            if let Some(part) = shard.intersection(&range) {
                bytes += if part == shard || state == 0.0 { state } else { state * share(part, shard) };
            }
            if shard.last() >= range.last() {
                break;
            }
        }
        bytes
    }

    /// The state of each worker.
    pub(crate) fn bytes_by_worker(&self) -> Vec<f64> {
        let mut bytes = vec![0.0; self.now.workers()];
        self.state.iter().enumerate().for_each(|(index, shard)| bytes[self.now.owner(index)] += shard);
        bytes
    }

    /// The indices of the shards that are not as they were at the start, ascending.
    pub(crate) fn strayed(&self) -> &[usize] {
        &self.strayed
    }

    /// How many shards each worker has.
    pub(crate) fn owned(&self) -> &[usize] {
        &self.owned
    }

    /// The shard of the start that holds a range's first routing key, and its owner.
    pub(crate) fn home(&self, range: KeyRange) -> (KeyRange, usize) {
        let index = self.home.find(range.start());
        (self.home.range(index), self.home.owner(index))
    }
}

fn owned(assignment: &Assignment) -> Vec<usize> {
    let mut owned = vec![0; assignment.workers()];
    assignment.owners().iter().for_each(|owner| owned[*owner as usize] += 1);
    owned
}

/// The shards of `now` that `home` does not have, or has on another worker.
fn strayed(home: &Assignment, now: &Assignment) -> Vec<usize> {
    let (home_starts, starts) = (home.starts(), now.starts());
    let (mut at, mut strayed) = (0, Vec::new());
    for (index, start) in starts.iter().enumerate() {
        while home_starts.get(at + 1).is_some_and(|next| next <= start) {
            at += 1;
        }
        let is_same = home_starts[at] == *start && home_starts.get(at + 1) == starts.get(index + 1);
        if !is_same || home.owners()[at] != now.owners()[index] {
            strayed.push(index);
        }
    }
    strayed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Command;
    use proptest::prelude::*;

    fn by_width(part: KeyRange, whole: KeyRange) -> f64 {
        let width = |range: KeyRange| (range.last() - range.start()) as f64 + 1.0;
        width(part) / width(whole)
    }

    fn holdings(home: &Assignment) -> Holdings {
        let mut holdings = Holdings::new(home);
        home.iter().enumerate().for_each(|(i, (range, _))| holdings.set_state(range, (1 + i) as f64 * 64.0, by_width));
        holdings
    }

    /// An assignment to which so many moves, splits and merges have been done.
    fn changed(home: &Assignment, changes: &[(u8, u64)]) -> Assignment {
        changes.iter().fold(home.clone(), |now, (kind, key)| {
            let index = now.find(*key);
            let shard = now.range(index);
            let command = match kind % 3 {
                0 => Command::Move { shard, to: (*key % now.workers() as u64) as usize },
                1 => Command::Split { shard, at: *key },
                _ => Command::Merge { left: shard, right: now.range((index + 1) % now.len()) },
            };
            now.apply_valid(vec![command]).assignment
        })
    }

    proptest! {
        #[test]
        fn state_is_neither_lost_nor_made_and_comes_home(
            shards in 1..20usize, changes in prop::collection::vec(any::<(u8, u64)>(), 0..40)
        ) {
            let home = Assignment::even(shards, 3).unwrap();
            let mut holdings = holdings(&home);
            let before = holdings.state.clone();
            let now = changed(&home, &changes);
            holdings.follow(&now, by_width);
            let (all, there) = (before.iter().sum::<f64>(), holdings.bytes_by_worker());
            prop_assert!((there.iter().sum::<f64>() - all).abs() < 1e-6 * all);
            prop_assert!((holdings.bytes(KeyRange::ALL, by_width) - all).abs() < 1e-6 * all);
            prop_assert_eq!(holdings.owned().iter().sum::<usize>(), now.len());
            let is_home = |index: usize| home.position(now.range(index)).is_some_and(|at| home.owner(at) == now.owner(index));
            prop_assert!((0..now.len()).filter(|index| !is_home(*index)).eq(holdings.strayed().iter().copied()));
            for shard in now.iter() {
                prop_assert_eq!(holdings.bytes(shard.0, by_width), holdings.state[now.find(shard.0.start())]);
                prop_assert_eq!(holdings.home(shard.0), (home.shard_of(shard.0.start()), home.owner_of(shard.0.start())));
            }
        }
    }

    #[test]
    fn what_has_not_changed_is_not_looked_at() {
        let home = Assignment::even(4, 2).unwrap();
        let mut holdings = holdings(&home);
        let look = |_, _| -> f64 { unreachable!("nothing is divided") };
        assert!(!holdings.follow(&home, look));
        assert!(!holdings.follow(&home.apply([&Command::Fold { key: 7 }]).unwrap(), look));
        assert!(holdings.follow(&home.apply([&Command::Move { shard: home.range(0), to: 1 }]).unwrap(), look));
        assert_eq!((holdings.strayed(), holdings.owned()), (&[0][..], &[1, 3][..]));
    }
}
