use super::ShardLoad;
use super::board::Slope;
use super::ordered::Ordered;
use super::search::Search;

/// The fair shares over which no worker can carry a shard: alone on one it would still be half over its share. Moving
/// it would only move the overload, with the state that is changing most.
const GIANT: f64 = 1.5;

/// On which terms a move is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// What moving a byte costs, in squared fair shares.
    pub per_byte: f64,
    /// Bytes that a move is held to cost beside its state.
    pub overhead: f64,
    /// What being away from home costs a shard.
    pub risk: f64,
    /// By how much a move must be better than staying.
    pub inertia: f64,
}

/// What moves are worth, as things stand.
impl Search<'_> {
    pub(super) fn weight(&self, index: usize, gain: f64) -> f64 {
        gain / (self.part(index).bytes + self.terms.overhead)
    }

    /// No less than what a move can relieve per byte, if it may pay.
    pub(super) fn bound(&self, slope: &Slope, index: usize) -> Option<Ordered> {
        if !self.can_move(index) {
            return None;
        }
        let part = self.part(index);
        let gain = self.board.relief_at_most(slope, part) + self.risk(part, part.owner) - self.cost(part);
        (gain > self.terms.inertia).then(|| Ordered(self.weight(index, gain)))
    }

    /// Where it is best to move, and what that gains, if it is more than the inertia.
    pub(super) fn best(&self, index: usize) -> Option<(f64, usize)> {
        let part = self.part(index);
        if self.stays(part) {
            return None;
        }
        let (leaving, square) = (self.leaving(part), self.board.square(part));
        let mut best = (self.terms.inertia, None);
        for to in self.board.receivers(part) {
            let gain = leaving - self.board.joining(part, square, to) - self.risk(part, to);
            if gain > best.0 {
                best = (gain, Some(to));
            }
        }
        best.1.map(|to| (best.0, to))
    }

    fn leaving(&self, part: &ShardLoad) -> f64 {
        self.board.leaving(part) + self.risk(part, part.owner) - self.cost(part)
    }

    /// What moving its state costs.
    fn cost(&self, part: &ShardLoad) -> f64 {
        self.terms.per_byte * part.bytes
    }

    /// What being at a worker costs, the load aside.
    fn risk(&self, part: &ShardLoad, worker: usize) -> f64 {
        if worker == part.home { 0.0 } else { self.terms.risk }
    }

    /// Whether it is not worth its bytes whatever becomes better, for that can't be more than the load it takes
    /// along; or is one that no worker can carry, where others can leave it rather than it them.
    fn stays(&self, part: &ShardLoad) -> bool {
        let (load, capacity) = (self.board.load(part), self.board.capacities[part.owner]);
        let is_dear = self.cost(part) > load + self.risk(part, part.owner);
        let others = self.board.movable(part.owner) - load;
        is_dear || load > GIANT * capacity && others <= capacity
    }
}
