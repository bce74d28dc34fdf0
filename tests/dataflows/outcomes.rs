//! What becomes of checkpoints is told on every worker.

use std::sync::{Arc, Mutex};

use crate::common::flow::{fingerprint, when_commanded};
use crate::common::{Channels, drive, timely_config};
use thalweg::checkpoint::{Checkpoints, Manifest, Memory};
use thalweg::keyed::Fault;
use thalweg::policy::Script;
use thalweg::{Config, Loop, Rebalance, stable_hash};
use timely::dataflow::InputHandle;
use timely::dataflow::operators::{Input, Inspect};

#[test]
fn outcomes_come_to_all_workers_in_order_and_the_stream_ends() {
    for channels in [Channels::Moved, Channels::Serialised] {
        let store = Memory::default();
        let checkpoints = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), when_commanded()).unwrap();
        let told = drive(timely_config(3, channels), move |worker, stop| {
            let (mut input, fault, told) = (InputHandle::new(), Fault::new(), Arc::new(Mutex::new(Vec::new())));
            worker.dataflow::<u64, _, _>(|scope| {
                let looped = Loop::new(scope, &Config::default()).unwrap().checkpoint_to(&checkpoints, &fault).unwrap();
                let telling = Arc::clone(&told);
                looped.outcomes().inspect(move |outcome| telling.lock().unwrap().push(outcome.epoch));
                let script: Script = "3 checkpoint\n5 checkpoint\n9 checkpoint".parse().unwrap();
                let keys = looped.key_space("keys").unwrap().policy(script).unwrap();
                scope.input_from(&mut input).container::<Vec<u64>>().rebalance(&keys, stable_hash).unwrap().fold_keyed(
                    |key| *key,
                    |key, count: &mut u64, out| {
                        *count += 1;
                        out.give((key, *count));
                    },
                );
            });
            for epoch in 0..8 {
                (0..20).for_each(|key| input.send(key));
                input.advance_to(epoch + 1);
                worker.step();
            }
            input.close();
            while stop.step(worker) {
                fault.check().unwrap();
            }
            std::mem::take(&mut *told.lock().unwrap())
        });
        assert_eq!(told, vec![vec![3, 5, 9]; 3]);
        assert_eq!(Manifest::list(&store).unwrap(), [3, 5, 9]);
    }
}

#[test]
fn without_checkpoints_there_is_none() {
    let told = timely::execute_directly(|worker| {
        let told = Arc::new(Mutex::new(0));
        let telling = Arc::clone(&told);
        worker.dataflow::<u64, _, _>(|scope| {
            let looped = Loop::new(scope, &Config::default()).unwrap();
            looped.outcomes().inspect(move |_| *telling.lock().unwrap() += 1);
        });
        told
    });
    assert_eq!(*told.lock().unwrap(), 0);
}
