//! Cases that were wrong once, and some that looked as if they might be.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::counting::counted;
use crate::common::hooked::{Hooked, Operation};
use crate::common::{Channels, Random, RandomPolicy, Row, Run, drive, timely_config};
use thalweg::checkpoint::{CheckpointConfig, Checkpoints, Fingerprint, Manifest, Memory, Store};
use thalweg::keyed::codec::Serde;
use thalweg::keyed::{Context, Fault, Report};
use thalweg::observe::Event;
use thalweg::orchestrate::{Orchestrator, Space};
use thalweg::policy::{Policy, Script, Static, View};
use thalweg::profile::{ShardEpoch, Statistics};
use thalweg::{Assignment, Command, Config, Error, KeyRange, Rebalance, stable_hash};
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

fn fingerprint() -> Fingerprint {
    Fingerprint::default().with("logic", "counts")
}

fn config() -> CheckpointConfig {
    CheckpointConfig { trigger: "every:1000".parse().unwrap(), keep: 1000, ..CheckpointConfig::default() }
}

fn script(text: &str) -> Script {
    text.parse().unwrap()
}

/// Runs stages of these names over one input, all with one `Checkpoints`; gives the counts of key 7 by stage and epoch.
fn named(
    names: &'static [&'static str],
    text: &'static str,
    checkpoints: &Checkpoints,
    epochs: u64,
) -> BTreeMap<(String, u64), u64> {
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let (result, checkpoints) = (Arc::clone(&seen), checkpoints.clone());
    drive(timely_config(1, Channels::Moved), move |worker, stop| {
        let (probe, mut input, fault) = (ProbeHandle::new(), InputHandle::new(), Fault::new());
        worker.dataflow::<u64, _, _>(|scope| {
            let data = scope.input_from(&mut input).container::<Vec<u64>>();
            for name in names {
                let seen = Arc::clone(&seen);
                data.clone()
                    .rebalance(&Config { shards: 2, ..Config::default() }, |k: &u64| stable_hash(k))
                    .unwrap()
                    .checkpoint_to(&checkpoints, &fault)
                    .unwrap()
                    .named(name)
                    .unwrap()
                    .policy(script(text))
                    .unwrap()
                    .fold_keyed(
                        |k| *k,
                        |k, count: &mut u64, out: &mut Context<'_, u64, u64, (u64, u64, u64)>| {
                            *count += 1;
                            let at = *out.time();
                            out.give((k, at, *count));
                        },
                    )
                    .inspect(move |(_, at, count)| _ = seen.lock().unwrap().insert((name.to_string(), *at), *count))
                    .probe_with(&probe);
            }
        });
        input.advance_to(checkpoints.epoch());
        for epoch in checkpoints.epoch()..epochs {
            input.send(7);
            input.advance_to(epoch + 1);
            stop.step_until(worker, || fault.check().map(|()| !probe.less_than(&epoch)).unwrap());
        }
        input.close();
        while stop.step(worker) {
            fault.check().unwrap();
        }
    });

    result.lock().unwrap().clone()
}

/// Each stage would overwrite the other's manifests.
#[test]
fn two_stages_cannot_share_a_checkpoint() {
    let begin = Checkpoints::begin(Arc::new(Memory::default()), fingerprint(), config()).unwrap();
    let refused = catch_unwind(AssertUnwindSafe(|| named(&["a", "b"], "4 checkpoint", &begin, 6))).unwrap_err();
    assert!(refused.downcast_ref::<String>().unwrap().contains("another loop of this worker"));
    named(&["a"], "4 checkpoint", &begin, 6);
}

