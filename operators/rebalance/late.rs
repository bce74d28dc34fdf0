//! Telling late records from others: *emits* each record at its time, on one of two ports. *Waits* for nothing and
//! *holds* nothing.

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::epoch::{Epochs, Ticks};
use crate::windows::{Late, Windowing};

const IN_TIME: usize = 0;
const LATE: usize = 1;

/// Takes late records out of a stream.
pub trait DivideLate<'scope, T: Ticks, D: 'static>: Sized {
    /// The records that are in time for a window that is still open, and those that are late for all.
    ///
    /// With the epochs of the stage that follows, just those are in time of which
    /// [`windowed`](super::Rebalanced::windowed) drops none.
    ///
    /// ```
    /// use thalweg::windows::Windows;
    /// use thalweg::{DivideLate, Epochs};
    /// use timely::dataflow::operators::{Inspect, ToStream};
    ///
    /// timely::example(|scope| {
    ///     let trips = [("Castro", 3), ("Market", 4)].to_stream(scope).container::<Vec<_>>();
    ///     let windows = Windows::tumbling(10).unwrap();
    ///     let (_in_time, late) = trips.divide_late(windows, Epochs::default(), |trip| trip.1);
    ///     late.inspect(|trip| eprintln!("too late: {trip:?}"));
    /// });
    /// ```
    fn divide_late<W: Windowing>(
        self,
        windowing: W,
        epochs: Epochs,
        event_time: impl Fn(&D) -> u64 + 'static,
    ) -> (StreamVec<'scope, T, D>, StreamVec<'scope, T, D>);
}

impl<'scope, T: Ticks, D: 'static> DivideLate<'scope, T, D> for StreamVec<'scope, T, D> {
    fn divide_late<W: Windowing>(
        self,
        windowing: W,
        epochs: Epochs,
        event_time: impl Fn(&D) -> u64 + 'static,
    ) -> (StreamVec<'scope, T, D>, StreamVec<'scope, T, D>) {
        let mut builder = OperatorBuilder::new("DivideLate".to_owned(), self.scope());
        let (in_time, in_time_stream) = builder.new_output::<Vec<D>>();
        let (late, late_stream) = builder.new_output::<Vec<D>>();
        let mut in_time = OutputBuilder::<_, CapacityContainerBuilder<Vec<D>>>::from(in_time);
        let mut late = OutputBuilder::<_, CapacityContainerBuilder<Vec<D>>>::from(late);
        let mut input = builder.new_input(self, Pipeline);
        builder.build(move |initial| {
            drop(initial);
            move |_| {
                let (mut in_time, mut late) = (in_time.activate(), late.activate());
                input.for_each_stamp(|capability, batches| {
                    let Some(at) = capability.least() else { return };
                    let now = epochs.around(at).0.ticks();
                    let (to_in_time, to_late) = (capability.delayed(at, IN_TIME), capability.delayed(at, LATE));
                    let is_late = |record: &mut D| windowing.admit(now, event_time(record), Late::Drop).is_none();
                    for batch in batches {
                        late.session(&to_late).give_iterator(batch.extract_if(.., is_late));
                        in_time.session(&to_in_time).give_container(batch);
                    }
                });
            }
        });
        (in_time_stream, late_stream)
    }
}
