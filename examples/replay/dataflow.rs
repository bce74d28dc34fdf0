//! The dataflow: the adaptive one, and the plain static twin that it is compared with.

use std::collections::{BTreeMap, HashMap};

use differential_dataflow::AsCollection;
use serde::{Deserialize, Serialize};
use thalweg::checkpoint::{Checkpoints, Covered};
use thalweg::keyed::{Context, Fault};
use thalweg::observe::{CheckpointEvent, Event as LoopEvent};
use thalweg::policy::{Proactive, Reactive, Script, Static};
use thalweg::sink::EpochFiles;
use thalweg::{Config, Error, Loop, Rebalance, stable_hash};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::vec::{Filter, Map};
use timely::dataflow::operators::{Capability, Concat, Exchange as _, Inspect};

use crate::arguments::{PolicyChoice, SinkArguments};
use crate::event::{Event, Moments};
use crate::restless::Restless;

/// When the final values are given: after all epochs.
pub const END: u64 = u64::MAX;

/// What there is to say of a key at the end of an epoch in which it had records, or at [`END`]: the epoch, the key, the
/// moments of all its records so far, and of those of the epoch.
pub type Row = (u64, String, Moments, Moments);

/// How the adaptive dataflow is set up.
#[derive(Clone)]
pub struct Setup {
    pub config: Config,
    pub policy: PolicyChoice,
    /// What `scripted` follows.
    pub script: Script,
    pub checkpoints: Option<Checkpoints>,
    pub sink: SinkArguments,
}

/// What comes out of the adaptive dataflow.
pub struct Adaptive<'scope> {
    pub rows: StreamVec<'scope, u64, Row>,
    /// Up to its frontier, the output is durable.
    pub durable: StreamVec<'scope, u64, Covered>,
}

/// Keeps the moments of each key, and gives them at the end of each epoch in which the key had records and at [`END`].
/// `observe` hears of all events on worker 0, `hear` on each worker of what becomes of checkpoints.
pub fn adaptive<'scope>(
    events: StreamVec<'scope, u64, Event>,
    setup: &Setup,
    fault: &Fault,
    observe: impl FnMut(&LoopEvent) + 'static,
    mut hear: impl FnMut(&CheckpointEvent) + 'static,
) -> Result<Adaptive<'scope>, Error> {
    let scope = events.scope();
    let mut looped = Loop::new(scope, &setup.config)?.faults_to(fault);
    if let Some(checkpoints) = &setup.checkpoints {
        looped = looped.checkpoint_to(checkpoints, fault)?;
        looped.outcomes().inspect(move |outcome| hear(outcome));
    }
    let looped = looped.observe(observe);
    let keys = looped.key_space("keys")?;
    let keys = match &setup.policy {
        PolicyChoice::Static => keys.policy(Static)?,
        PolicyChoice::Reactive => keys.policy(Reactive::new(setup.config.policy.clone())?)?,
        PolicyChoice::Proactive => keys.policy(Proactive::new(setup.config.policy.clone())?)?,
        PolicyChoice::Restless(seed) => keys.policy(Restless { seed: *seed })?,
        PolicyChoice::Scripted(_) => keys.policy(setup.script.clone())?,
    };
    let rows = events
        .rebalance(&keys, |event| stable_hash(&event.key))?
        .measured(|event| event.value as f64 * 1e-6, |event| size_of::<Event>() + event.key.len())
        .fold_epochs(
            |event| event.key.clone(),
            |event, recent: &mut Moments| recent.add(event.value),
            |recent, other| recent.merge(&other),
            give_moments,
        );
    let durable = match &setup.sink.output {
        Some(directory) => {
            let SinkArguments { output_when, output_epochs, .. } = setup.sink;
            let files = EpochFiles::csv(directory).visible(output_when).epochs_per_file(output_epochs)?;
            looped.sink("output", rows.clone().filter(|row| row.0 != END).map(fields), files)?
        }
        None => empty(scope),
    };
    Ok(Adaptive { rows, durable })
}