/// A snapshot must not hold up anything but itself.
#[test]
fn data_flows_while_a_snapshot_is_taken() {
    let keys = 10_000u64;
    let begin = Checkpoints::begin(Arc::new(Memory::default()), fingerprint(), config()).unwrap();
    drive(timely_config(1, Channels::Moved), move |worker, stop| {
        let (probe, mut input, fault) = (ProbeHandle::new(), InputHandle::new(), Fault::new());
        let config = Config { chunk_bytes: 1, shards: 1, ..Config::default() };
        worker.dataflow::<u64, _, _>(|scope| {
            scope
                .input_from(&mut input)
                .container::<Vec<u64>>()
                .rebalance(&config, stable_hash)
                .unwrap()
                .checkpoint_to(&begin, &fault)
                .unwrap()
                .policy(script("2 checkpoint"))
                .unwrap()
                .fold_keyed(
                    |key| *key,
                    |key, count: &mut u64, out: &mut Context<'_, u64, u64, Row>| {
                        *count += 1;
                        out.give((key, *count, 0));
                    },
                )
                .probe_with(&probe);
        });
        (0..keys).for_each(|key| input.send(key));
        let mut steps = 0;
        let mut at = Vec::new();
        for epoch in 0..30 {
            input.send(1);
            input.advance_to(epoch + 1);
            while probe.less_than(&epoch) && !stop.is_set() {
                worker.step();
                steps += 1;
            }
            at.push(steps);
        }
        input.close();
        while stop.step(worker) {}
        assert!(at[29] < 3000, "steps taken until epochs 0..30 were complete: {at:?}");
    });
}

/// The commands that an orchestrator takes into its assignment are those it sends.
#[test]
fn an_orchestrator_knows_what_it_has_commanded() {
    struct Twice(Arc<Mutex<Vec<usize>>>);
    impl Policy for Twice {
        fn decide(&mut self, view: &View<'_>) -> Vec<Command> {
            self.0.lock().unwrap().push(view.assignment.len());
            let shard = KeyRange::ALL;
            vec![Command::Split { shard, at: 9 }, Command::Split { shard, at: 9 }]
        }
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let start = Assignment::even(1, 1).unwrap();
    let mut orchestrator = orchestrator(Twice(Arc::clone(&seen)), start.clone());
    let sent: Vec<_> = orchestrator.decide(0, Vec::new(), 1.0).commands.into_iter().map(|sent| sent.command).collect();
    orchestrator.decide(1, Vec::new(), 1.0);
    let believed = seen.lock().unwrap()[1];
    assert_eq!(believed, start.apply_valid(sent.clone()).assignment.len(), "shards believed and real, after {sent:?}");
}

fn orchestrator(policy: impl Policy, initial: Assignment) -> Orchestrator {
    let space =
        Space { name: "keys".into(), initial, policy: Box::new(policy), known: BTreeMap::new(), can_fold: false };
    Orchestrator::new(vec![space], vec![0], 1, 4)
}

/// Reports of workers that do not exist.
#[test]
fn a_report_of_an_unknown_worker_is_no_panic() {
    let start = Assignment::even(1, 1).unwrap();
    let mut orchestrator = orchestrator(Static, start);
    orchestrator.decide(0, vec![(0, Report::Holds { worker: 3, keys: 1, bytes: 1, unsaved_bytes: 1 })], 1.0);
    let (range, statistics) = (KeyRange::ALL, Statistics::default());
    orchestrator.decide(
        1,
        vec![(0, Report::Shards(vec![ShardEpoch { range, worker: 3, keys: 1, state_bytes: 1, statistics }]))],
        1.0,
    );
}

/// Chunks have bounded size.
#[test]
fn chunks_of_snapshots_are_bounded() {
    let store = Memory::default();
    let begin = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), config()).unwrap();
    let run =
        Run { workers: 1, records: 20_000, keys: 1_000_003, epochs: 8, chunk_bytes: 1000, shards: 1, ..Run::default() };
    run.outputs_under(|| script("5 checkpoint"), Some(&begin));
    let manifest = Manifest::read(&store, 5).unwrap();
    let longest = manifest.objects.iter().flat_map(|o| &o.chunks).map(|c| (c.length, c.keys)).max().unwrap();
    assert!(longest.0 < 10_000, "chunk_bytes is 1000, the longest chunk has {longest:?} bytes and keys");
}

