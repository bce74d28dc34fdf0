use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::board::Board;
use super::ordered::Ordered;
use super::parts::Parts;
use super::room::Room;
use super::worth::Terms;
use super::{CUTS, ShardLoad, Step};

/// Moves in a row that pay, but less than one found before, after which those that promise less are not looked at. With
/// 64 workers and eight scenarios a plan took 1.2 ms with 8, where it took 1.5 without, and came to the same imbalance.
const TRIES: usize = 4;

/// What has become of a shard in the plan.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Whole,
    /// Keys have left it: what is left is the rest with this index.
    Cut(usize),
    Moved,
}

/// A move.
struct Best {
    /// What it relieves per byte.
    weight: Ordered,
    part: usize,
    to: usize,
}

/// The plan so far. Parts, which may move, are shards, and keys after them.
pub(super) struct Search<'a> {
    shards: &'a [ShardLoad],
    states: Vec<State>,
    /// What is left of shards that keys have left.
    rests: Vec<ShardLoad>,
    /// For each worker, whether the keys of its shards were asked for.
    asked: Vec<bool>,
    /// Keys that may leave, each with the index of its shard, and whether it has.
    keys: Vec<(usize, ShardLoad, bool)>,
    pub(super) board: Board,
    pub(super) steps: Vec<Step>,
    pub(super) bytes: f64,
    pub(super) terms: Terms,
    /// Shards that there may be more.
    room: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(shards: &'a [ShardLoad], board: Board, terms: Terms, room: usize) -> Self {
        let (states, asked) = (vec![State::Whole; shards.len()], vec![false; board.capacities.len()]);
        let (rests, keys, steps) = (Vec::new(), Vec::new(), Vec::new());
        Search { shards, states, rests, asked, keys, board, steps, bytes: 0.0, terms, room }
    }

    pub(super) fn imbalance(&self) -> f64 {
        let stranded = self.shards.iter().zip(&self.states);
        let mut stranded = stranded.filter(|s| *s.1 != State::Moved && !self.board.is_in_use(s.0.owner));
        if stranded.any(|s| s.0.load > 0.0) { f64::INFINITY } else { self.board.busiest }
    }

    /// Empties workers that are not in use, heaviest first, to where most room is.
    pub(super) fn empty(&mut self) {
        let mut leaving: Vec<usize> = (0..self.shards.len()).collect();
        leaving.retain(|index| !self.board.is_in_use(self.shards[*index].owner));
        if leaving.is_empty() {
            return;
        }
        leaving.sort_by(|a, b| self.shards[*b].load.total_cmp(&self.shards[*a].load));
        let mut room = Room::new(&self.board.capacities, &self.board.expected);
        for index in leaving {
            if let Some(to) = room.place(self.board.load(&self.shards[index])) {
                self.go(index, to);
            }
        }
        self.board.rank();
    }

    /// Moves what pays, as long as the target isn't reached.
    pub(super) fn relieve(&mut self, target: f64, limit: usize, keys: impl Fn(&ShardLoad) -> Vec<ShardLoad>) {
        loop {
            let steps = self.steps.len();
            let mut parts = Parts::of(&self.owners(), self.board.capacities.len());
            let mut order: BinaryHeap<(Ordered, usize)> =
                parts.workers().map(|w| (Ordered(f64::INFINITY), w)).collect();
            while self.board.busiest > target
                && self.steps.len() < limit
                && let Some((_, worker)) = order.pop()
            {
                if self.board.ratio(worker) > target {
                    self.ask(worker, &mut parts, &keys);
                }
                let Some(best) = self.best_of(&mut parts, worker) else { continue };
                order.push((best.weight, worker));
                if order.peek().is_some_and(|next| next.1 == worker) {
                    self.go(best.part, best.to);
                    self.board.rank();
                    if self.board.ratio(best.to) > target {
                        order.push((Ordered(f64::INFINITY), best.to));
                    }
                }
            }
            if self.steps.len() == steps || self.steps.len() >= limit || self.board.busiest <= target {
                return;
            }
        }
    }

    /// The owner of each part that may move.
    fn owners(&self) -> Vec<Option<usize>> {
        let owner = |index| self.can_move(index).then(|| self.part(index).owner);
        (0..self.shards.len() + self.keys.len()).map(owner).collect()
    }

    /// The best move from a worker: of its most promising parts as of when they were last looked for, and where none of
    /// them pays any more, of all.
    fn best_of(&self, parts: &mut Parts, worker: usize) -> Option<Best> {
        let slope = self.board.slope(worker);
        let bound = |part: usize| self.bound(&slope, part);
        self.best_among(parts.promising(worker, bound)).or_else(|| self.best_among(parts.look(worker, bound)))
    }

    /// The best of these moves, each with what it relieves per byte at most.
    fn best_among(&self, mut bounds: Vec<(Ordered, usize)>) -> Option<Best> {
        let mut best: Option<Best> = None;
        let mut tries = 0;
        while tries < TRIES
            && let Some(next) = (0..bounds.len()).max_by_key(|i| (bounds[*i].0, Reverse(bounds[*i].1)))
        {
            let (bound, part) = bounds.swap_remove(next);
            if best.as_ref().is_some_and(|best| best.weight >= bound) {
                break;
            }
            if let Some((gain, to)) = self.best(part) {
                let weight = Ordered(self.weight(part, gain));
                tries += 1;
                if best.as_ref().is_none_or(|best| best.weight < weight) {
                    tries = 0;
                    best = Some(Best { weight, part, to });
                }
            }
        }
        best
    }

    /// Asks, once, for the keys of a worker's shards.
    fn ask(&mut self, worker: usize, parts: &mut Parts, keys: impl Fn(&ShardLoad) -> Vec<ShardLoad>) {
        if std::mem::replace(&mut self.asked[worker], true) {
            return;
        }
        let before = self.shards.len() + self.keys.len();
        let shards = parts.all(worker).iter().filter_map(|part| Some((*part, self.shards.get(*part)?)));
        for (index, shard) in shards.filter(|(_, shard)| !shard.range.is_single()) {
            let single = |key: &ShardLoad| key.range.is_single() && shard.range.covers(&key.range);
            self.keys.extend(keys(shard).into_iter().filter(single).map(|key| (index, key, false)));
        }
        parts.add(worker, before..self.shards.len() + self.keys.len());
    }

    pub(super) fn part(&self, index: usize) -> &ShardLoad {
        match self.states.get(index) {
            Some(State::Cut(rest)) => &self.rests[*rest],
            Some(_) => &self.shards[index],
            None => &self.keys[index - self.shards.len()].1,
        }
    }

    /// Whether it is there to be moved. What moved once stays, so that each beginning of a plan is a plan.
    pub(super) fn can_move(&self, index: usize) -> bool {
        match index.checked_sub(self.shards.len()) {
            None => self.states[index] != State::Moved,
            Some(key) => self.room >= CUTS && !self.keys[key].2 && self.states[self.keys[key].0] != State::Moved,
        }
    }

    fn go(&mut self, index: usize, to: usize) {
        let part = self.part(index).clone();
        let shard = match index.checked_sub(self.shards.len()) {
            None => {
                self.states[index] = State::Moved;
                index
            }
            Some(key) => {
                self.keys[key].2 = true;
                self.room -= CUTS;
                self.cut(self.keys[key].0, &part);
                self.keys[key].0
            }
        };
        self.board.go(&part, to);
        self.bytes += part.bytes;
        self.steps.push(Step { shard: self.shards[shard].range, part: part.range, to });
    }

    /// Takes what a key had from its shard.
    fn cut(&mut self, shard: usize, key: &ShardLoad) {
        let rest = match self.states[shard] {
            State::Cut(rest) => rest,
            _ => {
                self.rests.push(self.shards[shard].clone());
                self.rests.len() - 1
            }
        };
        self.states[shard] = State::Cut(rest);
        let rest = &mut self.rests[rest];
        rest.load = (rest.load - key.load).max(0.0);
        rest.bytes = (rest.bytes - key.bytes).max(0.0);
        rest.recent.iter_mut().zip(&key.recent).for_each(|(rest, key)| *rest = (*rest - key).max(0.0));
    }
}
