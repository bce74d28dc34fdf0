//! What each trigger would have cost on a trace.

use thalweg::Error;
use thalweg::checkpoint::{
    CheckpointConfig, CostModel, Costs, Hindsight, LOOK_AHEAD, Observation, Reason, Trigger, TriggerKind,
};
use thalweg::forecast::{Blend, Forecaster};

use super::setting::Setting;

/// What a rule would have done on a trace, and what that would have cost.
pub struct Outcome {
    pub rule: String,
    /// The epochs at whose start it takes a checkpoint.
    pub checkpoints: Vec<usize>,
    /// Why, where the rule says so.
    pub reasons: Vec<String>,
    pub cost: f64,
}

/// The rules under one cost model.
pub struct Compared {
    pub costs: Costs,
    pub hindsight: Hindsight,
    /// In the order of [`RULES`].
    pub outcomes: Vec<Outcome>,
}

/// A trace under each of the cost models.
pub type Comparison = Vec<Compared>;

/// The rules that are compared. All cost ratios are to the first.
pub const RULES: [&str; 5] = ["fixed", "literal", "integral", "foresight", "clairvoyant"];

/// Thresholds of the literal rule that are tried, and by which factor each is above the one before. The middle one is
/// what the best fixed interval exposes at the mean rate.
const THRESHOLDS: i32 = 49;
const THRESHOLD_FACTOR: f64 = 1.25;

/// Bytes of state that are restored; what counts is how long that takes.
const STATE_BYTES: u64 = 1 << 20;

/// Compares the rules on a trace with so many records in each epoch. Fails where the figures make no sense, so that a
/// trigger refuses them.
pub fn compare(records: &[f64], setting: &Setting) -> Result<Comparison, Error> {
    let seconds = setting.epoch_seconds;
    let begun = |model: CostModel| {
        let costs = setting.costs(records, model);
        let hindsight = Hindsight::new(records, seconds, &costs);
        let (interval, _) = hindsight.best_interval();
        let fixed: Vec<usize> = (0..records.len()).step_by(interval).skip(1).collect();
        let runs = runs(records, setting, &costs, interval)?;
        let outcomes = vec![Outcome::new(format!("every:{interval}"), fixed, Vec::new(), &hindsight)];
        Ok((Compared { costs, hindsight, outcomes }, runs))
    };
    let mut compared = CostModel::ALL.into_iter().map(begun).collect::<Result<Vec<_>, Error>>()?;
    let mut arrivals = Blend::new(LOOK_AHEAD);
    for (epoch, records) in records.iter().enumerate() {
        arrivals.observe(*records);
        let mut forecast = vec![0.0; if arrivals.skill(1).is_some() { LOOK_AHEAD } else { 0 }];
        arrivals.expect(&mut forecast);
        let epoch = epoch as u64;
        let observation = Observation { epoch, records: *records as u64, seconds, state_bytes: STATE_BYTES };
        for run in compared.iter_mut().flat_map(|(_, runs)| runs) {
            run.decide(&observation, &forecast, epoch.saturating_add(setting.lead));
        }
    }
    let finished = |(mut compared, runs): (Compared, Vec<Run>)| {
        let hindsight = &compared.hindsight;
        let outcomes = runs.into_iter().map(|run| run.finish(hindsight));
        let (mut literal, others): (Vec<_>, Vec<_>) = outcomes.partition(|outcome| outcome.rule.starts_with(RULES[1]));
        literal.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        compared.outcomes.extend(literal.into_iter().take(1).chain(others));
        let (optimum, _) = hindsight.optimum();
        compared.outcomes.push(Outcome::new(RULES[4].into(), optimum, Vec::new(), hindsight));
        compared
    };
    Ok(compared.into_iter().map(finished).collect())
}

/// The triggers to be run.
fn runs(records: &[f64], setting: &Setting, costs: &Costs, interval: usize) -> Result<Vec<Run>, Error> {
    let seconds = setting.epoch_seconds;
    let mean = records.iter().sum::<f64>() / records.len() as f64 / seconds;
    let exposed = mean * (costs.outage_seconds + mean * seconds * interval as f64 / costs.service_rate);
    let threshold = |step: i32| exposed * THRESHOLD_FACTOR.powi(step - THRESHOLDS / 2);
    let literal = (0..THRESHOLDS).map(|step| (TriggerKind::Literal, threshold(step)));
    let others = [TriggerKind::Integral, TriggerKind::Foresight].map(|kind| (kind, exposed));
    literal.chain(others).map(|(kind, threshold)| Run::new(kind, threshold, seconds, costs)).collect()
}

/// A trigger at work.
struct Run {
    rule: String,
    trigger: Trigger,
    epoch_seconds: f64,
    checkpoint_seconds: f64,
    checkpoints: Vec<usize>,
    reasons: Vec<Reason>,
}

impl Run {
    fn new(kind: TriggerKind, threshold: f64, epoch_seconds: f64, costs: &Costs) -> Result<Self, Error> {
        let config = CheckpointConfig {
            trigger: kind,
            cost_model: costs.model,
            checkpoint_threshold: threshold,
            mean_time_between_failures: 1.0 / costs.failure_rate,
            ..CheckpointConfig::default()
        };
        let mut trigger = Trigger::new(&config, 0)?;
        let speeds = trigger.speeds_mut();
        speeds.checkpoint_seconds = Some(costs.checkpoint_seconds);
        speeds.replay_records_per_second = Some(costs.service_rate);
        speeds.restored(STATE_BYTES, costs.outage_seconds);
        let rule = match kind {
            TriggerKind::Literal => format!("literal > {threshold:.4e}"),
            _ => kind.to_string(),
        };
        let checkpoint_seconds = costs.checkpoint_seconds;
        Ok(Run { rule, trigger, epoch_seconds, checkpoint_seconds, checkpoints: Vec::new(), reasons: Vec::new() })
    }

    fn decide(&mut self, observation: &Observation, forecast: &[f64], boundary: u64) {
        let over = (observation.epoch + 1) as f64 * self.epoch_seconds - self.checkpoint_seconds;
        if let Some(last) = self.checkpoints.last().filter(|last| **last as f64 * self.epoch_seconds <= over) {
            self.trigger.completed(*last as u64, self.checkpoint_seconds);
        }
        if let Some(reason) = self.trigger.decide(observation, forecast, boundary) {
            self.checkpoints.push(boundary as usize);
            self.reasons.push(reason);
        }
    }

    fn finish(self, hindsight: &Hindsight) -> Outcome {
        let reasons = self.reasons.iter().map(Reason::to_string).collect();
        Outcome::new(self.rule, self.checkpoints, reasons, hindsight)
    }
}

impl Outcome {
    fn new(rule: String, checkpoints: Vec<usize>, reasons: Vec<String>, hindsight: &Hindsight) -> Self {
        Outcome { rule, cost: hindsight.cost(checkpoints.iter().copied()), checkpoints, reasons }
    }
}