static LIVE: AtomicI64 = AtomicI64::new(0);
static MOST: AtomicI64 = AtomicI64::new(0);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Counted(u64);

impl Counted {
    fn new(key: u64) -> Self {
        MOST.fetch_max(LIVE.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        Counted(key)
    }
}
impl Clone for Counted {
    fn clone(&self) -> Self {
        Counted::new(self.0)
    }
}
impl Drop for Counted {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}
impl serde::Serialize for Counted {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}
impl<'de> serde::Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        u64::deserialize(d).map(Counted::new)
    }
}

/// A shard with timers moves back and forth: it must not leave any behind.
#[test]
fn timers_of_shards_that_have_left_are_let_go() {
    let moves: String = (2..202).map(|b| format!("{b} move 0 {}\n", (b + 1) % 2)).collect();
    drive(timely_config(2, Channels::Moved), move |worker, stop| {
        let (probe, mut input) = (ProbeHandle::new(), InputHandle::new());
        let index = worker.index();
        worker.dataflow::<u64, _, _>(|scope| {
            scope
                .input_from(&mut input)
                .container::<Vec<u64>>()
                .rebalance(&Config { shards: 1, ..Config::default() }, stable_hash)
                .unwrap()
                .policy(script(&moves))
                .unwrap()
                .codec::<Serde>()
                .keyed(
                    |key| Counted(*key),
                    |_, count: &mut u64, context: &mut Context<'_, u64, Counted, u64>| {
                        *count += 1;
                        context.schedule(&100_000);
                    },
                    |count, context| context.give(*count),
                )
                .probe_with(&probe);
        });
        if index == 0 {
            (0..50).for_each(|key| input.send(key));
        }
        for epoch in 0..210 {
            input.advance_to(epoch + 1);
            stop.step_until(worker, || !probe.less_than(&(epoch + 1).min(205)));
        }
        input.close();
        while stop.step(worker) {}
    });
    let most = MOST.load(Ordering::Relaxed);
    assert!(most < 50 * 20, "50 keys with one timer each, and {most} keys alive at once after 200 moves");
}

/// A key may be forgotten while it has a timer.
#[test]
fn forgotten_keys_are_let_go_when_their_last_timer_has_fired() {
    let keys = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&keys);
    drive(timely_config(1, Channels::Moved), move |worker, stop| {
        let (probe, mut input, seen) = (ProbeHandle::new(), InputHandle::new(), Arc::clone(&seen));
        worker.dataflow::<u64, _, _>(|scope| {
            scope
                .input_from(&mut input)
                .container::<Vec<u64>>()
                .rebalance(&Config { shards: 1, ..Config::default() }, stable_hash)
                .unwrap()
                .policy(Static)
                .unwrap()
                .observe(move |event| {
                    if let Event::Epoch(e) = event {
                        seen.store(e.keys, Ordering::Relaxed);
                    }
                })
                .keyed(
                    |key| *key,
                    |_, _: &mut u64, context: &mut Context<'_, u64, u64, Row>| {
                        context.schedule(&(context.time() + 1));
                        context.forget();
                    },
                    |_, _| (),
                )
                .probe_with(&probe);
        });
        for epoch in 0..100 {
            (0..10).for_each(|key| input.send(epoch * 10 + key));
            input.advance_to(epoch + 1);
            stop.step_until(worker, || !probe.less_than(&epoch));
        }
        input.close();
        while stop.step(worker) {}
    });
    assert_eq!(keys.load(Ordering::Relaxed), 0, "keys held after all have been forgotten and all timers have fired");
}

