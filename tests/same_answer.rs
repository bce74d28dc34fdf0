//! Invariant 1: with any sequence of commands, any number of workers and any lead, the output per epoch, as a multiset,
//! is that of a plain program.

mod common;

use common::runs;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn the_output_is_that_of_a_plain_program(run in runs()) {
        prop_assert_eq!(run.outputs(None).0, run.expected());
    }
}
