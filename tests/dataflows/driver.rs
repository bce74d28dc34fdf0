//! The driver of the other tests: a worker's panic, or the deadline, ends a run rather than hanging it.

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use crate::common::{Channels, DEADLINE, drive, drive_for, timely_config};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

#[test]
fn a_panic_in_one_worker_ends_all() {
    for channels in [Channels::Moved, Channels::Serialised] {
        let begin = Instant::now();
        let result = catch_unwind(move || {
            drive(timely_config(3, channels), |worker, stop| {
                let (probe, mut input) = (ProbeHandle::new(), InputHandle::new());
                worker.dataflow::<u64, _, _>(|scope| {
                    scope
                        .input_from(&mut input)
                        .container::<Vec<u64>>()
                        .unary::<CapacityContainerBuilder<Vec<u64>>, _, _, _>(
                            Exchange::new(|i: &u64| *i),
                            "Fails",
                            |_, _| |input, _| input.for_each(|_, data| assert!(!data.contains(&1), "boom")),
                        )
                        .probe_with(&probe);
                });
                (0..10).for_each(|i| input.send(i));
                input.close();
                stop.step_until(worker, || probe.done());
            })
        });
        let panic = result.unwrap_err();
        assert!(panic.downcast_ref::<&str>().is_some_and(|text| *text == "boom"));
        assert!(begin.elapsed() < DEADLINE / 2);
    }
}

#[test]
fn the_deadline_ends_what_would_hang() {
    let result = catch_unwind(|| {
        drive_for(Duration::from_millis(50), timely_config(2, Channels::Moved), |worker, stop| {
            let (probe, mut input) = (ProbeHandle::new(), InputHandle::<u64, _>::new());
            worker.dataflow::<u64, _, _>(|scope| {
                scope.input_from(&mut input).container::<Vec<u64>>().probe_with(&probe);
            });
            stop.step_until(worker, || probe.done());
        })
    });
    let panic = result.unwrap_err();
    assert!(panic.downcast_ref::<&str>().is_some_and(|text| text.contains("the dataflow hangs")));
}