/// A scripted run resumes on fewer workers, though the script's past names workers that are no more.
#[test]
fn a_scripted_run_resumes_on_fewer_workers() {
    let store = Memory::default();
    let text = "3 move 0 2\n 6 checkpoint";
    let begin = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), config()).unwrap();
    let run = Run { workers: 3, epochs: 10, ..Run::default() };
    run.outputs_under(move || script(text), Some(&begin));
    let resume = Checkpoints::resume(Arc::new(store), fingerprint(), config()).unwrap();
    Run { workers: 2, ..run }.outputs_under(move || script(text), Some(&resume));
}

/// An assignment for more workers than there are: an error, not a panic in the middle of a run.
#[test]
fn an_assignment_for_other_workers_is_an_error() {
    drive(timely_config(2, Channels::Moved), |worker, stop| {
        let mut input = InputHandle::new();
        worker.dataflow::<u64, _, _>(|scope| {
            let keys = scope.input_from(&mut input).container::<Vec<u64>>();
            let refused = counted(keys, Assignment::even(8, 4).unwrap()).map(|_| ());
            assert!(refused.unwrap_err().to_string().contains("for 4 workers and 2 run"));
        });
        input.close();
        while stop.step(worker) {}
    });
}

/// A timer at the last epoch fires once: there is no next epoch to take it to.
#[test]
fn the_last_epoch_ends() {
    drive(timely_config(1, Channels::Moved), |worker, stop| {
        let mut input = InputHandle::new();
        worker.dataflow::<u64, _, _>(|scope| {
            let mut fired = 0;
            scope
                .input_from(&mut input)
                .container::<Vec<u64>>()
                .rebalance(&Config { shards: 1, ..Config::default() }, stable_hash)
                .unwrap()
                .policy(Static)
                .unwrap()
                .keyed(
                    |key| *key,
                    |_, _: &mut u64, context: &mut Context<'_, u64, u64, Row>| context.schedule(&u64::MAX),
                    move |_, context| {
                        fired += 1;
                        assert!(fired < 1000, "a timer fires for ever at epoch {}", context.time());
                        context.schedule(&u64::MAX);
                    },
                );
        });
        input.send(1);
        input.close();
        while stop.step(worker) {}
    });
}

/// A store that removes nothing.
fn lasting(inner: Memory) -> impl Store {
    Hooked::new(inner, |_: &Memory, operation: Operation<'_>, name: &str| match operation {
        Operation::Delete => {
            let source = std::io::ErrorKind::PermissionDenied.into();
            Err(Error::Store { action: "remove", object: name.into(), source })
        }
        Operation::Write(_) | Operation::Read | Operation::List => Ok(()),
    })
}

/// What becomes of old checkpoints that can't be removed is told to somebody.
#[test]
fn a_checkpoint_that_cannot_be_removed_is_told() {
    let config = CheckpointConfig { keep: 1, ..config() };
    let begin = Checkpoints::begin(Arc::new(lasting(Memory::default())), fingerprint(), config).unwrap();
    let (_, events) = Run { checkpoint_every: 1, ..Run::default() }.outputs(Some(&begin));
    let told = format!("{events:?}");
    assert!(told.contains("can't remove"), "no event tells that nothing could be removed");
}

