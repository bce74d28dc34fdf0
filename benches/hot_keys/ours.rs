use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use thalweg::aggregate::{Folded, HotKeys, Spotting};
use thalweg::keyed::Report;
use thalweg::orchestrate::{Orchestrator, Space};
use thalweg::policy::{Policy, Proactive};
use thalweg::profile::{Sampler, ShardEpoch, Statistics};
use thalweg::{Assignment, Command, Config, Error, KeyRange};

use super::arm::{Arm, Work};

/// Records that a gate is given at a time, as timely's channels do.
const BATCH: usize = 1024;

/// State of a key, in bytes.
const KEY_BYTES: u64 = 64;

/// What stands for a record's value and size: nothing is decided by them.
const VALUE: f64 = 1.0;
const SIZE: usize = 64;

/// Thalweg: the gates and the orchestrator as they are, and between them an assignment that routes counts.
pub struct Ours {
    assignment: Assignment,
    orchestrator: Orchestrator,
    lead: u64,
    /// By boundary.
    commands: BTreeMap<u64, Vec<Command>>,
    /// By worker.
    spotting: Vec<Spotting>,
    /// Keys that the gates fold besides.
    worthwhile: Vec<Vec<u64>>,
    samplers: Vec<Sampler>,
    /// Ascending.
    routing: Vec<u64>,
}

impl Ours {
    /// With the default policy. Without `spots`, gates find no keys by themselves.
    pub fn new(workers: usize, routing: &[u64], spots: bool) -> Result<Self, Error> {
        let config = Config { shards: 8 * workers, ..Config::default() };
        let initial = config.initial(workers)?;
        let policy: Box<dyn Policy> = Box::new(Proactive::new(config.policy.clone())?);
        let (assignment, known) = (initial.clone(), BTreeMap::new());
        let space = Space { name: String::new(), initial, policy, known, can_fold: true };
        let (sample, each) = (config.profile.sample, 0..workers as u64);
        let spotting = |worker| if spots { Spotting::new(workers, worker) } else { Spotting::OFF };
        Ok(Ours {
            assignment,
            orchestrator: Orchestrator::new(vec![space], vec![0], config.lead, config.profile.window),
            lead: config.lead,
            commands: BTreeMap::new(),
            spotting: each.clone().map(spotting).collect(),
            worthwhile: vec![Vec::new(); workers],
            samplers: each.map(|worker| Sampler::new(sample, worker)).collect(),
            routing: routing.to_vec(),
        })
    }

    /// Carries out the commands of a boundary.
    fn cross(&mut self, boundary: u64, work: &mut Work) {
        let later = self.commands.split_off(&(boundary + 1));
        let commands = std::mem::replace(&mut self.commands, later).into_values().flatten().collect();
        let next = self.assignment.apply_valid(commands).assignment;
        for handover in self.assignment.handovers(&next) {
            let keys = self.keys(handover.range);
            work.done[handover.from].moved += keys;
            work.done[handover.to].moved += keys;
        }
        self.assignment = next;
    }

    fn keys(&self, range: KeyRange) -> u64 {
        let before = |key: &u64| *key < range.start();
        let first = self.routing.partition_point(before);
        self.routing[first..].partition_point(|key| *key <= range.last()) as u64
    }

    /// What a worker's gate makes of its records: the records by key that it passes on. What it folds goes to owners.
    fn gate(&mut self, worker: usize, records: &[u32], passed: &mut [u32], work: &mut Work) -> Vec<Report> {
        let mut partials: HashMap<u64, u64, RandomState> = HashMap::default();
        let mut hot = HotKeys::new(self.spotting[worker], self.assignment.folded()).with(&self.worthwhile[worker]);
        for batch in records.chunks(BATCH) {
            hot.spot(batch, |key| self.routing[*key as usize]);
            for key in batch {
                let routing = self.routing[*key as usize];
                let is_folded = hot.take(routing);
                if is_folded {
                    *partials.entry(routing).or_default() += 1;
                }
                work.done[worker].folded += u64::from(is_folded);
                work.done[worker].passed += u64::from(!is_folded);
                passed[*key as usize] += u32::from(!is_folded);
            }
        }
        for key in hot.keys() {
            work.done[worker].begun += 1;
            work.done[self.assignment.owner_of(key)].merged += 1;
            let records = partials.remove(&key).unwrap_or_default();
            self.routing.binary_search(&key).iter().for_each(|key| work.counts[*key] += records);
        }
        self.worthwhile[worker] = hot.worthwhile();
        let report = |Folded { key, records }| Report::Folded { worker, key, records };
        hot.folded().into_iter().map(report).collect()
    }

    /// What the shards see of the records that come to them.
    fn apply(&mut self, passed: &[u32], work: &mut Work) -> Vec<Report> {
        let mut shards: BTreeMap<usize, Statistics> = BTreeMap::new();
        let counts = self.routing.iter().zip(passed).enumerate();
        for (key, (routing, records)) in counts.filter(|(_, (_, records))| **records > 0) {
            let shard = self.assignment.find(*routing);
            let owner = self.assignment.owner(shard);
            work.done[owner].applied += u64::from(*records);
            work.counts[key] += u64::from(*records);
            let statistics = shards.entry(shard).or_default();
            statistics.observe_run(*routing, VALUE, SIZE, u64::from(*records), &mut self.samplers[owner]);
        }
        let report = |(shard, statistics)| {
            let (range, worker) = (self.assignment.range(shard), self.assignment.owner(shard));
            let keys = self.keys(range);
            ShardEpoch { range, worker, keys, state_bytes: keys * KEY_BYTES, statistics }
        };
        vec![Report::Shards(shards.into_iter().map(report).collect())]
    }
}

impl Arm for Ours {
    fn epoch(&mut self, number: u64, records: &[u32]) -> Work {
        let workers = self.assignment.workers();
        let mut work = Work::new(workers, self.routing.len());
        self.cross(number, &mut work);
        let (mut passed, mut reports) = (vec![0; self.routing.len()], Vec::new());
        for (worker, records) in records.chunks(records.len().div_ceil(workers)).enumerate() {
            reports.extend(self.gate(worker, records, &mut passed, &mut work));
        }
        reports.extend(self.apply(&passed, &mut work));
        let reports = reports.into_iter().map(|report| (0, report)).collect();
        let decision = self.orchestrator.decide(number, reports, 1.0);
        let commands = decision.commands.into_iter().map(|addressed| addressed.command);
        self.commands.entry(number + self.lead).or_default().extend(commands);
        work
    }
}