/// A row as it is written: exactly.
fn fields((epoch, key, all, _): Row) -> (u64, String, u64, String, String) {
    (epoch, key, all.count(), all.mean().to_string(), all.deviation().to_string())
}

fn give_moments(recent: Moments, all: &mut Moments, context: &mut Context<'_, u64, String, Row>) {
    let (time, key) = (*context.time(), context.key().clone());
    if all.count() == 0 {
        context.schedule(&END);
    }
    all.merge(&recent);
    context.give(if time == END { (END, key, *all, Moments::default()) } else { (time - 1, key, *all, recent) });
}

/// The same as [`adaptive`] in plain timely: a fixed exchange and a hash map.
pub fn plain<'scope>(events: StreamVec<'scope, u64, Event>) -> StreamVec<'scope, u64, Row> {
    events.unary_frontier(Exchange::new(|event: &Event| stable_hash(&event.key)), "Plain", |initial, _| {
        let mut end = Some(initial.delayed(&END));
        let mut open: BTreeMap<u64, (Capability<u64>, Vec<Event>)> = BTreeMap::new();
        let mut states: HashMap<String, Moments> = HashMap::new();
        move |(input, frontier), output| {
            input.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                let epoch = *capability.time();
                open.entry(epoch).or_insert((capability, Vec::new())).1.extend(batches.flat_map(|b| b.drain(..)));
            });
            while let Some(entry) = open.first_entry().filter(|entry| !frontier.less_equal(entry.key())) {
                let (epoch, (capability, events)) = entry.remove_entry();
                let mut touched: BTreeMap<String, Moments> = BTreeMap::new();
                for event in events {
                    states.entry(event.key.clone()).or_default().add(event.value);
                    touched.entry(event.key).or_default().add(event.value);
                }
                let rows = touched.into_iter().map(|(key, recent)| (epoch, key.clone(), states[&key], recent));
                output.session(&capability.delayed(&(epoch + 1))).give_iterator(rows);
            }
            if frontier.is_empty()
                && let Some(end) = end.take()
            {
                output
                    .session(&end)
                    .give_iterator(states.drain().map(|(key, all)| (END, key, all, Moments::default())));
            }
        }
    })
}

/// What is in one of the streams from this time on and not, as often, in the other: with how often more.
pub fn differences<'scope>(
    adaptive: StreamVec<'scope, u64, Row>,
    plain: StreamVec<'scope, u64, Row>,
    from: u64,
) -> StreamVec<'scope, u64, (Row, u64, isize)> {
    // The rows of an epoch are given at the boundary after it.
    let time = |row: &Row| if row.0 == END { END } else { row.0 + 1 };
    let update = move |sign: isize| move |row: Row| (row.clone(), time(&row), sign);
    let plain = plain.filter(move |row| time(row) >= from).map(update(-1));
    adaptive.map(update(1)).concat(plain).as_collection().consolidate().inner
}

/// What the records of one epoch come to, over all keys.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Total {
    pub epoch: u64,
    pub keys: u64,
    pub moments: Moments,
}

/// The totals of each epoch, on worker 0, in parts to be added up.
pub fn totals<'scope>(rows: StreamVec<'scope, u64, Row>) -> StreamVec<'scope, u64, Total> {
    let parts = rows.unary(Pipeline, "Totals", |_, _| {
        |input, output| {
            input.for_each(|capability, rows| {
                let mut parts: BTreeMap<u64, Total> = BTreeMap::new();
                for (epoch, _, _, recent) in rows.drain(..) {
                    let part = parts.entry(epoch).or_insert(Total { epoch, ..Total::default() });
                    part.keys += 1;
                    part.moments.merge(&recent);
                }
                output.session(&capability).give_iterator(parts.into_values());
            });
        }
    });
    parts.exchange(|_| 0)
}

/// The final moments of each key, on worker 0.
pub fn results<'scope>(rows: StreamVec<'scope, u64, Row>) -> StreamVec<'scope, u64, Row> {
    rows.filter(|row| row.0 == END).exchange(|_| 0)
}
