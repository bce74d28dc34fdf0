use std::collections::BTreeMap;

use thalweg::keyed::Report;
use thalweg::orchestrate::{Orchestrator, Space};
use thalweg::policy::Policy;
use thalweg::profile::{Sampler, ShardEpoch, Statistics};
use thalweg::{Assignment, Command, Error};

use super::arm::{Arm, Crossing, Dealer, Loads};
use super::holdings::Holdings;
use super::simulation::Setup;
use super::trace::Epoch;

/// Records have no value of their own; what a policy looks at does not depend on it, nor on their size.
const VALUE: f64 = 1.0;
const SIZE: usize = 64;

/// Records go where an assignment says, which a policy changes: the orchestrator is fed as the operators of a dataflow
/// feed it that ends in `fold_epochs`, and its commands take effect at their boundaries.
///
/// Where workers can be put out of use, those are in use that own a shard. Records of folded keys are dealt to all:
/// they stay where a source puts them.
pub struct Routed {
    assignment: Assignment,
    can_rest: bool,
    workers: Vec<usize>,
    dealer: Dealer,
    mind: Option<Mind>,
    /// By boundary.
    commands: BTreeMap<u64, Vec<Command>>,
    /// The last epoch with records.
    last: Option<u64>,
}

/// What decides.
struct Mind {
    orchestrator: Orchestrator,
    lead: u64,
    bytes_per_key: u64,
    /// By worker.
    samplers: Vec<Sampler>,
}

impl Routed {
    /// Nothing decides, and the assignment stays.
    pub fn fixed(assignment: Assignment) -> Self {
        let workers = (0..assignment.workers()).collect();
        let (commands, dealer) = (BTreeMap::new(), Dealer::default());
        Routed { assignment, can_rest: false, workers, dealer, mind: None, commands, last: None }
    }

    /// A policy decides.
    pub fn by(mut policy: Box<dyn Policy>, setup: &Setup) -> Result<Self, Error> {
        let (initial, lead, profile) = (setup.initial()?, setup.config.lead, &setup.config.profile);
        let known = policy.known(&initial, 0)?;
        let assignment = initial.clone();
        let space = Space { name: String::new(), initial, policy, known: known.clone(), can_fold: setup.can_fold };
        let mind = Mind {
            orchestrator: Orchestrator::new(vec![space], vec![0], lead, profile.window),
            lead,
            bytes_per_key: setup.bytes_per_key,
            samplers: (0..setup.workers as u64).map(|worker| Sampler::new(profile.sample, worker)).collect(),
        };
        let can_rest = setup.can_rest();
        Ok(Routed { mind: Some(mind), commands: known, can_rest, ..Routed::fixed(assignment) })
    }

    /// Tells of an epoch, and takes the commands; what had been expected of it.
    fn decide(&mut self, epoch: u64, reports: Vec<Report>, holdings: &Holdings) -> Option<f64> {
        let mind = self.mind.as_mut()?;
        let keys = holdings.total();
        let bytes = keys.saturating_mul(mind.bytes_per_key);
        let holds = Report::Holds { worker: 0, keys, bytes, unsaved_bytes: 0 };
        let reports = reports.into_iter().chain([holds]).map(|report| (0, report)).collect();
        let decision = mind.orchestrator.decide(epoch, reports, 1.0);
        let commands = decision.commands.into_iter().map(|addressed| addressed.command);
        self.commands.entry(epoch.saturating_add(mind.lead)).or_default().extend(commands);
        decision.events.first().and_then(|event| event.forecast)
    }

    /// Which workers are in use.
    fn in_use(&self) -> Vec<bool> {
        let mut in_use = vec![!self.can_rest; self.workers.len()];
        if self.can_rest {
            self.assignment.iter().for_each(|(_, owner)| in_use[owner] = true);
        }
        in_use
    }

    /// Deals the records of a folded key.
    fn fold(&mut self, key: u64, records: u32, by_worker: &mut [u64], reports: &mut Vec<Report>) {
        for (worker, records) in self.dealer.deal(records, &self.workers).filter(|(_, records)| *records > 0) {
            by_worker[worker] += records;
            reports.extend(self.mind.as_ref().map(|_| Report::Folded { worker, key: Some(key), records }));
        }
    }

    /// What is told of a shard.
    fn report(&self, seen: Option<(usize, Statistics)>, holdings: &Holdings) -> Option<ShardEpoch> {
        let ((shard, statistics), mind) = seen.zip(self.mind.as_ref())?;
        let (range, worker) = (self.assignment.range(shard), self.assignment.owner(shard));
        let keys = holdings.within(range);
        let state_bytes = keys.saturating_mul(mind.bytes_per_key);
        Some(ShardEpoch { range, worker, keys, state_bytes, statistics })
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
        Crossing { commands: applied.accepted, handovers }
    }

    fn route(&mut self, epoch: &Epoch, holdings: &Holdings) -> Loads {
        let mut by_worker = vec![0; self.workers.len()];
        let in_use = self.in_use();
        let (mut reports, mut shards) = (Vec::new(), Vec::new());
        // Keys are ascending, so that those of a shard come one after the other.
        let mut seen: Option<(usize, Statistics)> = None;
        for &(index, records) in &epoch.counts {
            let key = holdings.key(index);
            if self.assignment.is_folded(key) {
                self.fold(key, records, &mut by_worker, &mut reports);
                continue;
            }
            let shard = self.assignment.find(key);
            let owner = self.assignment.owner(shard);
            by_worker[owner] += u64::from(records);
            if seen.as_ref().is_none_or(|(of, _)| *of != shard) {
                let before = seen.replace((shard, Statistics::default()));
                shards.extend(self.report(before, holdings));
            }
            if let (Some((_, statistics)), Some(mind)) = (&mut seen, &mut self.mind) {
                statistics.observe_run(key, VALUE, SIZE, records.into(), &mut mind.samplers[owner]);
            }
        }
        shards.extend(self.report(seen, holdings));
        reports.push(Report::Shards(shards));
        let forecast = self.decide(epoch.number, reports, holdings);
        self.last = Some(epoch.number);
        Loads { by_worker, in_use, forecast }
    }
}
