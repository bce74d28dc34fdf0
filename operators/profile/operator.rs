//! `Observer`: emits, when an epoch is complete, a report of what this worker saw of each shard, to the worker that
//! the shard's range hashes to. Waits for nothing else. Holds the statistics of the open epochs, never records.
//!
//! `Rolling`: emits a profile per shard that saw records in an epoch, when all workers' reports are there, at the
//! epoch's time. Holds the reports of open epochs, and a window of epochs per shard.
//!
//! | operator | input | pact | outputs that it answers to |
//! |---|---|---|---|
//! | `Observer` | data | pipeline | reports |
//! | `Rolling` | reports | exchange by destination | profiles |

use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::Operator;

use super::{Profile, ProfileConfig, Rolling, Sampler, ShardEpoch, Statistics};
use crate::epoch::{Epochs, Ticks};
use crate::error::Error;
use crate::keyspace::{Assignment, stable_hash};
use crate::pending::Pending;

/// Profiles a stream: what each shard of the key space sees per epoch, and rolling over a window of epochs.
pub trait ProfileStream<'scope, T: Ticks, D: 'static>: Sized {
    /// A profile per complete epoch and shard that saw records in it, at the epoch's last time, on some worker.
    ///
    /// The shards are the ranges of the `assignment`, and a fair share is the epoch's records divided by its workers.
    /// Who owns a shard makes no difference here: records are observed where they are, and a profile names the
    /// worker that saw most of them. `key` gives a record's routing key, and `value` what mean and deviation are
    /// of. Sizes are those of `D` itself, without what it points to; [`profile_sized`](Self::profile_sized)
    /// counts better. `keys`, `state_bytes` and `busy_nanos` are 0, as a stream has no state and does no work.
    ///
    /// A message with several times counts at the first of them, and one with none is not seen.
    ///
    /// ```
    /// use timely::dataflow::operators::{Inspect, ToStream};
    /// use thalweg::profile::{ProfileConfig, ProfileStream};
    /// use thalweg::{Assignment, Epochs, stable_hash};
    ///
    /// timely::example(|scope| {
    ///     let assignment = Assignment::even(4, 1).unwrap();
    ///     (0..1_000u64)
    ///         .to_stream(scope)
    ///         .container::<Vec<_>>()
    ///         .profile(&ProfileConfig::default(), Epochs::default(), &assignment, |i| stable_hash(&(i % 10)), |i| *i as f64)
    ///         .expect("the configuration is valid")
    ///         .inspect(|profile| println!("{}: {:?}", profile.range, profile.last));
    /// });
    /// ```
    fn profile<K, V>(
        self,
        config: &ProfileConfig,
        epochs: Epochs,
        assignment: &Assignment,
        key: K,
        value: V,
    ) -> Result<StreamVec<'scope, T, Profile>, Error>
    where
        K: Fn(&D) -> u64 + 'static,
        V: Fn(&D) -> f64 + 'static,
    {
        self.profile_sized(config, epochs, assignment, key, value, |_| size_of::<D>())
    }

    /// Like [`profile`](Self::profile), with a function that gives a record's size in bytes. It is called for every
    /// record, so it should be cheap.
    fn profile_sized<K, V, S>(
        self,
        config: &ProfileConfig,
        epochs: Epochs,
        assignment: &Assignment,
        key: K,
        value: V,
        size: S,
    ) -> Result<StreamVec<'scope, T, Profile>, Error>
    where
        K: Fn(&D) -> u64 + 'static,
        V: Fn(&D) -> f64 + 'static,
        S: Fn(&D) -> usize + 'static;
}

impl<'scope, T: Ticks, D: 'static> ProfileStream<'scope, T, D> for StreamVec<'scope, T, D> {
    fn profile_sized<K, V, S>(
        self,
        config: &ProfileConfig,
        epochs: Epochs,
        assignment: &Assignment,
        key: K,
        value: V,
        size: S,
    ) -> Result<StreamVec<'scope, T, Profile>, Error>
    where
        K: Fn(&D) -> u64 + 'static,
        V: Fn(&D) -> f64 + 'static,
        S: Fn(&D) -> usize + 'static,
    {
        config.validate()?;
        let (worker, peers) = (self.scope().index(), self.scope().peers());
        let sampler = Sampler::new(config.sample, worker as u64);
        let rolling = Rolling::new(config.window, assignment.workers());
        let observer = Observer { assignment: assignment.clone(), worker, peers, sampler, key, value, size };
        Ok(roll(observe(self, epochs, observer), epochs, rolling))
    }
}

