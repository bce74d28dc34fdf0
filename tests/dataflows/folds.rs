//! Hot keys may be folded at the gates, from any boundary to any other: what comes out per boundary is that of a plain
//! program (invariant 1), and the owner of a folded key has less to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use crate::common::job::{self, Data, Decisions, Job, Record, Rows, SHARED, Source, Spaces, config, fingerprint};
use crate::common::job::{inputs, jobs, recoveries, routing, routing_of};
use crate::common::{Channels, Random, RandomPolicy, Run, runs};
use proptest::prelude::*;
use thalweg::checkpoint::{Checkpoints, Manifest, Memory};
use thalweg::observe::Event;
use thalweg::{Assignment, IntoKeySpace, Rebalance};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Concat;

/// A share of the records that no key has.
const NEVER: f64 = 1e9;

/// Records, the greatest value, and the sum of the values.
type Partial = (u64, u64, u64);

/// Records and calls so far.
type State = (u64, u64);

/// Key, what the epoch has gathered, and the state.
type Row = (u64, Partial, State);

fn fold(record: Record, (records, greatest, sum): &mut Partial) {
    *records += 1;
    *greatest = (*greatest).max(record.2);
    *sum += record.2;
}

fn merge(partial: &mut Partial, (records, greatest, sum): Partial) {
    partial.0 += records;
    partial.1 = partial.1.max(greatest);
    partial.2 += sum;
}

/// What there is to do besides giving a row.
#[derive(Default)]
struct Then {
    wake: Option<u64>,
    forget: bool,
}

/// Totals over epochs, timers near and far and inside epochs, and states that are forgotten with timers still set.
fn at_boundary(now: u64, ticks: u64, partial: Partial, (records, calls): &mut State) -> Then {
    *records += partial.0;
    *calls += 1;
    let wake = match *records % 5 {
        1 if partial.0 > 0 => Some(now + 1 + *records % (3 * ticks)),
        2 if partial.0 > 0 => Some(now + 40 * ticks + partial.2 % ticks),
        3 if partial.0 > 0 => Some(now),
        _ => None,
    };
    Then { wake, forget: (*records + *calls).is_multiple_of(4) }
}

/// What must come out, computed one boundary after the other.
fn expected(job: &Job, data: &Data) -> Rows<Row> {
    let mut partials: BTreeMap<u64, BTreeMap<u64, Partial>> = BTreeMap::new();
    for (time, record) in data {
        fold(*record, partials.entry(job.boundary_after(*time)).or_default().entry(record.0).or_default());
    }
    let mut timers: BTreeSet<(u64, u64)> = BTreeSet::new();
    let (mut states, mut rows) = (BTreeMap::new(), Rows::new());
    while let Some(now) = partials.keys().copied().chain(timers.first().map(|(at, _)| *at)).min() {
        let mut calls = partials.remove(&now).unwrap_or_default();
        let later = timers.split_off(&(now + 1, 0));
        let due = std::mem::replace(&mut timers, later);
        for (_, key) in due {
            calls.entry(key).or_default();
        }
        for (key, partial) in calls {
            let (state, forgotten): &mut (State, bool) = states.entry(key).or_default();
            *forgotten &= partial.0 == 0;
            let then = at_boundary(now, job.ticks, partial, state);
            rows.push((now, (key, partial, *state)));
            if let Some(wake) = then.wake {
                timers.insert((job.boundary_from(wake.max(now + 1)), key));
            }
            if then.forget {
                (*state, *forgotten) = (State::default(), true);
            }
            // Its timers keep what they have made of the state.
            if *forgotten && timers.iter().all(|(_, other)| *other != key) {
                states.remove(&key);
            }
        }
    }
    rows.sort_unstable();
    rows
}

