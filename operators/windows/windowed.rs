use std::marker::PhantomData;

use columnar::Columnar;
use serde::{Deserialize, Serialize};

use super::{Late, Window, Windowing};

/// Folds the records of a key by window: what an aggregate by epochs does with its partials and its state.
///
/// What it is called with are ticks: `now` is the start of the record's epoch when folding, and the boundary in
/// [`on_epoch`](Windowed::on_epoch).
#[derive(Clone, Debug)]
pub struct Windowed<W, D, A, E, F, M> {
    windowing: W,
    late: Late,
    event_time: E,
    fold: F,
    merge: M,
    types: PhantomData<fn(D) -> A>,
}

/// What is kept of a key between epochs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Columnar)]
pub struct Timed<S> {
    /// What is still open.
    pub open: S,
    /// The time of the timer last asked for; 0 if there was none.
    timer: u64,
}

/// What is to become of a key after a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Nothing is open: its state need not be kept.
    Forget,
    /// Set a timer for the first boundary at or after this time; not inside an epoch, where a window would close
    /// without the records that the epoch has gathered so far.
    Wake(u64),
    /// A timer that was asked for before comes early enough.
    Wait,
}

impl<W, D, A, E, F, M> Windowed<W, D, A, E, F, M>
where
    W: Windowing,
    A: Clone + Default,
    E: Fn(&D) -> u64,
    F: Fn(D, &mut A),
    M: Fn(&mut A, A),
{
    /// Folds records by their event time, in ticks; `merge` is associative and commutative.
    pub fn new(windowing: W, late: Late, event_time: E, fold: F, merge: M) -> Self {
        Windowed { windowing, late, event_time, fold, merge, types: PhantomData }
    }

    /// Folds a record, whose epoch starts at `now`, into what the epoch has gathered of its key.
    #[inline]
    pub fn fold(&self, now: u64, record: D, partial: &mut W::State<A>) {
        let event_time = (self.event_time)(&record);
        if let Some(event_time) = self.windowing.admit(now, event_time, self.late) {
            (self.fold)(record, self.windowing.at(partial, now, event_time, &self.merge));
        }
    }

    /// Adds to what an epoch has gathered what was gathered of it elsewhere.
    pub fn merge(&self, partial: &mut W::State<A>, other: W::State<A>) {
        self.windowing.merge(partial, other, &self.merge);
    }

    /// At the boundary `now`, takes in what the epoch before it has gathered, or the default, and gives what closes.
    ///
    /// A key needs no call at a boundary for which there is neither a partial nor a timer. It has one call at a
    /// boundary for both: what closes there closes with the records of the epoch before.
    pub fn on_epoch(
        &self,
        now: u64,
        partial: W::State<A>,
        state: &mut Timed<W::State<A>>,
        give: impl FnMut(Window, A),
    ) -> Next {
        self.windowing.merge(&mut state.open, partial, &self.merge);
        self.windowing.close(&mut state.open, now, &self.merge, give);
        // A session that grows puts off its close with each epoch: one timer at a time is enough, and does not pile up.
        match self.windowing.next_close(&state.open) {
            None => Next::Forget,
            Some(close) if now < state.timer && state.timer <= close => Next::Wait,
            Some(close) => {
                state.timer = close;
                Next::Wake(close)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Gap, Sessions};
    use super::*;

    fn add(sum: &mut u64, other: u64) {
        *sum += other;
    }

    #[test]
    fn a_growing_session_has_one_timer() {
        let count = Windowed::new(Gap::of(10).unwrap(), Late::Drop, |at: &u64| *at, |_, sum: &mut u64| *sum += 1, add);
        let mut state = Timed::default();
        let mut step = |now: u64, records: &[u64]| {
            let (mut partial, mut given) = (Sessions::default(), Vec::new());
            records.iter().for_each(|record| count.fold(now - 1, *record, &mut partial));
            (count.on_epoch(now, partial, &mut state, |session, sum| given.push((session, sum))), given)
        };
        assert_eq!(step(1, &[0]), (Next::Wake(10), vec![]));
        assert_eq!(step(5, &[4]), (Next::Wait, vec![]));
        assert_eq!(step(8, &[7]), (Next::Wait, vec![]));
        assert_eq!(step(10, &[]), (Next::Wake(17), vec![]));
        assert_eq!(step(17, &[]), (Next::Forget, vec![(Window { start: 0, end: 17 }, 3)]));
    }

    #[test]
    fn an_earlier_session_brings_the_timer_forward() {
        let count = Windowed::new(Gap::of(10).unwrap(), Late::Drop, |at: &u64| *at, |_, sum: &mut u64| *sum += 1, add);
        let mut state = Timed::default();
        let (mut future, mut present) = (Sessions::default(), Sessions::default());
        count.fold(0, 50, &mut future);
        count.fold(1, 1, &mut present);
        assert_eq!(count.on_epoch(1, future, &mut state, |_, _| ()), Next::Wake(60));
        assert_eq!(count.on_epoch(2, present, &mut state, |_, _| ()), Next::Wake(11));
    }
}
