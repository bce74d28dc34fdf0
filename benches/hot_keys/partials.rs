//! What partials cost: where a gate begins and sends them, and where a keyed operator takes them in.

use std::rc::Rc;

use thalweg::aggregate::{Aggregate, AggregateState, Partial, Spotting, at_boundary, folding_gate, partials, records};
use thalweg::keyed::codec::Columns;
use thalweg::keyed::{Context, Fault, KeyedSettings, TwoInputs, Unmeasured, keyed_pair};
use thalweg::profile::ProfileConfig;
use thalweg::routing::gate;
use thalweg::{Assignment, Command, Config, Epochs, stable_hash};
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle, Scope, StreamVec};
use timely::execute_directly;

use super::common::cpu_seconds;

/// Counts the records of a key.
struct Count;

impl Aggregate<u64, u64> for Count {
    type Key = u64;
    type Partial = u64;
    type State = u64;
    type Output = u64;

    fn key(&self, record: &u64) -> u64 {
        *record
    }

    fn fold(&self, _: &u64, _: u64, count: &mut u64) {
        *count += 1;
    }

    fn merge(&self, count: &mut u64, more: u64) {
        *count += more;
    }

    fn on_epoch(&self, count: u64, total: &mut u64, context: &mut Context<'_, u64, u64, u64>) {
        *total += count;
        context.give(*total);
    }
}

/// CPU time of so many epochs in which a gate folds so many records of each of these keys.
pub fn fold(keys: u64, each: u64, epochs: u64) -> f64 {
    let folds: Vec<Command> = (0..keys).map(|key| Command::Fold { key: stable_hash(&key) }).collect();
    let initial = Assignment::even(1, 1).and_then(|all| all.apply(&folds)).expect("keys are folded once");
    let batch = (0..each).flat_map(|_| 0..keys).collect();
    run(batch, epochs, |data, scope, probe| {
        let streams =
            folding_gate(data, empty(scope), initial, Epochs::default(), &Rc::new(Count), stable_hash, Spotting::OFF);
        streams.records.data.probe_with(probe);
        streams.partials.data.probe_with(probe);
        streams.folded.probe_with(probe);
    })
}

/// CPU time of so many epochs in which a keyed operator takes in so many partials of each of these keys.
pub fn merge(keys: u64, each: u64, epochs: u64) -> f64 {
    let partial = |key: u64| Partial { routing: stable_hash(&key), key, partial: 1u64 };
    let batch = (0..each).flat_map(|_| (0..keys).map(partial)).collect();
    run(batch, epochs, |data, scope, probe| {
        let (all, epochs) = (Assignment::even(1, 1).expect("the sizes are possible"), Epochs::default());
        let settings = KeyedSettings {
            name: "keyed".to_owned(),
            epochs,
            chunk_bytes: Config::CHUNK_BYTES,
            pre_copy: true,
            profile: ProfileConfig::default(),
            restore: None,
            backlog: None,
            fault: Fault::new(),
        };
        let count = Rc::new(Count);
        let taking_in = Rc::clone(&count);
        let logic = TwoInputs {
            left: records::<u64, u64, _>(Rc::clone(&count), stable_hash, Unmeasured),
            right: partials(count),
            on_timer: move |state: &mut AggregateState<u64, u64>, context: &mut Context<'_, u64, u64, u64>| {
                at_boundary(&*taking_in, state, context);
            },
        };
        let left = (gate(empty(scope), empty(scope), all.clone(), epochs), stable_hash::<u64>);
        let right = (gate(data, empty(scope), all, epochs), |partial: &Partial<u64, u64>| partial.routing);
        let streams = keyed_pair::<_, _, _, _, Columns>(left, right, empty(scope), logic, settings);
        streams.expect("there is one worker").output.probe_with(probe);
    })
}

/// CPU time of so many epochs that bring a batch each.
fn run<D: Clone + Send + Sync + 'static>(
    batch: Vec<D>,
    epochs: u64,
    build: impl FnOnce(StreamVec<'_, u64, D>, Scope<'_, u64>, &ProbeHandle<u64>) + Send + Sync + 'static,
) -> f64 {
    execute_directly(move |worker| {
        let (mut input, probe) = (InputHandle::new(), ProbeHandle::new());
        worker.dataflow::<u64, _, _>(|scope| build(scope.input_from(&mut input).container(), scope, &probe));
        let (warm, mut started) = (epochs / 10 + 1, 0.0);
        for epoch in 0..warm + epochs {
            if epoch == warm {
                started = cpu_seconds();
            }
            batch.chunks(1024).for_each(|chunk| input.send_batch(&mut chunk.to_vec()));
            input.advance_to(epoch + 1);
            worker.step_while(|| probe.less_than(&(epoch + 1)));
        }
        cpu_seconds() - started
    })
}
