use std::collections::VecDeque;

use thalweg::Handover;

/// What goes back to a worker within so many epochs of leaving it has flapped: it would better have stayed.
pub const WITHIN: u64 = 10;

/// Watches out for state that goes to and fro.
#[derive(Debug, Default)]
pub struct Flaps {
    /// What was handed over lately, by boundary.
    recent: VecDeque<(u64, Vec<Handover>)>,
}

impl Flaps {
    /// Takes note of what is handed over at a boundary; how many of these go back.
    pub fn note(&mut self, boundary: u64, handovers: Vec<Handover>) -> usize {
        while self.recent.front().is_some_and(|(at, _)| at + WITHIN < boundary) {
            self.recent.pop_front();
        }
        let flaps = handovers.iter().filter(|handover| self.goes_back(handover)).count();
        if !handovers.is_empty() {
            self.recent.push_back((boundary, handovers));
        }
        flaps
    }

    fn goes_back(&self, handover: &Handover) -> bool {
        self.recent.iter().any(|(_, left)| {
            let first = left.partition_point(|before| before.range.last() < handover.range.start());
            let overlapping = left[first..].iter().take_while(|before| before.range.start() <= handover.range.last());
            overlapping.into_iter().any(|before| before.from == handover.to)
        })
    }
}
