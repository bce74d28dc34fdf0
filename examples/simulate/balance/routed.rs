use std::collections::BTreeMap;

use thalweg::keyed::Report;
use thalweg::orchestrate::{Orchestrator, Space};
use thalweg::policy::Policy;
use thalweg::profile::{Sampler, ShardEpoch, Statistics};
use thalweg::{Assignment, Command, Config, Error};

use super::arm::{Arm, Crossing, Dealer, Loads};
use super::holdings::Holdings;
use super::simulation::Setup;
use super::trace::Epoch;

/// Records have no value of their own; what a policy looks at does not depend on it, nor on their size.
const VALUE: f64 = 1.0;
const SIZE: usize = 64;

/// Records go where an assignment says, which a policy changes: the orchestrator is fed as the operators of a dataflow
/// feed it that ends in `fold_epochs`, and its commands take effect at their boundaries.
pub struct Routed {
    assignment: Assignment,
    orchestrator: Option<Orchestrator>,
    /// By boundary.
    commands: BTreeMap<u64, Vec<Command>>,
    samplers: Vec<Sampler>,
    dealer: Dealer,
    lead: u64,
    bytes_per_key: u64,
    /// The last epoch with records.
    last: Option<u64>,
    owners: usize,
}

impl Routed {
    /// Nothing decides, and the assignment stays.
    pub fn fixed(assignment: Assignment) -> Self {
        Routed {
            owners: owners(&assignment),
            assignment,
            orchestrator: None,
            commands: BTreeMap::new(),
            samplers: Vec::new(),
            dealer: Dealer::default(),
            lead: 0,
            bytes_per_key: 0,
            last: None,
        }
    }

    /// A policy decides.
    pub fn by(mut policy: Box<dyn Policy>, setup: &Setup) -> Result<Self, Error> {
        let Config { lead, profile, .. } = &setup.config;
        let assignment = setup.initial()?;
        let known = policy.known(&assignment, 0)?;
        let workers = assignment.workers() as u64;
        let space = Space {
            name: String::new(),
            initial: assignment.clone(),
            policy,
            known: known.clone(),
            can_fold: setup.can_fold,
        };
        Ok(Routed {
            orchestrator: Some(Orchestrator::new(vec![space], vec![0], *lead, profile.window)),
            commands: known,
            samplers: (0..workers).map(|worker| Sampler::new(profile.sample, worker)).collect(),
            lead: *lead,
            bytes_per_key: setup.bytes_per_key,
            ..Routed::fixed(assignment)
        })
    }

    /// Tells the orchestrator of an epoch; what it had expected.
    fn decide(&mut self, epoch: u64, mut reports: Vec<Report>, holdings: &Holdings) -> Option<f64> {
        let orchestrator = self.orchestrator.as_mut()?;
        let keys = holdings.total();
        reports.push(Report::Holds { worker: 0, keys, bytes: keys * self.bytes_per_key });
        let decision = orchestrator.decide(epoch, reports.into_iter().map(|report| (0, report)).collect(), 1.0);
        let commands = decision.commands.into_iter().map(|addressed| addressed.command);
        self.commands.entry(epoch.saturating_add(self.lead)).or_default().extend(commands);
        decision.events.first().and_then(|event| event.forecast)
    }

    /// Whether anybody looks at what shards have seen.
    fn is_watched(&self) -> bool {
        self.orchestrator.is_some()
    }
}

impl Arm for Routed {
    fn cross(&mut self, epoch: &Epoch, holdings: &Holdings) -> Crossing {
        // The timers of the last epoch's keys fire in the one after it, which is told of even if it has no records.
        if let Some(quiet) = self.last.and_then(|last| last.checked_add(1)).filter(|next| *next < epoch.number) {
            self.decide(quiet, Vec::new(), holdings);
        }
        let later = self.commands.split_off(&epoch.number.saturating_add(1));
        let commands: Vec<Command> = std::mem::replace(&mut self.commands, later).into_values().flatten().collect();
        if commands.is_empty() {
            return Crossing::default();
        }
        let applied = self.assignment.apply_valid(commands);
        let handovers = self.assignment.handovers(&applied.assignment);
        self.assignment = applied.assignment;
        self.owners = owners(&self.assignment);
        Crossing { commands: applied.accepted, handovers }
    }

    fn route(&mut self, epoch: &Epoch, holdings: &Holdings) -> Loads {
        let workers = self.assignment.workers();
        let mut by_worker = vec![0; workers];
        let mut reports = Vec::new();
        let mut open: Option<(usize, Statistics)> = None;
        for &(index, records) in &epoch.counts {
            let key = holdings.key(index);
            if self.assignment.is_folded(key) {
                for (worker, records) in self.dealer.deal(records.into(), workers).enumerate() {
                    by_worker[worker] += records;
                    if records > 0 && self.is_watched() {
                        reports.push(Report::Folded { worker, key, records });
                    }
                }
                continue;
            }
            let shard = self.assignment.find(key);
            let owner = self.assignment.owner(shard);
            by_worker[owner] += u64::from(records);
            if !self.is_watched() {
                continue;
            }
            if open.as_ref().is_none_or(|(at, _)| *at != shard) {
                reports.extend(open.replace((shard, Statistics::default())).map(|seen| self.report(seen, holdings)));
            }
            if let Some((_, statistics)) = &mut open {
                for _ in 0..records {
                    statistics.observe(key, VALUE, SIZE, &mut self.samplers[owner]);
                }
            }
        }
        reports.extend(open.map(|seen| self.report(seen, holdings)));
        let forecast = self.decide(epoch.number, reports, holdings);
        self.last = Some(epoch.number);
        let in_use = if self.owners == workers { workers } else { self.in_use(&by_worker) };
        Loads { by_worker, in_use, forecast }
    }
}

impl Routed {
    fn report(&self, (shard, statistics): (usize, Statistics), holdings: &Holdings) -> Report {
        let (range, worker) = (self.assignment.range(shard), self.assignment.owner(shard));
        let keys = holdings.within(range);
        Report::Shard(ShardEpoch { range, worker, keys, state_bytes: keys * self.bytes_per_key, statistics })
    }

    fn in_use(&self, by_worker: &[u64]) -> usize {
        let mut used: Vec<bool> = by_worker.iter().map(|load| *load > 0).collect();
        self.assignment.iter().for_each(|(_, owner)| used[owner] = true);
        used.into_iter().filter(|used| *used).count()
    }
}

/// How many workers own a shard.
fn owners(assignment: &Assignment) -> usize {
    let mut owns = vec![false; assignment.workers()];
    assignment.iter().for_each(|(_, owner)| owns[owner] = true);
    owns.into_iter().filter(|owns| *owns).count()
}
