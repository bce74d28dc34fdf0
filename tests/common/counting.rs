//! The keyed operator by itself, behind a gate, without a loop: it counts the records of each key, which they are.

use thalweg::keyed::codec::Columns;
use thalweg::keyed::{Context, Fault, KeyedSettings, KeyedStreams, OneInput, Side, keyed};
use thalweg::profile::ProfileConfig;
use thalweg::routing::gate;
use thalweg::{Assignment, Command, Epochs, Error};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::generic::operator::empty;

struct Count;

impl Side<u64> for Count {
    type Record = u64;
    type Key = u64;
    type State = u64;
    type Output = u64;

    fn routing_key(&self, key: &u64) -> u64 {
        *key
    }

    fn key(&self, key: &u64) -> u64 {
        *key
    }

    fn value(&self, _: &u64) -> f64 {
        1.0
    }

    fn size(&self, _: &u64) -> usize {
        8
    }

    fn on_record(&mut self, _: u64, count: &mut u64, _: &mut Context<'_, u64, u64, u64>) {
        *count += 1;
    }
}

/// Counts keys, which are routed by themselves, on the workers that `assignment` gives them to.
pub fn counted<'scope>(
    keys: StreamVec<'scope, u64, u64>,
    assignment: Assignment,
) -> Result<KeyedStreams<'scope, u64, u64>, Error> {
    let control = empty::<u64, Vec<Command>>(keys.scope());
    let data = gate(keys, control.clone(), assignment, Epochs::default());
    let settings = KeyedSettings {
        name: "count".into(),
        epochs: Epochs::default(),
        chunk_bytes: 1000,
        pre_copy: true,
        profile: ProfileConfig::default(),
        restore: None,
        backlog: None,
        fault: Fault::new(),
    };
    let logic = OneInput { input: Count, on_timer: |_: &mut u64, _: &mut Context<'_, u64, u64, u64>| () };
    keyed::<_, _, _, Columns>(data, control, logic, |key| *key, settings)
}
