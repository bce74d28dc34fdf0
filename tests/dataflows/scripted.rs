//! Scripted commands: all kinds at one boundary, at the boundary that the script names, and errors that say what is
//! wrong.

use std::sync::Arc;

use crate::common::Run;
use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Fingerprint, Manifest, Memory};
use thalweg::observe::Event;
use thalweg::policy::{Script, ScriptError};
use thalweg::{Command, Config, Error, Rebalance};
use timely::dataflow::operators::ToStream;

/// Four shards, dealt to two workers, become four others.
fn script() -> Script {
    "
        5 split 0x1000000000000000
        5 move  0x1000000000000000 1
        5 move  0xc000000000000000 0
        5 merge 0xc000000000000000
        5 checkpoint
        5 move  0xc000000000000000 1
        9 checkpoint
    "
    .parse()
    .unwrap()
}

#[test]
fn all_kinds_of_commands_take_effect_at_one_boundary() {
    for lead in [1, 2, 5] {
        let store = Memory::default();
        let config = CheckpointConfig { trigger: "every:1000".parse().unwrap(), keep: 9, ..Default::default() };
        let checkpoints = Checkpoints::begin(Arc::new(store.clone()), Fingerprint::default(), config).unwrap();
        let run = Run { workers: 2, lead, shards: 4, ..Run::default() };
        let (outputs, events) = run.outputs_under(script, Some(&checkpoints));
        assert_eq!(outputs, run.expected());
        assert_eq!(Manifest::list(&store).unwrap(), [5, 9]);
        let owners: Vec<_> = Manifest::read(&store, 5).unwrap().assignment_of("keys").unwrap().iter().collect();
        let starts: Vec<_> = owners.iter().map(|(range, worker)| (range.start() >> 60, *worker)).collect();
        assert_eq!(starts, [(0, 0), (1, 1), (4, 1), (8, 1)]);
        let at_five = events.iter().find_map(|event| match event {
            Event::Epoch(epoch) if epoch.boundary == 5 => Some(epoch.commands.len()),
            _ => None,
        });
        assert_eq!(at_five, Some(6));
        assert!(events.iter().any(|event| matches!(event, Event::Epoch(e) if e.epoch == 5 && e.moved_bytes > 0)));
    }
}

/// What the library says of a script, before anything runs.
fn refusal(text: &'static str, lead: u64) -> String {
    timely::execute_directly(move |worker| {
        worker.dataflow::<u64, _, _>(|scope| {
            let config = Config { lead, shards: 2, ..Config::default() };
            let records = (0..3u64).to_stream(scope).container::<Vec<_>>();
            let stage = records.rebalance(&config, |i| *i).unwrap();
            let script: Result<Script, ScriptError> = text.parse();
            let refused = script.map_err(|e| e.to_string()).and_then(|script| {
                stage.policy(script).map(|_| ()).map_err(|error| match std::error::Error::source(&error) {
                    Some(cause) => format!("{error}: {cause}"),
                    None => error.to_string(),
                })
            });
            refused.unwrap_err()
        })
    })
}

#[test]
fn a_script_that_cannot_be_carried_out_is_refused_with_its_line() {
    for (text, what) in [
        ("1 split", "line 1 of the script: expected `split KEY`"),
        ("\n4 move 0 7", "line 2 of the script"),
        ("4 move 0 7", "there are 1 workers"),
        ("4 split 0", "can't be split at 0x0"),
        ("4 merge 1", "no shard before the first"),
        ("x checkpoint", "\"x\" is not a number"),
        ("4 dance 1", "found `dance 1`"),
        ("2 checkpoint", "with a lead of 3 epochs the first is 3"),
    ] {
        let refusal = refusal(text, 3);
        assert!(refusal.contains(what), "{text:?}: {refusal}");
    }
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    for (config, what) in [
        (Config { lead: 0, ..Config::default() }, "the lead must be at least 1 epoch"),
        (Config { shards: 0, ..Config::default() }, "0 shards on 1 workers"),
        (Config { chunk_bytes: 0, ..Config::default() }, "at least 1 byte"),
        (Config { lead: 1 << 40, ..Config::default() }, "does not fit the timestamp"),
    ] {
        let error = timely::execute_directly(move |worker| {
            worker.dataflow::<u32, _, _>(|scope| {
                (0..3u64).to_stream(scope).container::<Vec<_>>().rebalance(&config, |i| *i).map(|_| ()).unwrap_err()
            })
        });
        assert!(matches!(error, Error::Usage { .. }) && error.to_string().contains(what), "{error}");
    }
}

/// A policy that asks for what can't be done: the run goes on, and the event says what was refused.
#[test]
fn commands_that_cannot_be_carried_out_are_left_out_and_told() {
    let run = Run { workers: 2, ..Run::default() };
    let (outputs, events) = run.outputs_under(|| Wrong, None);
    assert_eq!(outputs, run.expected());
    let refused = |event: &Event| matches!(event, Event::Epoch(e) if e.refused.len() == 1 && e.commands.is_empty());
    assert!(events.iter().any(refused));
}

struct Wrong;

impl thalweg::policy::Policy for Wrong {
    fn decide(&mut self, view: &thalweg::policy::View<'_>) -> Vec<Command> {
        vec![Command::Move { shard: view.assignment.range(0), to: 99 }]
    }
}
