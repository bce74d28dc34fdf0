//! What a keyed operator waits for. Pure.
//!
//! At a time `t` a worker acts in the order boundary, arrivals, timers and data. Boundaries are at the starts `e` of
//! epochs. Progress tracking is the whole protocol. In the table, "may come" is what an input's frontier says. State
//! that is leaving any worker may arrive at any other, so waiting for arrivals is waiting for departures too.
//!
//! | to act on                             | wait until none of these may come, or is there to be acted on           |
//! |---------------------------------------|-------------------------------------------------------------------------|
//! | a boundary at `e`                     | data and timers before `e`; commands at or before `e`; arrivals before `e`, taken in or not |
//! | …                                     | besides: keys that have left to be let go of here                       |
//! | … with a checkpoint                   | besides: a snapshot in progress                                         |
//! | data and timers at `t` of the epoch `e` | data before `t`; commands at or before `e`; a boundary at or before `e` |
//! | …                                     | besides: more of a snapshot in progress than the store's backlog has room for |
//! | … of one shard                        | besides: parts of that shard still to come                              |
//! | a boundary, data and timers of another epoch than the current one | besides: shards to be told of, of the epoch that was the current one before |
//! | copying ahead what leaves at the first boundary, at `e` | commands at or before `e`; state that is leaving or coming here |
//!
//! What is copied ahead is sent at the boundary's time, and taken in by whoever copies ahead for that boundary. Before
//! a checkpoint nothing is copied: its keys are saved by those who have them at the boundary.

use timely::progress::Timestamp;
use timely::progress::frontier::MutableAntichain;

use crate::epoch::{Epochs, Ticks};

/// The frontiers of the inputs.
pub(super) struct Frontiers<'a, T: Timestamp> {
    /// Of each data input.
    pub data: &'a [MutableAntichain<T>],
    pub control: &'a MutableAntichain<T>,
    pub arrivals: &'a MutableAntichain<T>,
}

impl<T: Timestamp> Clone for Frontiers<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Timestamp> Copy for Frontiers<'_, T> {}

impl<T: Timestamp> Frontiers<'_, T> {
    /// Whether all data before `time` has come.
    fn is_complete_before(&self, time: &T) -> bool {
        self.data.iter().all(|frontier| !frontier.less_than(time))
    }

    /// Whether all data at and before `time` has come.
    fn is_complete_through(&self, time: &T) -> bool {
        self.data.iter().all(|frontier| !frontier.less_equal(time))
    }
}

/// What decides whether to wait: the frontiers, and what is going on inside.
pub(super) struct Waits<'a, T: Timestamp> {
    pub frontiers: Frontiers<'a, T>,
    pub epochs: Epochs,
    /// The first time at which chunks, of other workers or of the store, are still to be taken in.
    pub arriving: Option<T>,
    /// Keys whose boundary has been crossed are still to be sent, or to be let go of here.
    pub leaving: bool,
    /// A snapshot is in progress.
    pub saving: bool,
    /// There is no room for more of it on the way to the store.
    pub store_is_full: bool,
    /// The last time of the current epoch, while no other may begin: not all has been told of the last one that was.
    pub kept_open: Option<T>,
}

/// What to act on next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The first boundary.
    Boundary,
    /// The timers and the data of the first time that has any.
    Data,
}

