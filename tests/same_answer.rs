//! Invariant 1: with any sequence of commands, any number of workers and any lead, the output per epoch, as a multiset,
//! is that of a plain program.

mod common;

use common::{Channels, Encoding, Run};
use proptest::prelude::*;

fn runs() -> impl Strategy<Value = Run> {
    let channels = prop_oneof![Just(Channels::Moved), Just(Channels::Serialised)];
    let chunk_bytes = prop_oneof![Just(1usize), Just(300), Just(65536)];
    let codec = if cfg!(feature = "abomonation") { Encoding::Abomonated } else { Encoding::Serde };
    let codec = prop_oneof![Just(Encoding::Columns), Just(codec)];
    let commands = (0..6usize, prop_oneof![Just(0u64), Just(2), Just(7)], any::<u64>());
    let size = prop_oneof![(0..150u64, Just(97u64)), (500..1500u64, Just(3000u64))];
    let input = (0..25u64, size, 0..4u64, codec);
    (1..5usize, channels, 1..5u64, 1..20usize, chunk_bytes, commands, input).prop_map(
        |(workers, channels, lead, shards, chunk_bytes, commands, (epochs, (records, keys), ahead, codec))| {
            let (commands, checkpoint_every, seed) = commands;
            let crash_at = None;
            Run {
                workers,
                channels,
                lead,
                shards,
                chunk_bytes,
                commands,
                checkpoint_every,
                seed,
                epochs,
                records,
                keys,
                ahead,
                crash_at,
                name: "keyed",
                codec,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn the_output_is_that_of_a_plain_program(run in runs()) {
        prop_assert_eq!(run.outputs(None).0, run.expected());
    }
}
