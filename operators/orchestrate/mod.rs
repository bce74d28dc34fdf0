//! The orchestrator: the reports of complete epochs in, commands out. It acts on worker 0.
//!
//! *Emits* at the last time of each complete epoch the commands decided from it, and an event that says what was seen
//! and decided. An edge that advances by the lead carries the commands to their boundary. Commands known before the run
//! go out at the start. *Waits* for an epoch to be complete. *Holds* the reports of epochs that are not.
//!
//! | port     |     | connected to     | carries                                            |
//! |----------|-----|------------------|----------------------------------------------------|
//! | reports  | in  | commands, events | what all workers have seen                         |
//! | outcomes | in  |                  | what became of checkpoints: only the content counts |
//! | commands | out |                  | what to do at the epoch plus the lead              |
//! | events   | out |                  | what was seen and decided                          |

mod clock;
mod director;
mod orchestrator;

use std::time::Instant;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Antichain;
use timely::progress::frontier::MutableAntichain;

use crate::epoch::{Epochs, Ticks};
use crate::keyed::Report;
use crate::observe::{CheckpointEvent, EpochEvent};
use crate::pending::Pending;
pub use orchestrator::{Addressed, Decision, Orchestrator, Space};

const COMMANDS: usize = 0;
const EVENTS: usize = 1;

/// The streams that leave an orchestrator. Both have records on worker 0 only.
#[allow(missing_debug_implementations, reason = "streams are not Debug")]
pub struct OrchestratorStreams<'scope, T: Ticks> {
    /// What to do `lead` epochs after the time of the message.
    pub commands: StreamVec<'scope, T, Addressed>,
    /// What was seen and decided.
    pub events: StreamVec<'scope, T, EpochEvent>,
}

/// Gathers the reports of all workers, with the indices of the operators that report, on worker 0, and asks the
/// orchestrator once per complete epoch.
///
/// `outcomes` brings what became of checkpoints; only its content counts, not its time.
pub fn orchestrate<'scope, T: Ticks>(
    reports: StreamVec<'scope, T, (usize, Report)>,
    outcomes: StreamVec<'scope, T, CheckpointEvent>,
    epochs: Epochs,
    orchestrator: Orchestrator,
) -> OrchestratorStreams<'scope, T> {
    let scope = reports.scope();
    // No other worker has anything to decide, or holds the assignment for it.
    let mut orchestrator = (scope.index() == 0).then_some(orchestrator);
    let mut builder = OperatorBuilder::new("Orchestrate".to_owned(), scope);
    let (commands, commands_stream) = builder.new_output();
    let (events, events_stream) = builder.new_output();
    let (mut commands, mut events) = (OutputBuilder::from(commands), OutputBuilder::from(events));
    let same = || Antichain::from_elem(T::Summary::default());
    let pact = Exchange::new(|_: &(usize, Report)| 0);
    let mut reports = builder.new_input_connection(reports, pact, [(COMMANDS, same()), (EVENTS, same())]);
    let mut outcomes = builder.new_input_connection(outcomes, Pipeline, []);
    builder.build(move |initial| {
        let known = orchestrator.iter().flat_map(|orchestrator| early(orchestrator, epochs, &initial[COMMANDS]));
        let mut known: Vec<_> = known.collect();
        drop(initial);
        let mut open: Pending<T, Vec<(usize, Report)>, Answers<T>> = Pending::new();
        let mut last_complete = Instant::now();
        move |frontiers: &[MutableAntichain<T>]| {
            let (mut commands, mut events) = (commands.activate(), events.activate());
            for (capability, known) in known.drain(..) {
                commands.session(&capability).give_iterator(known.into_iter());
            }
            outcomes.for_each(|_, batch| {
                let outcomes = batch.drain(..);
                if let Some(orchestrator) = &mut orchestrator {
                    outcomes.for_each(|event| orchestrator.note_checkpoint(&event));
                }
            });
            reports.for_each_stamp(|capability, batches| {
                let Some(at) = capability.least() else { return };
                let capabilities = || (capability.delayed(at, COMMANDS), capability.delayed(at, EVENTS));
                open.entry(at, capabilities).extend(batches.flat_map(|batch| batch.drain(..)));
            });
            while let Some(orchestrator) = &mut orchestrator
                && let Some((at, (command, event), reports)) = open.release(&frontiers[0])
            {
                let seconds = std::mem::replace(&mut last_complete, Instant::now()).elapsed().as_secs_f64();
                let decision = orchestrator.decide(epochs.number(&at), reports, seconds);
                commands.session(&command).give_iterator(decision.commands.into_iter());
                events.session(&event).give_iterator(decision.events.into_iter());
            }
        }
    });
    OrchestratorStreams { commands: commands_stream, events: events_stream }
}

/// What entitles to send commands, and an event.
type Answers<T> = (Capability<T>, Capability<T>);

/// The commands known before the run, each with what entitles to send them so early that the lead brings them to their
/// boundary.
fn early<T: Ticks>(
    orchestrator: &Orchestrator,
    epochs: Epochs,
    initial: &Capability<T>,
) -> Vec<(Capability<T>, Vec<Addressed>)> {
    let message = |(epoch, commands)| Some((initial.delayed(&epochs.last(epoch)?), commands));
    orchestrator.known().filter_map(message).collect()
}
