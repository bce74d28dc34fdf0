//! A dataflow of one worker that counts keys.

use std::collections::BTreeMap;

use thalweg::policy::{Policy, PolicyConfig, Proactive, Sight, Static, View};
use thalweg::{Assignment, Command, Config, Error, Rebalance};
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

use crate::allocator::allocated;
use crate::common::cpu_seconds;

/// Epochs before any is measured.
const WARM_UP: u64 = 12;

/// What a run has come to.
pub struct Run {
    /// CPU time per epoch.
    pub seconds: f64,
    /// What is allocated at its end, but for keys and their states.
    pub bytes: usize,
}

/// What decides in a dataflow.
#[derive(Clone, Copy)]
pub enum Decides {
    Static,
    /// The default policy.
    Proactive,
    /// The same, while a shard is split and merged again, so that the assignment is not the one of the start.
    Splitting,
}

impl Decides {
    fn policy(self) -> Deciding {
        let config = PolicyConfig { max_shards: 1 << 21, ..PolicyConfig::default() };
        let policy: Box<dyn Policy> = match self {
            Decides::Static => Box::new(Static),
            _ => Box::new(Proactive::new(config).expect("the configuration is valid")),
        };
        Deciding { policy, splits: matches!(self, Decides::Splitting) }
    }
}

struct Deciding {
    policy: Box<dyn Policy>,
    splits: bool,
}

impl Policy for Deciding {
    fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
        self.policy.decide(view)
    }

    fn sight(&self) -> Sight {
        self.policy.sight()
    }

    fn known(&mut self, start: &Assignment, _: u64) -> Result<BTreeMap<u64, Vec<Command>>, Error> {
        let shard = start.range(0);
        let at = shard.last() / 2;
        let (left, right) = shard.split(at).expect("a shard of many keys");
        let command = |boundary| match boundary % 2 {
            0 => Command::Split { shard, at },
            _ => Command::Merge { left, right },
        };
        let boundaries = (Config::LEAD..=WARM_UP).filter(|_| self.splits);
        Ok(boundaries.map(|boundary| (boundary, vec![command(boundary)])).collect())
    }
}

/// Epochs of a dataflow with so many shards, of which so many have one key each, with a record in each epoch.
pub fn run(decides: Decides, shards: usize, live: usize, epochs: u64) -> Run {
    let ranges = Assignment::even(shards, 1).expect("the sizes are possible");
    let keys: Vec<u64> = (0..live).map(|i| ranges.range(i * (shards / live)).start()).collect();
    drop(ranges);
    let before = allocated();
    timely::execute_directly(move |worker| {
        let (mut input, probe) = (InputHandle::new(), ProbeHandle::new());
        worker.dataflow::<u64, _, _>(|scope| {
            let data = scope.input_from(&mut input).container::<Vec<u64>>();
            let config = Config { shards, ..Config::default() };
            data.rebalance(&config, |key| *key)
                .and_then(|stage| stage.policy(decides.policy()))
                .expect("the configuration is valid")
                .fold_keyed(
                    |key| *key,
                    |_, count: &mut u64, context| {
                        *count += 1;
                        context.give(*count);
                    },
                )
                .container::<Vec<u64>>()
                .probe_with(&probe);
        });
        let mut epoch = 0;
        let mut go = |epochs: u64| {
            let started = cpu_seconds();
            for _ in 0..epochs {
                keys.iter().for_each(|key| input.send(*key));
                epoch += 1;
                input.advance_to(epoch);
                while probe.less_than(&epoch) {
                    worker.step();
                }
            }
            (cpu_seconds() - started) / epochs as f64
        };
        go(WARM_UP);
        let seconds = go(epochs);
        let bytes = allocated() - before;
        input.close();
        while worker.step() {}
        Run { seconds, bytes }
    })
}
