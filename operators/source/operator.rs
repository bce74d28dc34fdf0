//! A source: partitions of records in, epoch by epoch.
//!
//! *Emits* the records of each epoch at its start, and, once a partition has no more records of the epoch, where it
//! stands then. *Waits* with an epoch until the loop has settled all but [`EPOCHS_AHEAD`] of those before it, and all
//! but [`WRITING_AHEAD`] of them are durable in all sinks. *Holds* one record of each partition.
//!
//! | port    |     | connected to | carries                                        |
//! |---------|-----|--------------|------------------------------------------------|
//! | control | in  |              | nothing that counts: its frontier is the loop's |
//! | written | in  |              | nothing: its frontier is that of the sinks     |
//! | records | out |              | the records                                    |
//! | covered | out |              | where partitions stand                         |

use serde::Serialize;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{OutputBuilder, OutputBuilderSession};
use timely::progress::frontier::MutableAntichain;

use super::partition::{Partition, open};
use super::{Epoching, PartitionReader, ReplaySource};
use crate::checkpoint::{Covered, SourcePositions};
use crate::epoch::{Epochs, Ticks};
use crate::error::Error;
use crate::keyed::Fault;

/// Records that are read before others get their turn: some tens of microseconds of work for a file.
pub const RECORDS_AT_ONCE: usize = 1024;

/// Epochs that are read before the loop has settled their routing: with one, it never waits for the source, and the
/// gate holds no more.
pub const EPOCHS_AHEAD: u64 = 1;

/// Epochs that are read before the sinks have made those before them durable. Enough for several workers to wait for
/// their disks side by side; what is in flight stays bounded.
pub const WRITING_AHEAD: u64 = 32;

const RECORDS: usize = 0;
const COVERED: usize = 1;

/// What a source is given besides the dataflow.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// Its name in checkpoints.
    pub name: String,
    /// How time makes epochs.
    pub epochs: Epochs,
    /// The epoch from which the run goes on.
    pub from: u64,
    /// Where the partitions stood at the start of that epoch, in a run that resumes.
    pub resumed: Option<SourcePositions>,
    /// Where errors are put that end its work.
    pub fault: Fault,
}

/// The streams that leave a source.
#[allow(missing_debug_implementations, reason = "streams are not Debug")]
pub struct SourceStreams<'scope, T: Ticks, R: Clone + 'static> {
    /// The records, at the starts of their epochs.
    pub records: StreamVec<'scope, T, R>,
    /// Where partitions stand.
    pub covered: StreamVec<'scope, T, Covered>,
}

/// Reads a source: each partition on one worker.
///
/// `control` is the loop's control stream, which says by its frontier how far the loop is, and `written` comes from all
/// sinks, with a frontier that says what is durable. An error if a partition can't be opened; those that come later are
/// put where the fault is asked for.
pub fn read<'scope, T: Ticks, S: ReplaySource<Record: Clone>, C: Clone + 'static>(
    source: &S,
    epoching: &Epoching<S::Record>,
    control: StreamVec<'scope, T, C>,
    written: StreamVec<'scope, T, Covered>,
    settings: SourceSettings,
) -> Result<SourceStreams<'scope, T, S::Record>, Error> {
    let scope = control.scope();
    let SourceSettings { name, epochs, from, resumed, fault } = settings;
    let partitions = open(source, epoching, (scope.index(), scope.peers()), from, resumed.as_ref())?;
    let mut builder = OperatorBuilder::new("Source".to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let (records, records_stream) = builder.new_output();
    let (covered, covered_stream) = builder.new_output();
    let (mut records, mut covered) = (OutputBuilder::from(records), OutputBuilder::from(covered));
    let mut control = builder.new_input_connection(control, Pipeline, []);
    let mut written = builder.new_input_connection(written, Pipeline, []);
    builder.build(move |initial| {
        let capabilities = Some((initial[RECORDS].clone(), initial[COVERED].clone()));
        drop(initial);
        let mut reading = Reading { name, epochs, partitions, capabilities, begin: Some(from) };
        move |frontiers: &[MutableAntichain<T>]| {
            let [settled, durable] = frontiers else { unreachable!("there are two inputs") };
            control.for_each(|_, batch| batch.clear());
            written.for_each(|_, batch| batch.clear());
            if fault.is_set() {
                return;
            }
            let is_near =
                |epoch| within(settled, epochs, epoch, EPOCHS_AHEAD) && within(durable, epochs, epoch, WRITING_AHEAD);
            let mut outputs = (records.activate(), covered.activate());
            match reading.read(is_near, &mut outputs) {
                Ok(true) => activator.activate(),
                Ok(false) => {}
                Err(error) => fault.set(error),
            }
        }
    });
    Ok(SourceStreams { records: records_stream, covered: covered_stream })
}

