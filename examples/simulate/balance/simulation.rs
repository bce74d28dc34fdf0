use thalweg::policy::Policy;
use thalweg::{Assignment, Config, Error};

use super::arm::{Arm, Crossing, Loads};
use super::figures::Figures;
use super::flaps::Flaps;
use super::holdings::Holdings;
use super::packed::{Packed, Sight};
use super::routed::Routed;
use super::trace::Epoch;
use super::workers::Workers;

/// What all arms have in common.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// How many workers there are.
    pub workers: usize,
    /// Shards at the start, lead, profiles, and when a policy acts.
    pub config: Config,
    /// Whether hot keys can be folded.
    pub can_fold: bool,
    /// Bytes of state per key that has had a record.
    pub bytes_per_key: u64,
    /// Epochs at the start that are left out of the figures.
    pub warm_up: u64,
}

impl Setup {
    /// Refuses what can't be simulated, and says why.
    pub fn validate(&self) -> Result<(), String> {
        let Setup { workers, config, .. } = self;
        config.validate().map_err(|error| error.to_string())?;
        config.policy.validate_for(*workers).map_err(|error| error.to_string())?;
        if config.shards < *workers {
            return Err(format!(
                "{} shards are too few for {workers} workers, some of which would have nothing to do: give each at \
                 least one, and better eight, with --shards {}",
                config.shards,
                8 * workers
            ));
        }
        self.initial().map(drop).map_err(|error| error.to_string())
    }

    /// The assignment at the start.
    pub fn initial(&self) -> Result<Assignment, Error> {
        self.config.initial(self.workers)
    }

    /// Whether workers can be put out of use.
    pub fn can_rest(&self) -> bool {
        self.config.policy.min_workers.is_some_and(|least| least < self.workers)
    }
}

/// One or more arms on the same epochs.
pub struct Simulation {
    setup: Setup,
    workers: Workers,
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
    /// The busiest worker's load over the mean of those in use, for what they can do.
    pub max_mean: f64,
    /// What changed at the boundary before it.
    pub crossing: Crossing,
    /// Bytes of state that moved at that boundary.
    pub moved_bytes: u64,
    /// What workers carried.
    pub loads: Loads,
}

impl Simulation {
    /// Begins over these routing keys, which are ascending and each there once.
    pub fn new(keys: Vec<u64>, setup: Setup) -> Result<Self, Error> {
        setup.config.validate()?;
        setup.config.policy.validate_for(setup.workers)?;
        let workers = Workers::new(setup.workers, &setup.config.policy);
        Ok(Simulation { setup, workers, holdings: Holdings::new(keys), runs: Vec::new(), epochs: 0 })
    }

    /// Adds the arm whose assignment never changes.
    pub fn fixed(&mut self, name: &str) -> Result<(), Error> {
        let arm = Routed::fixed(self.setup.initial()?);
        self.add(name, arm);
        Ok(())
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
        let (initial, capacities) = (self.setup.initial()?, self.workers.capacities());
        let arm = Packed::new(sight, fold_share, self.holdings.keys(), &initial, capacities);
        self.add(name, arm);
        Ok(())
    }

    fn add(&mut self, name: &str, arm: impl Arm + 'static) {
        let figures = Figures { name: name.to_owned(), ..Figures::default() };
        self.runs.push(Run { arm: Box::new(arm), figures, flaps: Flaps::default() });
    }

    /// Lets all arms have an epoch, and shows what each made of it. One without records is as none.
    pub fn epoch(&mut self, epoch: &Epoch, mut show: impl FnMut(Line<'_>)) {
        if epoch.counts.is_empty() {
            return;
        }
        let crossings: Vec<Crossing> = self.runs.iter_mut().map(|run| run.arm.cross(epoch, &self.holdings)).collect();
        let moved: Vec<u64> = crossings.iter().map(|crossing| self.moved_bytes(crossing)).collect();
        self.holdings.take_in(epoch);
        let counts = self.epochs >= self.setup.warm_up;
        self.epochs += 1;
        for ((run, crossing), moved_bytes) in self.runs.iter_mut().zip(crossings).zip(moved) {
            let loads = run.arm.route(epoch, &self.holdings);
            let max_mean = self.workers.max_mean(&loads);
            let line = Line { arm: "", max_mean, crossing, moved_bytes, loads };
            let flaps = run.flaps.note(epoch.number, line.crossing.handovers.clone());
            if counts {
                run.note(&line, flaps, &self.workers);
            }
            show(Line { arm: &run.figures.name, ..line });
        }
    }

    /// What the arms have come to, in the order in which they were added.
    pub fn figures(&self) -> impl Iterator<Item = &Figures> {
        self.runs.iter().map(|run| &run.figures)
    }

    fn moved_bytes(&self, crossing: &Crossing) -> u64 {
        let keys: u64 = crossing.handovers.iter().map(|handover| self.holdings.within(handover.range)).sum();
        keys.saturating_mul(self.setup.bytes_per_key)
    }
}

impl Run {
    fn note(&mut self, line: &Line<'_>, flaps: usize, workers: &Workers) {
        let Line { max_mean, crossing, moved_bytes, loads, .. } = line;
        let figures = &mut self.figures;
        figures.ratios.push(*max_mean);
        figures.moved_bytes = figures.moved_bytes.saturating_add(*moved_bytes);
        figures.plans += usize::from(!crossing.handovers.is_empty());
        figures.moves += crossing.handovers.len();
        figures.flaps += flaps;
        figures.count(&crossing.commands);
        figures.workers_in_use += loads.in_use.iter().filter(|used| **used).count();
        figures.capacity_in_use += workers.in_use(&loads.in_use);
        figures.capacity_needed += workers.needed(loads.by_worker.iter().sum());
        figures.over_capacity += usize::from(workers.is_over(&loads.by_worker));
    }
}
