use thalweg::policy::Policy;
use thalweg::{Assignment, Config, Error};

use super::arm::{Arm, Crossing, Loads};
use super::figures::{Figures, max_mean};
use super::flaps::Flaps;
use super::holdings::Holdings;
use super::packed::{Packed, Sight};
use super::routed::Routed;
use super::trace::Epoch;

/// What all arms have in common.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many workers there are.
    pub workers: usize,
    /// Shards at the start, lead, profiles, and when a policy acts.
    pub config: Config,
    /// Whether hot keys can be folded.
    pub can_fold: bool,
    /// Bytes of state per key that has had a record.
    pub bytes_per_key: u64,
    /// The ratio of the busiest worker's load to the mean over which an epoch counts as out of balance.
    pub target: f64,
    /// Epochs at the start that are left out of the figures.
    pub warm_up: u64,
}

impl Setup {
    /// The assignment at the start.
    pub fn initial(&self) -> Result<Assignment, Error> {
        self.config.initial(self.workers)
    }
}

/// One or more arms on the same epochs. The first is always the assignment of the start, which never changes.
pub struct Simulation {
    setup: Setup,
    holdings: Holdings,
    runs: Vec<Run>,
    epochs: u64,
}

/// An arm and what it has come to.
struct Run {
    arm: Box<dyn Arm>,
    figures: Figures,
    flaps: Flaps,
}

/// What one arm made of one epoch.
#[derive(Debug)]
pub struct Line<'a> {
    /// The arm's name.
    pub arm: &'a str,
    /// The busiest worker's load over the mean.
    pub max_mean: f64,
    /// What changed at the boundary before it.
    pub crossing: Crossing,
    /// Bytes of state that moved at that boundary.
    pub moved_bytes: u64,
    /// What workers carried.
    pub loads: Loads,
}

impl Simulation {
    /// Begins, with the static arm, over these routing keys, which are ascending.
    pub fn new(keys: Vec<u64>, setup: Setup) -> Result<Self, Error> {
        setup.config.validate()?;
        let fixed = Routed::fixed(setup.initial()?);
        let mut simulation = Simulation { setup, holdings: Holdings::new(keys), runs: Vec::new(), epochs: 0 };
        simulation.add("static", fixed);
        Ok(simulation)
    }

    /// Adds an arm in which a policy decides.
    pub fn policy(&mut self, name: &str, policy: Box<dyn Policy>) -> Result<(), Error> {
        let arm = Routed::by(policy, &self.setup)?;
        self.add(name, arm);
        Ok(())
    }

    /// Adds an arm that packs keys by counts that it knows.
    pub fn packed(&mut self, name: &str, sight: Sight) -> Result<(), Error> {
        let fold_share = self.setup.can_fold.then_some(self.setup.config.policy.fold_share);
        let arm = Packed::new(sight, fold_share, self.holdings.keys(), &self.setup.initial()?);
        self.add(name, arm);
        Ok(())
    }

    fn add(&mut self, name: &str, arm: impl Arm + 'static) {
        let figures = Figures { name: name.to_owned(), ..Figures::default() };
        self.runs.push(Run { arm: Box::new(arm), figures, flaps: Flaps::default() });
    }

    /// Lets all arms have an epoch, and shows what each made of it. One without records is as none.
    pub fn epoch(&mut self, epoch: &Epoch, mut show: impl FnMut(Line<'_>)) {
        if epoch.records() == 0 {
            return;
        }
        let crossings: Vec<Crossing> = self.runs.iter_mut().map(|run| run.arm.cross(epoch, &self.holdings)).collect();
        let bytes = |crossing: &Crossing| -> u64 {
            let keys: u64 = crossing.handovers.iter().map(|handover| self.holdings.within(handover.range)).sum();
            keys * self.setup.bytes_per_key
        };
        let moved: Vec<u64> = crossings.iter().map(bytes).collect();
        self.holdings.take_in(epoch);
        let counts = self.epochs >= self.setup.warm_up;
        self.epochs += 1;
        let mut fixed = None;
        for ((run, crossing), moved_bytes) in self.runs.iter_mut().zip(crossings).zip(moved) {
            let loads = run.arm.route(epoch, &self.holdings);
            let max_mean = max_mean(&loads.by_worker, loads.by_worker.len());
            let fixed = *fixed.get_or_insert(max_mean);
            let flaps = run.flaps.note(epoch.number, crossing.handovers.clone());
            let figures = &mut run.figures;
            if counts {
                figures.ratios.push(max_mean);
                figures.over_target += usize::from(max_mean > self.setup.target);
                figures.worse_by_2 += usize::from(max_mean > fixed * 1.02);
                figures.worse_by_5 += usize::from(max_mean > fixed * 1.05);
                figures.moved_bytes += moved_bytes;
                figures.plans += usize::from(!crossing.handovers.is_empty());
                figures.moves += crossing.handovers.len();
                figures.flaps += flaps;
                figures.workers_in_use += loads.in_use as u64;
                figures.count(&crossing.commands);
            }
            show(Line { arm: &figures.name, max_mean, crossing, moved_bytes, loads });
        }
    }

    /// What the arms have come to, in the order in which they were added.
    pub fn figures(&self) -> impl Iterator<Item = &Figures> {
        self.runs.iter().map(|run| &run.figures)
    }
}