fn folded<'scope>(
    job: &Job,
    data: StreamVec<'scope, u64, Record>,
    keys: impl IntoKeySpace<'scope, u64>,
) -> StreamVec<'scope, u64, Row> {
    let ticks = job.ticks;
    data.rebalance(keys, routing).unwrap().named("fold").unwrap().fold_epochs(
        |record| record.0,
        fold,
        merge,
        move |partial, state: &mut State, context| {
            let then = at_boundary(*context.time(), ticks, partial, state);
            context.give((*context.key(), partial, *state));
            then.wake.into_iter().for_each(|wake| context.schedule(&wake));
            if then.forget {
                context.forget();
            }
        },
    )
}

/// The dataflow with that stage alone.
fn build(
    job: &Job,
) -> impl for<'s> Fn(StreamVec<'s, u64, Record>, &Spaces<'s>) -> StreamVec<'s, u64, Row> + Clone + use<> {
    let job = job.clone();
    move |data, spaces| folded(&job, data, &spaces.space("keys"))
}

/// Beside the same stage, in the same key space, one that counts record by record and can't fold.
fn build_beside(
    job: &Job,
) -> impl for<'s> Fn(StreamVec<'s, u64, Record>, &Spaces<'s>) -> StreamVec<'s, u64, Row> + Clone + use<> {
    let job = job.clone();
    move |data, spaces| {
        let keys = spaces.space("keys");
        let counts = data.clone().rebalance(&keys, routing).unwrap().named("count").unwrap().fold_keyed(
            |record| record.0,
            |record, count: &mut u64, context| {
                *count += 1;
                context.give((record.0, (0, 0, 0), (*count, 0)));
            },
        );
        folded(&job, data, &keys).concat(counts)
    }
}

/// What the counting stage must give.
fn counts(data: &Data) -> Rows<Row> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    let count = |(time, record): &(u64, Record)| {
        let count = counts.entry(record.0).or_default();
        *count += 1;
        (*time, (record.0, (0, 0, 0), (*count, 0)))
    };
    data.iter().map(count).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn the_output_is_that_of_a_plain_program(job in jobs(), input in inputs()) {
        let data = input.data(job.ticks);
        job.check(&data, &expected(&job, &data), build(&job));
    }

    #[test]
    fn a_resumed_run_gives_the_rest((job, again) in recoveries(), input in inputs()) {
        let data = input.data(job.ticks);
        job.check_recovery(&again, &data, &expected(&job, &data), build(&job));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn stages_that_fold_and_that_do_not_may_share_a_key_space((job, again) in recoveries(), input in inputs()) {
        let (job, again) = (Job { one_input: false, ..job }, Job { one_input: false, ..again });
        let data = input.data(job.ticks);
        let mut expected = [expected(&job, &data), counts(&data)].concat();
        expected.sort_unstable();
        job.check_recovery(&again, &data, &expected, build_beside(&job));
    }

    #[test]
    fn an_operator_without_merge_ignores_folds(run in runs(), folds in 1..5usize) {
        let Run { seed, keys, commands, checkpoint_every, .. } = run;
        let others = RandomPolicy { random: Random(seed), keys, commands, checkpoint_every };
        let policy = job::RandomFolds { random: Random(!seed), keys, folds, others };
        prop_assert_eq!(run.outputs_under(move || policy.clone(), None).0, run.expected());
    }
}

/// Records of each worker and epoch, as the loop has told them.
fn loads(events: &[Event]) -> BTreeMap<u64, Vec<u64>> {
    let mut loads: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for event in events {
        if let Event::Epoch(epoch) = event
            && epoch.records > 0
        {
            assert_eq!(epoch.records, epoch.loads.iter().sum::<u64>());
            assert!(epoch.refused.is_empty(), "{epoch:?}");
            assert_eq!(loads.insert(epoch.epoch, epoch.loads.clone()), None);
        }
    }
    loads
}

/// So many records of key 7 in each epoch.
fn one_key(epochs: u64, records: u64, ticks: u64) -> Data {
    let of_epoch = |epoch| (0..records).map(move |i| (epoch * ticks + i * ticks / records, (7, 0, i)));
    (0..epochs).flat_map(of_epoch).collect()
}

