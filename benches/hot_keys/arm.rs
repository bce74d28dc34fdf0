use super::units::Units;

/// What the workers did in an epoch.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// By worker.
    pub done: Vec<Done>,
}

/// What one worker did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Records applied to a state.
    pub applied: u64,
    /// Records folded where the source gave them.
    pub folded: u64,
    /// Records looked at by a gate that folds, and passed on.
    pub passed: u64,
    /// Partials begun, and sent to where they are merged.
    pub begun: u64,
    /// Partials taken in.
    pub merged: u64,
    /// Keys whose state came or went.
    pub moved: u64,
}

impl Work {
    pub fn new(workers: usize) -> Self {
        Work { done: vec![Done::default(); workers] }
    }

    /// The busiest worker's CPU time.
    pub fn makespan(&self, units: &Units) -> f64 {
        self.done.iter().map(|done| units.seconds(done)).fold(0.0, f64::max)
    }

    pub fn show(&self, number: u64, units: &Units) {
        let each = |d: &Done| [d.applied as f64*units.apply, d.folded as f64*units.fold, d.passed as f64*units.pass, d.begun as f64*units.begin, d.merged as f64*units.merge, d.moved as f64*units.r#move];
        let busiest = self.done.iter().max_by(|a, b| units.seconds(a).total_cmp(&units.seconds(b))).unwrap();
        let mean = self.total(units) / self.done.len() as f64;
        let pct = |x: [f64; 6]| x.map(|x| format!("{:6.2}", 100.0 * x / mean)).join(" ");
        let mut sum = [0.0; 6];
        for d in &self.done { each(d).iter().zip(&mut sum).for_each(|(a, b)| *b += a / self.done.len() as f64); }
        let max: [f64; 6] = std::array::from_fn(|i| self.done.iter().map(|d| each(d)[i]).fold(0.0, f64::max));
        println!("{number:3} applied/folded/passed/begun/merged/moved mean {} | busiest {} = {:.1} | max {}", pct(sum), pct(each(busiest)), 100.0 * units.seconds(busiest) / mean, pct(max));
    }

    /// The CPU time of all workers.
    pub fn total(&self, units: &Units) -> f64 {
        self.done.iter().map(|done| units.seconds(done)).sum()
    }

    /// All records that were applied or folded.
    pub fn records(&self) -> u64 {
        self.done.iter().map(|done| done.applied + done.folded).sum()
    }
}

/// Something that says which worker does what.
pub trait Arm {
    /// An epoch whose records come to the workers in parts of equal length, each in its order.
    fn epoch(&mut self, number: u64, records: &[u32]) -> Work;
}
