//! Invariant 1: with any sequence of commands, any number of workers and any lead, the output per epoch, as a multiset,
//! is that of a plain program.

use crate::common::{Run, runs};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn the_output_is_that_of_a_plain_program(run in runs()) {
        prop_assert_eq!(run.outputs(None).0, run.expected());
    }
}

/// More chunks wait for a worker at once than a sort keeps in order by chance: the last one must stay the last.
#[test]
fn many_chunks_are_taken_in_in_their_order() {
    for _ in 0..40 {
        let run = Run { workers: 3, lead: 3, shards: 6, seed: 9_804_265_379_568_169_518, ..run() };
        assert!(run.outputs(None).0 == run.expected(), "{run:?}");
    }
}

fn run() -> Run {
    Run { epochs: 10, records: 605, keys: 3000, commands: 2, checkpoint_every: 0, ahead: 3, ..Run::default() }
}