/// The number that `KEY` below stands for in scripts.
fn script(text: &str) -> Decisions {
    Decisions::Script(text.replace("KEY", &format!("{:#x}", routing_of(7))).leak())
}

fn owner(job: &Job) -> usize {
    Assignment::even(job.shards, job.workers).unwrap().owner_of(routing_of(7))
}

#[test]
fn the_records_of_a_folded_key_count_where_the_source_gave_them() {
    for (ticks, lead) in [(1, 1), (7, 2), (1000, 4)] {
        let folds = script("5 fold KEY\n 8 unfold KEY\n 10 fold KEY\n 11 unfold KEY");
        let job = Job { workers: 3, ticks, lead, decisions: folds, fold_share: NEVER, ..Job::default() };
        let data = one_key(13, 30, ticks);
        let (rows, events) = job.run(&data, None, build(&job));
        assert_eq!(rows, expected(&job, &data));
        let mut at_owner = vec![0; 3];
        at_owner[owner(&job)] = 30;
        for (epoch, loads) in loads(&events) {
            let is_folded = (5..8).contains(&epoch) || epoch == 10;
            assert_eq!(loads, if is_folded { vec![10; 3] } else { at_owner.clone() }, "epoch {epoch}");
        }
    }
}

/// Without a command, from its first epoch on; and in epochs without it nothing is.
#[test]
fn gates_fold_a_key_that_they_find_hot() {
    for (ticks, lead) in [(1, 1), (7, 2)] {
        let job = Job { workers: 3, ticks, lead, ..Job::default() };
        let mut data = one_key(4, 900, ticks);
        data.extend((0..900).map(|i| (4 * ticks, (8 + SHARED * i, 0, i))));
        let (rows, events) = job.run(&data, None, build(&job));
        assert_eq!(rows, expected(&job, &data));
        let owner = owner(&job);
        for (epoch, loads) in loads(&events) {
            let elsewhere: u64 = (0..3).filter(|worker| *worker != owner).map(|worker| loads[worker]).sum();
            assert!(epoch == 4 || (500..=600).contains(&elsewhere), "epoch {epoch}: {loads:?}, owner {owner}");
        }
        let never = Job { fold_share: NEVER, ..job };
        let (rows, events) = never.run(&data, None, build(&never));
        assert_eq!(rows, expected(&never, &data));
        assert!(loads(&events).range(..4).all(|(_, loads)| loads[owner] == 900));
    }
}

/// Also where its records come one by one, and each is folded before the next one comes.
#[test]
fn each_worker_sends_one_partial_of_a_folded_key_for_an_epoch() {
    for (lead, ahead, pace) in [(2, 2, 0), (3, 1, 8)] {
        let decisions = script("3 fold KEY\n 3 split KEY\n 6 move KEY 0\n 8 move KEY 2\n 10 unfold KEY");
        let channels = Channels::Serialised;
        let fold_share = NEVER;
        let job = Job { workers: 3, channels, lead, ahead, pace, ticks: 7, fold_share, decisions, ..Job::default() };
        // By worker: records folded, and partials merged.
        let seen: Arc<Mutex<BTreeMap<usize, (u64, u64)>>> = Arc::default();
        let calls = Arc::clone(&seen);
        let (rows, events) = job.run(&one_key(10, 30, 7), None, move |data, spaces| {
            let (index, folds, merges) = (data.scope().index(), Arc::clone(&calls), Arc::clone(&calls));
            data.rebalance(&spaces.space("keys"), routing).unwrap().fold_epochs(
                |record| record.0,
                move |record, partial: &mut Partial| {
                    folds.lock().unwrap().entry(index).or_default().0 += 1;
                    fold(record, partial);
                },
                move |partial, other| {
                    merges.lock().unwrap().entry(index).or_default().1 += 1;
                    merge(partial, other);
                },
                |partial, (): &mut (), context| context.give(partial.0),
            )
        });
        assert_eq!(rows, (1..=10).map(|epoch| (epoch * 7, 30)).collect::<Vec<_>>());
        assert!(loads(&events).range(3..).all(|(_, loads)| *loads == vec![10; 3]));
        let mut expected: BTreeMap<usize, (u64, u64)> = (0..3).map(|worker| (worker, (70, 0))).collect();
        expected.get_mut(&owner(&job)).unwrap().0 += 90;
        for (epochs, owner) in [(3, owner(&job)), (2, 0), (2, 2)] {
            expected.get_mut(&owner).unwrap().1 += 3 * epochs;
        }
        assert_eq!(*seen.lock().unwrap(), expected, "lead {lead}, ahead {ahead}, pace {pace}");
    }
}

