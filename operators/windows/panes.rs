use std::collections::VecDeque;
use std::iter::from_fn;
use std::mem::take;

use columnar::Columnar;
use serde::{Deserialize, Serialize};

use super::{Window, Windows};

/// What the panes of [`Windows`] have gathered: of one key, in one epoch or in all. The default is the identity of
/// [`merge`](Panes::merge).
///
/// Each window is given once, by the first [`close`](Panes::close) at or after its end and grace, with all that was
/// merged by then. For this the state remembers up to where windows have been closed; what is folded in an epoch knows
/// it too, as `now`, so that a key without state needs none to tell which windows are past.
///
/// ```
/// use thalweg::windows::{Panes, Window, Windows};
///
/// let (windows, add) = (Windows::sliding(10, 5)?, |sum: &mut u64, other| *sum += other);
/// let (mut state, mut partial) = (Panes::default(), Panes::default());
/// *partial.at(0, 7, &windows) += 1;
/// state.merge(partial, add);
/// assert_eq!(state.next_close(&windows), Some(10));
/// assert!(state.close(10, &windows, add).eq([(Window { start: 0, end: 10 }, 1)]));
/// assert!(state.close(90, &windows, add).eq([(Window { start: 5, end: 15 }, 1)]));
/// assert!(state.is_empty());
/// # Ok::<_, thalweg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Columnar)]
pub struct Panes<A> {
    /// The windows that close at or before this tick are past.
    closed: u64,
    /// By number of the pane, ascending.
    panes: Vec<(u64, A)>,
}

impl<A> Default for Panes<A> {
    fn default() -> Self {
        Panes { closed: 0, panes: Vec::new() }
    }
}

impl<A> Panes<A> {
    /// Whether there is nothing that a later window could hold, so that the state need not be kept.
    pub fn is_empty(&self) -> bool {
        self.panes.is_empty()
    }

    /// The earliest time at which a window will close; `None` without any.
    pub fn next_close(&self, windows: &Windows) -> Option<u64> {
        let open = windows.first_open(self.closed);
        let (pane, _) = self.panes.iter().find(|(pane, _)| windows.last_over(*pane) >= open)?;
        Some(windows.closes(&windows.window(open.max((*pane).into()))))
    }

    /// Closes the windows that end, grace included, at or before `now`, and gives those with a record, in order.
    /// Panes that no later window needs are dropped. Takes time in proportion to the panes, and to the panes of the
    /// windows given, however far these are apart.
    #[must_use = "the windows that are not taken are lost"]
    pub fn close<M>(&mut self, now: u64, windows: &Windows, merge: M) -> impl Iterator<Item = (Window, A)> + use<A, M>
    where
        A: Clone,
        M: Fn(&mut A, A),
    {
        let mut window = windows.first_open(self.closed);
        let end = windows.first_open(now).max(window);
        self.closed = self.closed.max(now);
        let (windows, mut panes) = (*windows, self.take_before(end, end > window, windows));
        from_fn(move || {
            while panes.front().is_some_and(|(pane, _)| windows.last_over(*pane) < window) {
                panes.pop_front();
            }
            window = window.max(panes.front()?.0.into());
            if window >= end {
                return None;
            }
            let value = merge_window(&mut panes, window, &windows, &merge)?;
            window += 1;
            Some((windows.window(window - 1), value))
        })
    }

    /// The panes that windows before `end` span: out of the state if no other needs them, else copies, if `shared`.
    fn take_before(&mut self, end: u128, shared: bool, windows: &Windows) -> VecDeque<(u64, A)>
    where
        A: Clone,
    {
        let expired = self.panes.partition_point(|(pane, _)| windows.last_over(*pane) < end);
        let needed = if shared { self.panes.partition_point(|(pane, _)| u128::from(*pane) < end) } else { expired };
        let shared = self.panes[expired..needed].to_vec();
        self.panes.drain(..expired).chain(shared).collect()
    }
}

impl<A: Default> Panes<A> {
    /// What the pane of an event time has gathered, to fold a record into whose epoch starts at `now`. The event time
    /// is one that [`Windows::admit`] gave: at any other, the record counts nowhere.
    pub fn at(&mut self, now: u64, event_time: u64, windows: &Windows) -> &mut A {
        self.closed = self.closed.max(now);
        let pane = windows.pane(event_time);
        let position = self.panes.binary_search_by_key(&pane, |(pane, _)| *pane).unwrap_or_else(|position| {
            self.panes.insert(position, (pane, A::default()));
            position
        });
        &mut self.panes[position].1
    }

    /// Adds what another has gathered. Associative and commutative if `merge` is.
    ///
    /// Windows that close at or before the `now` of the other's records are past from then on: close them first.
    pub fn merge(&mut self, other: Self, merge: impl Fn(&mut A, A)) {
        self.closed = self.closed.max(other.closed);
        self.panes.extend(other.panes);
        self.panes.sort_by_key(|(pane, _)| *pane);
        self.panes.dedup_by(|next, pane| {
            let same = next.0 == pane.0;
            if same {
                merge(&mut pane.1, take(&mut next.1));
            }
            same
        });
    }
}

/// The panes of a window together, of which the first is taken if no later window needs it; the rest are copied.
fn merge_window<A: Clone>(
    panes: &mut VecDeque<(u64, A)>,
    window: u128,
    windows: &Windows,
    merge: impl Fn(&mut A, A),
) -> Option<A> {
    let (first, value) = panes.front()?;
    let last_use = windows.last_over(*first) == window;
    let (mut value, used) = if last_use { (panes.pop_front()?.1, 0) } else { (value.clone(), 1) };
    for (_, pane) in panes.iter().skip(used).take_while(|(pane, _)| u128::from(*pane) <= window) {
        merge(&mut value, pane.clone());
    }
    Some(value)
}
