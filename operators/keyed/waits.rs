//! What a keyed operator waits for. Pure.
//!
//! At a time `t` a worker acts in the order boundary, arrivals, timers and data. Progress tracking is the whole
//! protocol. In the table, "may come" is what an input's frontier says. State that is leaving any worker may arrive at any
//! other, so waiting for arrivals is waiting for departures too.
//!
//! | to act on              | wait until none of these may come, or is there                                        |
//! |------------------------|---------------------------------------------------------------------------------------|
//! | a boundary at `t`      | data before `t`; commands at or before `t`; arrivals before `t`, taken in or not        |
//! | … with a checkpoint    | besides: a snapshot in progress                                                        |
//! | data and timers at `t` | data before `t`; commands at or before `t`; a boundary at or before `t`               |
//! | … of one shard         | besides: parts of that shard still to come                                            |

use timely::order::TotalOrder;
use timely::progress::Timestamp;
use timely::progress::frontier::MutableAntichain;

/// The frontiers of the three inputs.
pub(super) struct Frontiers<'a, T: Timestamp> {
    pub data: &'a MutableAntichain<T>,
    pub control: &'a MutableAntichain<T>,
    pub arrivals: &'a MutableAntichain<T>,
}

impl<T: Timestamp> Clone for Frontiers<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Timestamp> Copy for Frontiers<'_, T> {}

/// What decides whether to wait: the frontiers, and what is going on inside.
pub(super) struct Waits<'a, T: Timestamp> {
    pub frontiers: Frontiers<'a, T>,
    /// The first time at which chunks, of other workers or of the store, are still to be taken in.
    pub arriving: Option<T>,
    /// A snapshot is in progress.
    pub saving: bool,
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
        let Frontiers { data, control, arrivals } = self.frontiers;
        match (boundary, epoch) {
            (Some((at, checkpoint)), epoch) if epoch.is_none_or(|epoch| at <= epoch) => {
                let complete = !data.less_than(at) && !control.less_equal(at) && !arrivals.less_than(at);
                let taken_in = self.arriving.as_ref().is_none_or(|arriving| arriving >= at);
                let ready = complete && taken_in && !(checkpoint && self.saving);
                ready.then(|| Step::Boundary(at.clone()))
            }
            (_, Some(at)) => {
                let ready = !data.less_than(at) && !control.less_equal(at);
                ready.then(|| Step::Epoch(at.clone()))
            }
            (None | Some(_), None) => None,
        }
    }

    /// Whether nothing can happen at `at` any more.
    pub fn is_over(&self, at: &T) -> bool {
        let Frontiers { data, control, arrivals } = self.frontiers;
        let may_come = [data, control, arrivals].iter().any(|frontier| frontier.less_equal(at));
        !may_come && self.arriving.as_ref().is_none_or(|arriving| arriving > at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What holds in a test: the frontiers of data, control and arrivals, and what is going on inside.
    #[derive(Clone, Copy)]
    struct Case {
        data: u64,
        control: u64,
        arrivals: u64,
        arriving: Option<u64>,
        saving: bool,
    }

    /// All is there for a boundary and an epoch at 5, and nothing more than that.
    const READY: Case = Case { data: 5, control: 6, arrivals: 5, arriving: None, saving: false };

    impl Case {
        fn with<R>(self, ask: impl FnOnce(Waits<'_, u64>) -> R) -> R {
            let [data, control, arrivals] = [self.data, self.control, self.arrivals].map(MutableAntichain::from_elem);
            let frontiers = Frontiers { data: &data, control: &control, arrivals: &arrivals };
            ask(Waits { frontiers, arriving: self.arriving, saving: self.saving })
        }

        fn boundary(self, checkpoint: bool) -> bool {
            self.with(|waits| waits.next(Some((&5, checkpoint)), Some(&7)) == Some(Step::Boundary(5)))
        }

        fn epoch(self) -> bool {
            self.with(|waits| waits.next(Some((&7, false)), Some(&5)) == Some(Step::Epoch(5)))
        }
    }

    #[test]
    fn a_boundary_waits_for_all_data_before_it() {
        assert!(READY.boundary(true) && !Case { data: 4, ..READY }.boundary(false));
    }

    #[test]
    fn a_boundary_waits_for_all_commands_up_to_it() {
        assert!(!Case { control: 5, ..READY }.boundary(false));
    }

    #[test]
    fn a_boundary_waits_for_all_arrivals_before_it() {
        assert!(!Case { arrivals: 4, ..READY }.boundary(false));
    }

    #[test]
    fn a_boundary_waits_until_what_has_come_before_it_is_taken_in() {
        assert!(!Case { arriving: Some(4), ..READY }.boundary(false));
        assert!(Case { arriving: Some(5), ..READY }.boundary(false));
    }

    #[test]
    fn a_checkpoint_waits_for_the_one_before_it_and_other_commands_do_not() {
        let saving = Case { saving: true, ..READY };
        assert!(!saving.boundary(true) && saving.boundary(false));
    }

    #[test]
    fn an_epoch_waits_for_all_data_before_it() {
        assert!(READY.epoch() && !Case { data: 4, ..READY }.epoch());
    }

    #[test]
    fn an_epoch_waits_for_all_commands_up_to_it() {
        assert!(!Case { control: 5, ..READY }.epoch());
    }

    #[test]
    fn an_epoch_waits_for_a_boundary_at_or_before_it_and_for_that_alone() {
        let waiting = Case { arrivals: 4, ..READY };
        assert!(waiting.epoch());
        assert!(waiting.with(|waits| waits.next(Some((&5, false)), Some(&5)).is_none()));
        assert!(READY.with(|waits| waits.next(Some((&5, false)), Some(&5)) == Some(Step::Boundary(5))));
    }

    #[test]
    fn an_epoch_is_over_when_nothing_can_come_at_it() {
        let over = Case { data: 6, control: 6, arrivals: 6, ..READY };
        let is_over = |case: Case| case.with(|waits| waits.is_over(&5));
        assert!(is_over(over));
        assert!(!is_over(Case { data: 5, ..over }));
        assert!(!is_over(Case { control: 5, ..over }));
        assert!(!is_over(Case { arrivals: 5, ..over }));
        assert!(!is_over(Case { arriving: Some(5), ..over }));
        assert!(is_over(Case { arriving: Some(6), ..over }));
    }
}