/// What was folded at the boundary of a checkpoint still is when a run resumes there, on however many workers.
#[test]
fn folds_are_in_the_checkpoint() {
    let decisions = script("3 fold KEY\n 6 checkpoint\n 7 unfold KEY");
    let job = Job { workers: 3, fold_share: NEVER, decisions, ..Job::default() };
    let data = one_key(12, 40, 1);
    for workers in [1, 2, 4] {
        let store = Memory::default();
        let begin = Checkpoints::begin(Arc::new(store.clone()), fingerprint(), config()).unwrap();
        job.run(&data, Some(&begin), build(&job));
        assert_eq!(Manifest::read(&store, 6).unwrap().spaces["keys"].assignment.folded(), [routing_of(7)]);
        let resume = Checkpoints::resume(Arc::new(store), fingerprint(), config()).unwrap();
        assert_eq!(resume.epoch(), 6);
        let again = Job { workers, decisions: script("10 unfold KEY"), ..job.clone() };
        let (rows, events) = again.run(&data, Some(&resume), build(&again));
        let rest: Rows<Row> = expected(&job, &data).into_iter().filter(|(at, _)| *at >= 6).collect();
        assert_eq!(rows, rest);
        for (epoch, loads) in loads(&events) {
            let evenly = loads.iter().all(|load| *load == 40 / workers as u64);
            assert_eq!(evenly, epoch < 10 || workers == 1, "epoch {epoch}: {loads:?}");
        }
    }
}

/// A key that is folded at the source of all its records, by a worker that is behind, and no epoch without records of
/// it.
#[test]
fn one_worker_may_be_behind_with_all_records_of_a_folded_key() {
    for ahead in [0, 3] {
        let folds = script("2 fold KEY\n 5 unfold KEY\n 5 move KEY 1\n 7 fold KEY");
        let job = Job {
            workers: 4,
            source: Some(2),
            lag: Some((2, 3)),
            ahead,
            ticks: 7,
            fold_share: NEVER,
            decisions: folds,
            ..Job::default()
        };
        let data = one_key(10, 20, 7);
        let (rows, events) = job.run(&data, None, build(&job));
        assert_eq!(rows, expected(&job, &data));
        let loads = loads(&events);
        assert!([2, 3, 4, 7, 8, 9].iter().all(|epoch| loads[epoch] == [0, 0, 20, 0]), "{loads:?}");
    }
}

/// Epochs of which the last ones have no records, folds that are never ended, and timers that lie far behind the end.
#[test]
fn inputs_may_be_closed_while_folds_are_in_force() {
    for lead in [1, 3, 10] {
        for epochs in 0..6 {
            let random = Decisions::Random { seed: epochs, keys: 9, commands: 3, folds: 4, checkpoint_every: 2 };
            for (decisions, workers) in [(script("10 fold KEY"), 2), (random, 3)] {
                let job = Job { workers, lead, decisions, ticks: 7, ..Job::default() };
                let input = Source { seed: lead, epochs, records: 20, keys: 9, disorder: (0, 0) };
                let data = input.data(7);
                job.check(&data, &expected(&job, &data), build(&job));
            }
        }
    }
}
