use super::Reason;
use super::calibration::Calibration;
use super::exposure::Exposure;
use super::paper::Paper;
use super::plan::Plan;
use super::sane;
use crate::checkpoint::cost::Costs;

/// The rule that looks ahead, and what it has learnt.
///
/// Forecasts are corrected by what came of earlier ones. On those, a [`Plan`] says whether a checkpoint at the next
/// boundary costs less than at any later one. Beside it the integral rule decides, both on paper; the plan
/// is followed once plans would have cost less. So a forecast is trusted when it has been worth something: its skill in
/// records would not tell, as a cycle that repeats itself exactly leaves none over repeating it, and is worth most.
#[derive(Clone, Debug)]
pub(super) struct Foresight {
    calibration: Calibration,
    epochs: u64,
    /// Means over epochs: records, and seconds.
    records: f64,
    seconds: f64,
    planned: Paper,
    integral: Paper,
}

/// What a boundary has to be decided on.
pub(super) struct Outlook<'a> {
    pub costs: &'a Costs,
    /// Seconds that an epoch takes.
    pub seconds: f64,
    /// Records forecast for each of the next epochs.
    pub path: Vec<f64>,
    /// The arrival rate now.
    pub rate: f64,
    /// How many epochs will be over before the boundary, and which that is.
    pub late: usize,
    pub boundary: u64,
}

/// Plans are followed if they were cheaper by more than this part: less is chance. With intervals of 200 epochs, to
/// follow the integral rule only if that was cheaper by as much costs 4 % more under `delay`; with 30, it saves 0.5 %
/// at most.
const MARGIN: f64 = 0.02;

/// Both rules start with the costs of so many intervals, so that the first few checkpoints don't decide.
const INTERVALS: f64 = 3.0;

/// A mean is over so many epochs, once there are as many.
const MEAN_EPOCHS: u64 = 10_000;

impl Foresight {
    /// From a checkpoint at this boundary on.
    pub fn from(boundary: u64) -> Self {
        let paper = Paper::from(boundary);
        Foresight {
            calibration: Calibration::default(),
            epochs: 0,
            records: 0.0,
            seconds: 0.0,
            planned: paper.clone(),
            integral: paper,
        }
    }

    /// Learns from an epoch.
    pub fn observe(&mut self, epoch: u64, records: f64, seconds: f64, costs: &Costs) {
        self.calibration.observe(records);
        self.epochs = MEAN_EPOCHS.min(self.epochs + 1);
        self.records += (records - self.records) / self.epochs as f64;
        self.seconds += (seconds - self.seconds) / self.epochs as f64;
        for paper in [&mut self.planned, &mut self.integral] {
            paper.observe(epoch, records, seconds, costs);
        }
    }

    /// Whether a checkpoint is due with this exposure, if one is possible at all.
    pub fn is_due(&mut self, exposure: Option<&Exposure>, mut outlook: Outlook<'_>) -> Option<Reason> {
        self.calibration.correct(&mut outlook.path);
        // Without a clock nothing costs anything.
        if outlook.seconds <= 0.0 {
            outlook.path.clear();
        }
        outlook.path.iter_mut().for_each(|records| *records = sane(*records / outlook.seconds));
        let Outlook { costs, seconds, ref path, rate, late, boundary } = outlook;
        let plan = Plan::new(costs, seconds, path, self.mean(), late);
        let integral = |exposure: &Exposure| exposure.is_due(rate, costs);
        let planned = |exposure: &Exposure| {
            let Some(advice) = plan.advise(exposure.records, late) else { return integral(exposure) };
            let (model, cost, seconds) = (costs.model, advice.cost, exposure.seconds);
            (advice.waiting >= 0.0).then_some(Reason::Foresight { model, cost, waiting: advice.waiting, seconds })
        };
        let ready = |exposure: &Exposure| exposure.boundary < boundary && exposure.records > 0.0;
        if ready(self.planned.exposure()) && planned(self.planned.exposure()).is_some() {
            self.planned.take(boundary);
        }
        if ready(self.integral.exposure()) && integral(self.integral.exposure()).is_some() {
            self.integral.take(boundary);
        }
        if self.trusts_plans(costs) { planned(exposure?) } else { integral(exposure?) }
    }

    /// The mean arrival rate, in records per second.
    fn mean(&self) -> f64 {
        sane(self.records / self.seconds)
    }

    fn trusts_plans(&self, costs: &Costs) -> bool {
        // Of the cost of an interval, the checkpoint is half.
        let start = INTERVALS * 2.0 * costs.at(self.mean()).checkpoint;
        start + self.planned.cost() <= (1.0 - MARGIN) * (start + self.integral.cost())
    }
}