/// Whether an epoch is at most so many ahead of a frontier.
fn within<T: Ticks>(frontier: &MutableAntichain<T>, epochs: Epochs, epoch: u64, ahead: u64) -> bool {
    frontier.frontier().iter().all(|first| epoch < epochs.number(first).saturating_add(ahead))
}

type Output<'a, T, D> = OutputBuilderSession<'a, T, CapacityContainerBuilder<Vec<D>>>;

/// A worker's partitions, and what entitles to send at the first epoch that has records, and what partitions cover.
struct Reading<T: Ticks, R: PartitionReader> {
    name: String,
    epochs: Epochs,
    partitions: Vec<Partition<R>>,
    /// None once all partitions have ended.
    capabilities: Option<(Capability<T>, Capability<T>)>,
    /// The epoch to begin with, until it has been told where the partitions stand at its start.
    begin: Option<u64>,
}

impl<T: Ticks, R: PartitionReader<Record: Clone + 'static, Position: Serialize>> Reading<T, R> {
    /// Reads on, as far as epochs are near and it is not too much at once. Whether there is more to be read now.
    fn read(
        &mut self,
        is_near: impl Fn(u64) -> bool,
        (records, covered): &mut (Output<'_, T, R::Record>, Output<'_, T, Covered>),
    ) -> Result<bool, Error> {
        if let Some(from) = self.begin.take() {
            self.advance(from)?;
            for partition in &self.partitions {
                let Some((_, capability)) = &self.capabilities else { break };
                covered.session(capability).give(self.covered(partition)?);
            }
        }
        let mut budget = RECORDS_AT_ONCE;
        while let Some((index, epoch)) = self.first() {
            self.advance(epoch)?;
            let Some((capability, covering)) = &self.capabilities else { break };
            if budget == 0 || !is_near(epoch) {
                return Ok(is_near(epoch));
            }
            let partition = &mut self.partitions[index];
            let mut session = records.session(capability);
            while budget > 0
                && let Some(record) = partition.take(epoch)?
            {
                session.give(record);
                budget -= 1;
            }
            drop(session);
            if self.partitions[index].epoch() != Some(epoch) {
                covered.session(covering).give(self.covered(&self.partitions[index])?);
            }
        }
        self.capabilities = None;
        Ok(false)
    }

    /// The first epoch with records to read, and a partition that has some.
    fn first(&self) -> Option<(usize, u64)> {
        let epochs = self.partitions.iter().enumerate().filter_map(|(index, p)| Some((p.epoch()?, index)));
        epochs.min().map(|(epoch, index)| (index, epoch))
    }

    /// Lets go of all before an epoch.
    fn advance(&mut self, epoch: u64) -> Result<(), Error> {
        let Some((records, covered)) = &mut self.capabilities else { return Ok(()) };
        let start = self.epochs.start(epoch).ok_or_else(|| {
            Error::usage(format!(
                "the source {:?} has a record in epoch {epoch}, which the timestamp can't hold",
                self.name
            ))
        })?;
        records.downgrade(&start);
        covered.downgrade(&start);
        Ok(())
    }

    fn covered(&self, partition: &Partition<R>) -> Result<Covered, Error> {
        let (source, name) = (self.name.clone(), partition.name.clone());
        Ok(Covered { source, partition: name, position: partition.place()? })
    }
}
