//! Invariants 1, 3 and 4 for operators with two inputs: whichever input is behind, the output per time, as a multiset,
//! is that of a plain program, with commands, crashes, and inputs that end early or are empty.

use std::sync::Arc;

use crate::common::flow::{
    Building, Collected, Flow, Source, Timed, assert_same, before, fingerprint, from, sorted, when_commanded,
};
use crate::common::ledger::{self, Left, Right, Row};
use crate::common::{Run, runs};
use proptest::prelude::*;
use thalweg::Rebalance;
use thalweg::checkpoint::{Checkpoints, Manifest, Memory};
use timely::dataflow::StreamVec;

/// Timers are at most so many epochs away.
const REACH: u64 = 5;

/// What the two inputs bring.
#[derive(Clone, Debug)]
struct Inputs {
    left: Source<Left>,
    right: Source<Right>,
}

impl Inputs {
    fn new(run: &Run, records: [u64; 2], lags: [(usize, bool); 2]) -> Self {
        let Run { seed, keys, epochs, .. } = *run;
        let [left, right] = lags;
        let lefts = ledger::lefts(seed, records[0], keys, epochs);
        let rights = ledger::rights(seed, records[1], keys, epochs);
        Inputs {
            left: Source { records: lefts, lag: left.0, ends_early: left.1 },
            right: Source { records: rights, lag: right.0, ends_early: right.1 },
        }
    }

    fn ledger(&self) -> Timed<Row> {
        ledger::expected(REACH, &self.left.records, &self.right.records)
    }

    /// All pairs of one key, when the later of the two has come.
    fn pairs(&self) -> Timed<(u64, u64, u32)> {
        let mut pairs: Timed<(u64, u64, u32)> = Timed::new();
        for (left_at, lefts) in &self.left.records {
            for (right_at, rights) in &self.right.records {
                for (left, right) in lefts.iter().flat_map(|left| rights.iter().map(move |right| (left, right))) {
                    if left.0 == ledger::right_key(right) {
                        pairs.entry(*left_at.max(right_at)).or_default().push((left.0, left.1, right.1));
                    }
                }
            }
        }
        pairs.values_mut().for_each(|pairs| pairs.sort_unstable());
        pairs
    }
}

type Stage<R> = for<'scope> fn(&mut Building<'scope, u64>, &Inputs) -> StreamVec<'scope, u64, R>;

fn keyed<'scope>(building: &mut Building<'scope, u64>, inputs: &Inputs) -> StreamVec<'scope, u64, Row> {
    let keys = building.looped().key_space("keys").unwrap().policy(building.policy(0)).unwrap();
    let (left, right) = (building.input(&inputs.left), building.input(&inputs.right));
    left.rebalance(&keys, ledger::route_left).unwrap().with(right, ledger::route_right).keyed(
        ledger::left_key,
        ledger::right_key,
        ledger::on_left(REACH),
        ledger::on_right(REACH),
        ledger::on_timer(REACH),
    )
}

fn join<'scope>(building: &mut Building<'scope, u64>, inputs: &Inputs) -> StreamVec<'scope, u64, (u64, u64, u32)> {
    let keys = building.looped().key_space("keys").unwrap().policy(building.policy(0)).unwrap();
    let (left, right) = (building.input(&inputs.left), building.input(&inputs.right));
    left.rebalance(&keys, ledger::route_left).unwrap().with(right, ledger::route_right).join(
        ledger::left_key,
        ledger::right_key,
        |key, left, right| (*key, left.1, right.1),
    )
}

fn outputs<R: Ord + Clone + Send + 'static>(flow: &Flow, inputs: &Inputs, stage: Stage<R>) -> Timed<R> {
    let outputs = Collected::default();
    let (into, inputs) = (Arc::clone(&outputs), inputs.clone());
    flow.execute(move |building: &mut Building<'_, u64>| {
        let output = stage(building, &inputs);
        building.collect(output, &into);
    });
    sorted(&outputs)
}

/// Runs until it crashes, resumes on other workers, and compares both with what they must be.
fn check_resumed<R>(run: &Run, then: usize, inputs: &Inputs, stage: Stage<R>, expected: &Timed<R>)
where
    R: Ord + Clone + Send + std::fmt::Debug + 'static,
{
    let (store, crash) = (Memory::default(), run.crash_at.unwrap_or(run.epochs));
    let begin = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), when_commanded()).unwrap();
    let first = outputs(&Flow::new(run.clone(), run.epochs).checkpointed(&begin), inputs, stage);
    let crash = crash.min(run.epochs);
    assert_same(&before(&first, crash), &before(expected, crash));
    let taken = Manifest::list(&store).unwrap();
    let resume = Checkpoints::resume(Arc::new(store), fingerprint(), when_commanded()).unwrap();
    assert_eq!(resume.epoch(), taken.last().copied().unwrap_or(0));
    assert_eq!(resume.records(), taken.is_empty().then_some(0), "of two inputs there is no one position");
    let again = Run { workers: then, seed: !run.seed, crash_at: None, ..run.clone() };
    let second = outputs(&Flow::new(again, run.epochs).checkpointed(&resume), inputs, stage);
    assert_same(&second, &from(expected, resume.epoch()));
}

/// Runs with two inputs, of which either may be empty, behind the other one, or closed early.
fn cases(most: u64) -> impl Strategy<Value = (Run, Inputs)> {
    let records = prop_oneof![1 => Just(0), 6 => 1..most];
    (runs(), [records.clone(), records], ledger::lags())
        .prop_map(|(run, records, lags)| (run.clone(), Inputs::new(&run, records, lags)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn the_output_is_that_of_a_plain_program((run, inputs) in cases(800)) {
        let flow = Flow::new(run.clone(), run.epochs);
        assert_same(&outputs(&flow, &inputs, keyed), &inputs.ledger());
    }

    #[test]
    fn a_join_gives_all_pairs((run, inputs) in cases(300)) {
        let flow = Flow::new(run.clone(), run.epochs);
        assert_same(&outputs(&flow, &inputs, join), &inputs.pairs());
    }

    #[test]
    fn a_resumed_run_gives_the_rest((run, inputs) in cases(800), crash in prop::option::of(2..25u64), then in 1..5usize) {
        let run = Run { checkpoint_every: 2, crash_at: crash, ..run };
        check_resumed(&run, then, &inputs, keyed, &inputs.ledger());
    }

    #[test]
    fn a_resumed_join_gives_the_other_pairs((run, inputs) in cases(200), crash in 2..25u64, then in 1..5usize) {
        let run = Run { checkpoint_every: 2, crash_at: Some(crash), ..run };
        check_resumed(&run, then, &inputs, join, &inputs.pairs());
    }
}

/// The whole of one input comes before anything of the other: each boundary waits for both.
#[test]
fn one_input_may_be_behind_the_other_from_beginning_to_end() {
    for (workers, lead, behind) in [(1, 1, 0), (2, 1, 1), (3, 4, 0), (3, 2, 1)] {
        let run =
            Run { workers, lead, epochs: 30, ahead: 0, commands: 5, chunk_bytes: 1, seed: lead, ..Run::default() };
        let mut lags = [(0, false); 2];
        lags[behind].0 = run.epochs as usize;
        let inputs = Inputs::new(&run, [600, 600], lags);
        assert_same(&outputs(&Flow::new(run.clone(), run.epochs), &inputs, keyed), &inputs.ledger());
    }
}