/// What one worker tells another of an epoch.
#[derive(Clone, Serialize, Deserialize)]
struct Report {
    to: usize,
    /// All that the sender saw, whoever the shards' reports go to.
    records: u64,
    shards: Vec<ShardEpoch>,
}

/// A shard's statistics by its index; none until its first record.
type Shards = Vec<Option<Box<Statistics>>>;

struct Observer<K, V, S> {
    assignment: Assignment,
    worker: usize,
    peers: usize,
    sampler: Sampler,
    key: K,
    value: V,
    size: S,
}

impl<K, V, S> Observer<K, V, S> {
    fn observe<D>(&mut self, shards: &mut Shards, records: &[D])
    where
        K: Fn(&D) -> u64,
        V: Fn(&D) -> f64,
        S: Fn(&D) -> usize,
    {
        shards.resize(self.assignment.len(), None);
        for record in records {
            let key = (self.key)(record);
            let statistics = shards[self.assignment.find(key)].get_or_insert_default();
            statistics.observe(key, (self.value)(record), (self.size)(record), &mut self.sampler);
        }
    }

    /// A report to every worker, so that each learns the records of all.
    fn report(&self, shards: Shards) -> Vec<Report> {
        let records = shards.iter().flatten().map(|statistics| statistics.records()).sum();
        let mut reports: Vec<Report> = (0..self.peers).map(|to| Report { to, records, shards: Vec::new() }).collect();
        for (index, statistics) in shards.into_iter().enumerate() {
            let Some(statistics) = statistics else { continue };
            let range = self.assignment.range(index);
            let to = stable_hash(&range.start()) % self.peers as u64;
            let report = ShardEpoch { range, worker: self.worker, keys: 0, state_bytes: 0, statistics: *statistics };
            reports[to as usize].shards.push(report);
        }
        reports
    }
}

fn observe<T, D, K, V, S>(
    data: StreamVec<'_, T, D>,
    epochs: Epochs,
    mut observer: Observer<K, V, S>,
) -> StreamVec<'_, T, Report>
where
    T: Ticks,
    D: 'static,
    K: Fn(&D) -> u64 + 'static,
    V: Fn(&D) -> f64 + 'static,
    S: Fn(&D) -> usize + 'static,
{
    data.unary_frontier(Pipeline, "Observer", |initial, _| {
        drop(initial);
        let mut open: Pending<T, Shards> = Pending::new();
        move |(input, frontier), output| {
            input.for_each_stamp(|capability, batches| {
                let Some(at) = capability.least() else { return };
                let (_, last) = epochs.around(at);
                let shards = open.entry(&last, || capability.delayed(&last, output.output_index()));
                batches.for_each(|batch| observer.observe(shards, batch));
            });
            while let Some((_, capability, shards)) = open.release(frontier) {
                output.session(&capability).give_iterator(observer.report(shards).into_iter());
            }
        }
    })
}

fn roll<T: Ticks>(
    reports: StreamVec<'_, T, Report>,
    epochs: Epochs,
    mut rolling: Rolling,
) -> StreamVec<'_, T, Profile> {
    reports.unary_frontier(Exchange::new(|report: &Report| report.to as u64), "Rolling", |initial, _| {
        drop(initial);
        let mut open: Pending<T, Vec<Report>> = Pending::new();
        move |(input, frontier), output| {
            input.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                let reports = open.entry(&capability.time().clone(), || capability);
                reports.extend(batches.flat_map(|batch| batch.drain(..)));
            });
            while let Some((_, capability, reports)) = open.release(frontier) {
                let epoch = epochs.number(capability.time());
                let records = reports.iter().map(|report| report.records).sum();
                let shards = reports.into_iter().flat_map(|report| report.shards).collect();
                let profiles = rolling.advance_part(epoch, shards, records);
                output.session(&capability).give_iterator(profiles.into_iter());
            }
        }
    })
}
