//! What a keyed operator waits for. Pure.
//!
//! At a time `t` a worker acts in the order boundary, arrivals, timers and data. Progress tracking is the whole
//! protocol. In the table, "may come" is what an input's frontier says.
//!
//! | to act on              | wait until none of these may come, or is there                                        |
//! |------------------------|---------------------------------------------------------------------------------------|
//! | a boundary at `t`      | data before `t`; commands at or before `t`; arrivals before `t`; states being restored |
//! | … with a checkpoint    | besides: a snapshot in progress; state on its way to another worker                   |
//! | data and timers at `t` | data before `t`; commands at or before `t`; a boundary at or before `t`               |
//! | … of one shard         | besides: parts of that shard still to come                                            |

use timely::order::TotalOrder;
use timely::progress::Timestamp;
use timely::progress::frontier::MutableAntichain;

/// The frontiers of the three inputs, and what is going on inside.
pub(super) struct Waits<'a, T: Timestamp> {
    pub data: &'a MutableAntichain<T>,
    pub control: &'a MutableAntichain<T>,
    pub arrivals: &'a MutableAntichain<T>,
    pub restoring: bool,
    /// No snapshot in progress, and no state on its way to another worker.
    pub settled: bool,
}

/// What to act on next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<T> {
    Boundary(T),
    Epoch(T),
}

impl<T: Timestamp + TotalOrder> Waits<'_, T> {
    /// The next step, given the first boundary (and whether it has a checkpoint) and the first epoch with something to do.
    pub fn next(&self, boundary: Option<(&T, bool)>, epoch: Option<&T>) -> Option<Step<T>> {
        match (boundary, epoch) {
            (Some((at, checkpoint)), epoch) if epoch.is_none_or(|epoch| at <= epoch) => {
                let complete = !self.data.less_than(at) && !self.control.less_equal(at) && !self.arrivals.less_than(at);
                let ready = complete && !self.restoring && (self.settled || !checkpoint);
                ready.then(|| Step::Boundary(at.clone()))
            }
            (_, Some(at)) => {
                let ready = !self.data.less_than(at) && !self.control.less_equal(at);
                ready.then(|| Step::Epoch(at.clone()))
            }
            (None | Some(_), None) => None,
        }
    }

    /// Whether nothing can happen at `at` any more.
    pub fn is_over(&self, at: &T) -> bool {
        let come = [self.data, self.control, self.arrivals].iter().any(|frontier| frontier.less_equal(at));
        !come && !self.restoring
    }
}