impl<T: Ticks> Waits<'_, T> {
    /// The next step, given the first boundary (and whether it has a checkpoint) and the first time with data or
    /// timers.
    pub fn next(&self, boundary: Option<(&T, bool)>, data: Option<&T>) -> Option<Step> {
        let Frontiers { control, arrivals, .. } = self.frontiers;
        match (boundary, data) {
            (Some((at, checkpoint)), data) if data.is_none_or(|data| at <= data) => {
                let all_data = self.frontiers.is_complete_before(at);
                let complete = all_data && !control.less_equal(at) && !arrivals.less_than(at);
                let taken_in = self.arriving.as_ref().is_none_or(|arriving| arriving >= at);
                let must_end_first = self.leaving || checkpoint && self.saving || self.kept_open.is_some();
                let ready = complete && taken_in && !must_end_first;
                ready.then_some(Step::Boundary)
            }
            (_, Some(at)) => {
                let (start, last) = self.epochs.around(at);
                let complete = self.frontiers.is_complete_before(at) && !control.less_equal(&start);
                let may_begin = self.kept_open.as_ref().is_none_or(|current| *current == last);
                let ready = complete && may_begin && !(self.saving && self.store_is_full);
                ready.then_some(Step::Data)
            }
            (None | Some(_), None) => None,
        }
    }

    /// Whether what leaves at the first boundary, which has a checkpoint or not, can be copied ahead.
    pub fn may_copy_ahead(&self, at: &T, checkpoint: bool, settled: bool) -> bool {
        settled && !checkpoint && !self.frontiers.control.less_equal(at)
    }

    /// Whether nothing more can come for the epoch that ends with `last`. Commands and arrivals come at its start.
    pub fn is_over(&self, last: &T) -> bool {
        let Frontiers { control, arrivals, .. } = self.frontiers;
        let (start, _) = self.epochs.around(last);
        let complete =
            self.frontiers.is_complete_through(last) && !control.less_equal(&start) && !arrivals.less_equal(&start);
        // A key that has been sent and not let go of would be counted by two workers.
        complete && !self.leaving && self.arriving.as_ref().is_none_or(|arriving| *arriving > start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What holds in a test, with epochs of ten ticks: the frontiers of two data inputs, control and arrivals, and what
    /// is going on inside.
    #[derive(Clone, Copy)]
    struct Case {
        data: [u64; 2],
        control: u64,
        arrivals: u64,
        arriving: Option<u64>,
        leaving: bool,
        saving: bool,
        store_is_full: bool,
        kept_open: Option<u64>,
    }

    /// All is there for a boundary at 50, and nothing more than that.
    const BOUNDARY: Case = Case {
        data: [50, 50],
        control: 51,
        arrivals: 50,
        arriving: None,
        leaving: false,
        saving: false,
        store_is_full: false,
        kept_open: None,
    };

    /// All is there for data at 55, and nothing more than that.
    const DATA: Case = Case { data: [55, 55], ..BOUNDARY };

    impl Case {
        fn with<R>(self, ask: impl FnOnce(Waits<'_, u64>) -> R) -> R {
            let data = self.data.map(MutableAntichain::from_elem);
            let [control, arrivals] = [self.control, self.arrivals].map(MutableAntichain::from_elem);
            let frontiers = Frontiers { data: &data, control: &control, arrivals: &arrivals };
            let epochs = Epochs::of(10).unwrap();
            let Case { arriving, leaving, saving, store_is_full, kept_open, .. } = self;
            ask(Waits { frontiers, epochs, arriving, leaving, saving, store_is_full, kept_open })
        }

        fn boundary(self, checkpoint: bool) -> bool {
            self.with(|waits| waits.next(Some((&50, checkpoint)), Some(&57)) == Some(Step::Boundary))
        }

        fn data(self) -> bool {
            self.with(|waits| waits.next(Some((&60, false)), Some(&55)) == Some(Step::Data))
        }
    }

    #[test]
    fn a_boundary_waits_for_all_data_before_it() {
        assert!(BOUNDARY.boundary(true));
        assert!(!Case { data: [49, 50], ..BOUNDARY }.boundary(false));
        assert!(!Case { data: [50, 49], ..BOUNDARY }.boundary(false));
    }

    #[test]
    fn a_boundary_waits_for_all_commands_up_to_it() {
        assert!(!Case { control: 50, ..BOUNDARY }.boundary(false));
    }

    #[test]
    fn a_boundary_waits_for_all_arrivals_before_it() {
        assert!(!Case { arrivals: 49, ..BOUNDARY }.boundary(false));
    }

    #[test]
    fn a_boundary_waits_until_what_has_come_before_it_is_taken_in() {
        assert!(!Case { arriving: Some(49), ..BOUNDARY }.boundary(false));
        assert!(Case { arriving: Some(50), ..BOUNDARY }.boundary(false));
    }

    #[test]
    fn a_boundary_waits_until_what_has_left_is_let_go_of() {
        assert!(!Case { leaving: true, ..BOUNDARY }.boundary(false));
        assert!(Case { leaving: true, ..DATA }.data());
    }

    #[test]
    fn a_checkpoint_waits_for_the_one_before_it_and_other_commands_do_not() {
        let saving = Case { saving: true, ..BOUNDARY };
        assert!(!saving.boundary(true) && saving.boundary(false));
    }

    #[test]
    fn data_waits_for_all_data_before_it() {
        assert!(DATA.data());
        assert!(!Case { data: [54, 55], ..DATA }.data());
        assert!(!Case { data: [55, 54], ..DATA }.data());
    }

    #[test]
    fn data_waits_for_all_commands_up_to_the_start_of_its_epoch_and_for_no_later_ones() {
        assert!(!Case { control: 50, ..DATA }.data());
        assert!(Case { control: 51, ..DATA }.data());
    }

    #[test]
    fn data_waits_for_a_boundary_at_or_before_it_and_for_that_alone() {
        let waiting = Case { arrivals: 49, ..DATA };
        assert!(waiting.data());
        assert!(waiting.with(|waits| waits.next(Some((&50, false)), Some(&55)).is_none()));
        assert!(DATA.with(|waits| waits.next(Some((&50, false)), Some(&50)) == Some(Step::Boundary)));
    }

    #[test]
    fn data_waits_while_a_snapshot_is_more_than_the_store_can_take() {
        let saving = Case { saving: true, ..DATA };
        assert!(saving.data() && Case { store_is_full: true, ..DATA }.data());
        assert!(!Case { store_is_full: true, ..saving }.data());
    }

    #[test]
    fn another_epoch_waits_until_all_is_told_of_the_last_one_that_was_current() {
        assert!(!Case { kept_open: Some(49), ..BOUNDARY }.boundary(false));
        assert!(!Case { kept_open: Some(49), ..DATA }.data());
        assert!(Case { kept_open: Some(59), ..DATA }.data());
    }

    #[test]
    fn copying_ahead_waits_for_all_commands_and_for_what_moves_and_is_not_done_for_a_checkpoint() {
        let may = |case: Case, checkpoint, settled| case.with(|waits| waits.may_copy_ahead(&50, checkpoint, settled));
        let early = Case { data: [40, 45], arrivals: 40, ..BOUNDARY };
        assert!(may(early, false, true));
        assert!(!may(early, true, true) && !may(early, false, false));
        assert!(!may(Case { control: 50, ..early }, false, true));
    }

    #[test]
    fn an_epoch_is_over_when_nothing_can_come_for_it() {
        let over = Case { data: [60, 60], control: 51, arrivals: 51, ..BOUNDARY };
        let is_over = |case: Case| case.with(|waits| waits.is_over(&59));
        assert!(is_over(over));
        assert!(!is_over(Case { data: [59, 60], ..over }));
        assert!(!is_over(Case { data: [60, 59], ..over }));
        assert!(!is_over(Case { control: 50, ..over }));
        assert!(!is_over(Case { arrivals: 50, ..over }));
        assert!(!is_over(Case { arriving: Some(50), ..over }));
        assert!(is_over(Case { arriving: Some(60), ..over }));
        assert!(!is_over(Case { leaving: true, ..over }));
    }
}
