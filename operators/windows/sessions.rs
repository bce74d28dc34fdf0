use std::mem::take;

use columnar::Columnar;
use serde::{Deserialize, Serialize};

use super::{Late, Window};
use crate::error::Error;

/// What parts one session from the next: so many ticks without a record.
///
/// Two records whose event times differ by less than the gap are of one session; at a difference of just the gap,
/// they are of two. A session is the window from its first record to the gap after its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gap {
    ticks: u64,
    grace: u64,
}

impl Gap {
    /// A gap of so many ticks, at least 1.
    pub fn of(ticks: u64) -> Result<Self, Error> {
        if ticks == 0 {
            return Err(Error::usage("a gap of 0 ticks joins no two records: give a gap of at least 1"));
        }
        Ok(Gap { ticks, grace: 0 })
    }

    /// Keeps each session open for so many ticks after the gap; 0 without this.
    pub fn grace(self, ticks: u64) -> Self {
        Gap { grace: ticks, ..self }
    }

    /// The gap, in ticks.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// The time at which a session closes: the first boundary at or after it gives the result.
    pub fn closes(&self, session: &Window) -> u64 {
        session.end.saturating_add(self.grace)
    }

    /// The event time under which a record counts whose epoch starts at `now`: its own, unless a session of it alone
    /// would have closed; then it is late. `None` if it counts nowhere.
    pub fn admit(&self, now: u64, event_time: u64, late: Late) -> Option<u64> {
        if self.closes(&self.session(event_time, event_time)) > now {
            return Some(event_time);
        }
        (late == Late::Admit).then_some(now)
    }

    fn session(&self, first: u64, last: u64) -> Window {
        Window { start: first, end: last.saturating_add(self.ticks) }
    }

    /// Whether a session with this last record is over when one of this event time comes.
    fn parts(&self, last: u64, event_time: u64) -> bool {
        event_time.checked_sub(last).is_some_and(|distance| distance >= self.ticks)
    }
}

/// The sessions of one key, of one epoch or of all. The default is the identity of [`merge`](Sessions::merge).
///
/// A session is given once, and forgotten. A record that comes after that, but is not late by itself, begins a new one.
///
/// ```
/// use thalweg::windows::{Gap, Sessions, Window};
///
/// let (gap, add) = (Gap::of(10)?, |sum: &mut u64, other| *sum += other);
/// let mut sessions = Sessions::default();
/// for event_time in [3, 20, 12] {
///     *sessions.at(event_time, &gap, add) += 1;
/// }
/// assert_eq!(sessions.next_close(&gap), Some(30));
/// assert!(sessions.close(30, &gap).eq([(Window { start: 3, end: 30 }, 3)]));
/// # Ok::<_, thalweg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Columnar)]
pub struct Sessions<A> {
    /// The event times of the first and of the last record, and what was gathered; ascending, a gap apart or more.
    sessions: Vec<(u64, u64, A)>,
}

impl<A> Default for Sessions<A> {
    fn default() -> Self {
        Sessions { sessions: Vec::new() }
    }
}

impl<A> Sessions<A> {
    /// Whether there is no session, so that the state need not be kept.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The earliest time at which a session will close, if no record comes; `None` without any.
    pub fn next_close(&self, gap: &Gap) -> Option<u64> {
        self.sessions.first().map(|(first, last, _)| gap.closes(&gap.session(*first, *last)))
    }

    /// Closes the sessions whose last record lies the gap and the grace before `now`, or longer, and gives them in
    /// order.
    #[must_use = "the sessions that are not taken are lost"]
    pub fn close(&mut self, now: u64, gap: &Gap) -> impl Iterator<Item = (Window, A)> + use<'_, A> {
        let gap = *gap;
        let due = self.sessions.partition_point(|(first, last, _)| gap.closes(&gap.session(*first, *last)) <= now);
        self.sessions.drain(..due).map(move |(first, last, value)| (gap.session(first, last), value))
    }
}

impl<A: Default> Sessions<A> {
    /// What the session of an event time has gathered, to fold a record into: a new one, or all that it joins together.
    /// The event time is one that [`Gap::admit`] gave.
    pub fn at(&mut self, event_time: u64, gap: &Gap, merge: impl Fn(&mut A, A)) -> &mut A {
        let position = self.sessions.partition_point(|(_, last, _)| gap.parts(*last, event_time));
        match self.sessions.get_mut(position) {
            Some((first, last, _)) if !gap.parts(event_time, *first) => {
                (*first, *last) = ((*first).min(event_time), (*last).max(event_time));
                self.join_next(position, gap, merge);
            }
            _ => self.sessions.insert(position, (event_time, event_time, A::default())),
        }
        &mut self.sessions[position].2
    }

    /// Joins a session that has become longer with the next one, if the gap between them is closed.
    fn join_next(&mut self, position: usize, gap: &Gap, merge: impl Fn(&mut A, A)) {
        let (_, reached, _) = self.sessions[position];
        if self.sessions.get(position + 1).is_some_and(|(first, ..)| !gap.parts(reached, *first)) {
            let (_, last, value) = self.sessions.remove(position + 1);
            self.sessions[position].1 = last;
            merge(&mut self.sessions[position].2, value);
        }
    }

    /// Adds the sessions of another, and joins those that come to lie less than the gap apart. Associative and
    /// commutative if `merge` is.
    pub fn merge(&mut self, other: Self, gap: &Gap, merge: impl Fn(&mut A, A)) {
        self.sessions.extend(other.sessions);
        self.sessions.sort_by_key(|(first, ..)| *first);
        self.sessions.dedup_by(|next, session| {
            let joined = !gap.parts(session.1, next.0);
            if joined {
                session.1 = session.1.max(next.1);
                merge(&mut session.2, take(&mut next.2));
            }
            joined
        });
    }
}