/// Sparse epochs up to the last one there is, a worker whose input lags, random commands and checkpoints.
fn sparse(workers: usize, lead: u64, times: &'static [u64], lag: bool, seed: u64) {
    let seen = Arc::new(Mutex::new(BTreeMap::<u64, Vec<Row>>::new()));
    let result = Arc::clone(&seen);
    let begin = Checkpoints::begin(Arc::new(Memory::default()), fingerprint(), config()).unwrap();
    drive(timely_config(workers, Channels::Serialised), move |worker, stop| {
        let (probe, mut input, fault) = (ProbeHandle::new(), InputHandle::new(), Fault::new());
        let (index, peers) = (worker.index(), worker.peers());
        let policy = RandomPolicy { random: Random(seed), keys: 97, commands: 5, checkpoint_every: 3 };
        worker.dataflow::<u64, _, _>(|scope| {
            let rows = Arc::clone(&seen);
            scope
                .input_from(&mut input)
                .container::<Vec<u64>>()
                .rebalance(&Config { lead, shards: 5, chunk_bytes: 100, ..Config::default() }, |k: &u64| {
                    stable_hash(&(k % 7))
                })
                .unwrap()
                .checkpoint_to(&begin, &fault)
                .unwrap()
                .policy(policy)
                .unwrap()
                .keyed(
                    |key| *key,
                    |key, count: &mut u64, c: &mut Context<'_, u64, u64, Row>| {
                        *count += 1;
                        c.give((key, *count, 0));
                        if *count % 3 == 1 && *c.time() < u64::MAX - 10 {
                            c.schedule(&c.time().saturating_add(1 + *count % 4));
                        }
                    },
                    |count, c| {
                        let key = *c.key();
                        c.give((key, *count, 1));
                        if *count % 5 == 0 {
                            c.forget();
                        }
                    },
                )
                .inspect_core(move |event| {
                    if let Ok((stamp, batch)) = event {
                        rows.lock().unwrap().entry(*stamp.least().unwrap()).or_default().extend_from_slice(batch);
                    }
                })
                .probe_with(&probe);
        });
        for (i, time) in times.iter().enumerate() {
            if !(lag && index == 0) {
                input.advance_to(*time);
            }
            if !(lag && index == 0 && i > 0) {
                for key in (0..200u64).skip(index).step_by(peers) {
                    if !lag || index != 0 {
                        input.send(key * key % 97);
                    }
                }
            }
            for _ in 0..20 {
                worker.step();
            }
            if !lag {
                stop.step_until(worker, || !probe.less_than(time));
            }
        }
        input.close();
        while stop.step(worker) {
            fault.check().unwrap();
        }
    });
    let mut got = std::mem::take(&mut *result.lock().unwrap());
    got.values_mut().for_each(|rows| rows.sort_unstable());
    let mut expected = BTreeMap::<u64, Vec<Row>>::new();
    let (mut counts, mut timers) =
        (BTreeMap::<u64, u64>::new(), BTreeMap::<u64, std::collections::BTreeSet<u64>>::new());
    let data: BTreeMap<u64, Vec<u64>> = times
        .iter()
        .map(|t| (*t, (0..200u64).filter(|k| !lag || k % workers as u64 != 0).map(|k| k * k % 97).collect()))
        .collect();
    loop {
        let next = data
            .keys()
            .copied()
            .filter(|t| !expected.contains_key(t))
            .min()
            .into_iter()
            .chain(timers.keys().next().copied())
            .min();
        let Some(t) = next else { break };
        let rows = expected.entry(t).or_default();
        for key in timers.remove(&t).unwrap_or_default() {
            let count = counts.get_mut(&key).unwrap();
            rows.push((key, *count, 1));
            if *count % 5 == 0 {
                *count = 0;
            }
        }
        for key in data.get(&t).into_iter().flatten() {
            let count = counts.entry(*key).or_default();
            *count += 1;
            rows.push((*key, *count, 0));
            if *count % 3 == 1 && t < u64::MAX - 10 {
                timers.entry(t + 1 + *count % 4).or_default().insert(*key);
            }
        }
        rows.sort_unstable();
    }
    assert!(got == expected, "{workers} {lead} {lag} {seed}");
}

#[test]
fn sparse_epochs_and_lagging_workers() {
    const TIMES: &[u64] = &[
        0,
        1,
        5,
        6,
        7,
        1000,
        1001,
        1 << 40,
        (1 << 40) + 1,
        (1 << 40) + 2,
        u64::MAX - 6,
        u64::MAX - 3,
        u64::MAX - 2,
        u64::MAX - 1,
        u64::MAX,
    ];
    for seed in 0..12 {
        for (workers, lead) in [(1, 1), (2, 2), (4, 1), (3, 40)] {
            sparse(workers, lead, TIMES, false, seed);
            if workers > 1 {
                sparse(workers, lead, TIMES, true, seed);
            }
        }
    }
}
