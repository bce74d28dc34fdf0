//! The gate and the routed exchange, by themselves.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use crate::common::{Channels, drive, timely_config};
use thalweg::routing::{Routed, gate};
use thalweg::{Assignment, Command, Epochs, KeyRange};
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

fn step(worker: &mut Worker) {
    for _ in 0..20 {
        worker.step();
    }
}

/// Without the wait, the record would be through at once, routed by an assignment that is not settled.
#[test]
fn the_gate_holds_data_until_no_command_at_or_before_the_start_of_its_epoch_can_come() {
    timely::execute_directly(|worker| {
        let epochs = Epochs::of(10).unwrap();
        let (mut data, mut control, probe) = (InputHandle::new(), InputHandle::new(), ProbeHandle::new());
        let seen = Rc::new(RefCell::new(Vec::new()));
        let versions = worker.dataflow::<u64, _, _>(|scope| {
            let data = scope.input_from(&mut data).container::<Vec<u64>>();
            let control = scope.input_from(&mut control).container::<Vec<Command>>();
            let seen = Rc::clone(&seen);
            let gated = gate(data, control, Assignment::even(1, 1).unwrap(), epochs);
            gated.data.inspect(move |x| seen.borrow_mut().push(*x)).probe_with(&probe);
            gated.versions
        });
        data.advance_to(37);
        data.send(7);
        data.advance_to(90);
        control.advance_to(30);
        step(worker);
        assert!(seen.borrow().is_empty() && probe.less_equal(&37));
        control.send(Command::Split { shard: KeyRange::ALL, at: 5 });
        step(worker);
        assert!(seen.borrow().is_empty() && versions.borrow().latest().len() == 1);
        control.advance_to(31);
        step(worker);
        assert_eq!(*seen.borrow(), [7]);
        assert_eq!((versions.borrow().latest().len(), versions.borrow().len()), (2, 1), "the old version is dropped");
    });
}

/// The assignment changes before every epoch; each record must arrive where it says.
#[test]
fn records_go_where_the_assignment_at_their_time_says() {
    for channels in [Channels::Moved, Channels::Serialised] {
        let arrived = Arc::new(Mutex::new(0));
        let total = Arc::clone(&arrived);
        drive(timely_config(3, channels), move |worker, stop| {
            let (index, arrived) = (worker.index(), Arc::clone(&arrived));
            let (mut data, mut control, probe) = (InputHandle::new(), InputHandle::new(), ProbeHandle::new());
            worker.dataflow::<u64, _, _>(|scope| {
                let initial = Assignment::new([(KeyRange::ALL, 0)], 3).unwrap();
                let data = scope.input_from(&mut data).container::<Vec<(u64, u64)>>();
                let control = scope.input_from(&mut control).container::<Vec<Command>>();
                let gated = gate(data, control, initial, Epochs::default());
                gated
                    .data
                    .unary(Routed::new(gated.versions, |(_, key): &(u64, u64)| *key), "Check", |_, _| {
                        move |input, output| {
                            input.for_each(|capability, records| {
                                let time = *capability.least().unwrap();
                                assert!(records.iter().all(|(at, _)| *at == time && *at % 3 == index as u64));
                                *arrived.lock().unwrap() += records.len();
                                output.session(&capability).give_container(records);
                            });
                        }
                    })
                    .container::<Vec<_>>()
                    .probe_with(&probe);
            });
            for epoch in 0..50 {
                control.advance_to(epoch);
                control.send(Command::Move { shard: KeyRange::ALL, to: (epoch % 3) as usize });
                (0..10).for_each(|key| data.send((epoch, key << 60)));
                data.advance_to(epoch + 1);
                worker.step();
            }
            control.close();
            data.close();
            while stop.step(worker) {}
        });
        assert_eq!(*total.lock().unwrap(), 3 * 50 * 10);
    }
}
