use super::board::Board;
use super::search::Search;
use super::worth::Terms;
use super::{Plan, ShardLoad};

/// Moves that a plan may hold, those that empty workers not counted: so many, and so many for each worker. Plans are
/// made anew each epoch, so this only bounds the time that one takes.
const STEPS: usize = 1024;
const STEPS_PER_WORKER: usize = 16;

/// What a shard away from home is held to cost, in squared fair shares, where the forecast is wrong about half of the
/// records (an error of 1); it goes with the square of the error. On a stream whose hot keys are others in every
/// session, over 25 hashes, it cut the epochs that are worse than without any move from 10 in 40 to 1.5, the moves to a
/// seventh, and the median imbalance by 2 %. At 0.15 those epochs were 2; at 0.25 too little was moved.
pub(super) const RISK: f64 = 0.2;

/// The part of the risk by which a move must be better than staying, in either direction: what lies between does not
/// flap. It saves an eighth of that stream's moves.
const INERTIA: f64 = 0.1;

/// Decides which shards, and which single routing keys out of them, to move where.
///
/// The next epoch will be like one of several scenarios, each with its likelihood: epochs remembered, or forecast.
/// What counts is the sum of the squares of the workers' loads for their capacities that is to be expected then, in
/// fair shares: unlike the busiest worker alone it sees what can be mended beside a key that no worker can carry.
/// Between workers of equal capacity, moving a load `x` from one with `a` to one with `b` relieves it by
/// `2x (a - b - x)`, which near balance is about the load that the busier one gets rid of.
///
/// Against the relief stand the bytes of state to move, and the risk of being wrong: a shard away from home has to
/// earn the risk of a forecast that has been as wrong as this one, and goes home when it no longer does. So a
/// stream that can't be foreseen is left as it was, and what it never showed is where it always was.
///
/// Of the moves that pay, the one comes first that relieves most per byte, as in Slicer (Adya et al., OSDI 2016,
/// section 4.4). But while a slice of the key space brings along the state of all its keys, a hot key can be split
/// off and leaves alone: it is most of the load, and next to nothing of the bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Planner {
    /// What each worker can carry, in any unit: records per epoch, or 1 for each. From one with 0, and from owners
    /// beyond the last, all shards leave, whatever it costs.
    pub capacities: Vec<f64>,
    /// Records per epoch that each worker has besides: of folded keys, which can't be moved.
    pub evenly: f64,
    /// The imbalance, which is the busiest worker's load for its capacity over that of all, from which on no more is
    /// moved: 1 for as long as it pays.
    pub target: f64,
    /// The least relief, in squared fair shares, for which a move is made at all.
    pub min_relief: f64,
    /// Bytes that a move is held to cost beside its state, at least 1: the more, the sooner what relieves most moves;
    /// the less, the sooner what relieves most per byte.
    pub overhead: f64,
    /// Shards that there may be in all, beyond which no key is split off.
    pub max_shards: usize,
    /// Epochs within which a move must pay, at least 1.
    pub horizon: usize,
    /// Records per byte moved, at least 0.
    pub move_cost: f64,
    /// How wrong the forecast of the shards' part of the records has been, in [0, 2].
    pub error: f64,
}

impl Planner {
    /// On recorded streams 0.003: at 0.01 a stable stream of 70 keys was balanced 1 % worse, at 0.001 no better than
    /// here but with more moves.
    pub const MIN_RELIEF: f64 = 0.003;

    /// Of a plan that is spread over a window only the beginning may ever be carried out. On a stream whose hot keys
    /// are others in every session, with 256 the median imbalance was 2.6 where it was 2.25 with this, as it was with
    /// any more; with this, fewer bytes moved.
    pub const OVERHEAD: f64 = 4096.0;

    /// About what a command takes, and a shard more in a profile.
    const COMMAND_BYTES: f64 = 64.0;

    /// One for so many workers of equal capacity, that trusts the loads it is given, moves whatever relieves, and
    /// counts a byte for nothing but the order.
    pub fn new(workers: usize) -> Self {
        Planner {
            capacities: vec![1.0; workers],
            evenly: 0.0,
            target: 1.0,
            min_relief: 0.0,
            overhead: Self::COMMAND_BYTES,
            max_shards: usize::MAX,
            horizon: 1,
            move_cost: 0.0,
            error: 0.0,
        }
    }

    /// The moves that pay. `likelihood` is that of each scenario, together 1; `keys` gives the single routing keys
    /// that a shard may be relieved of, together no more than the shard; it is asked about shards of workers over the
    /// target only. Keys that are to be folded are no part of the shards' loads, but of [`evenly`](Self::evenly).
    ///
    /// After any number of steps the busiest worker is expected to carry no more for its capacity than before, and the
    /// squares with bytes and risk are no more: unless workers were to be emptied, which comes before all else.
    pub fn plan(&self, shards: &[ShardLoad], likelihood: &[f64], keys: impl Fn(&ShardLoad) -> Vec<ShardLoad>) -> Plan {
        let Some(board) = Board::new(&self.capacities, self.evenly, shards, likelihood) else {
            return Plan::default();
        };
        let per_byte = self.move_cost / (board.fair() * self.horizon as f64);
        let total = self.capacities.iter().filter(|c| **c > 0.0).count() as f64;
        let part = shards.iter().map(|s| board.load(s)).sum::<f64>() / total;
        let risk = RISK * (self.error * part).powi(2);
        let inertia = self.min_relief + INERTIA * risk;
        let terms = Terms { per_byte, overhead: self.overhead.max(1.0), risk, inertia };
        let mut search = Search::new(shards, board, terms, self.max_shards.saturating_sub(shards.len()));
        let before = search.imbalance();
        search.empty();
        let limit = search.steps.len() + STEPS + STEPS_PER_WORKER * self.capacities.len();
        search.relieve(self.target, limit, keys);
        Plan { before, after: search.imbalance(), bytes: search.bytes, steps: search.steps }
    }
}
