use super::{Late, Window};
use crate::error::Error;

/// Windows of one width, which begin at the multiples of a slide. What a tick is, the event times say.
///
/// They are computed over panes of one slide each: a record is folded into one pane, and a window merges the `width /
/// slide` panes it spans when it closes. The first windows reach back to before 0; they are clipped to begin there, so
/// that each tick lies in `width / slide` windows. Those that would end after `u64::MAX` are clipped too.
///
/// ```
/// use thalweg::windows::{Window, Windows};
///
/// let windows = Windows::sliding(10, 5)?;
/// assert!(windows.holding(12).eq([Window { start: 5, end: 15 }, Window { start: 10, end: 20 }]));
/// assert!(windows.holding(2).eq([Window { start: 0, end: 5 }, Window { start: 0, end: 10 }]));
/// # Ok::<_, thalweg::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Windows {
    width: u64,
    slide: u64,
    grace: u64,
}

impl Windows {
    /// Windows one after the other, of `width` ticks each. It must be at least 1.
    pub fn tumbling(width: u64) -> Result<Self, Error> {
        Windows::sliding(width, width)
    }

    /// Windows of `width` ticks, of which one begins every `slide` ticks. The slide must be at least 1 and divide the
    /// width.
    pub fn sliding(width: u64, slide: u64) -> Result<Self, Error> {
        if width == 0 {
            return Err(Error::usage("a window of 0 ticks holds nothing: give it a width of at least 1"));
        }
        if slide == 0 {
            return Err(Error::usage("windows that slide by 0 ticks never end: slide by at least 1, or by the width"));
        }
        if !width.is_multiple_of(slide) {
            let what =
                format!("windows of {width} ticks can't slide by {slide}: choose a slide that divides the width");
            return Err(Error::usage(what));
        }
        Ok(Windows { width, slide, grace: 0 })
    }

    /// Keeps each window open for so many ticks after its end; 0 without this.
    pub fn grace(self, ticks: u64) -> Self {
        Windows { grace: ticks, ..self }
    }

    /// The width, in ticks.
    pub fn width(&self) -> u64 {
        self.width
    }

    /// The ticks from the start of a window to that of the next.
    pub fn slide(&self) -> u64 {
        self.slide
    }

    /// The windows that hold an event time, in order.
    pub fn holding(&self, event_time: u64) -> impl Iterator<Item = Window> + use<> {
        let (windows, pane) = (*self, self.pane(event_time));
        (u128::from(pane)..=windows.last_over(pane)).map(move |window| windows.window(window))
    }

    /// The time at which a window closes: the first boundary at or after it gives the result.
    pub fn closes(&self, window: &Window) -> u64 {
        window.end.saturating_add(self.grace)
    }

    /// The event time under which a record counts whose epoch starts at `now`: its own if any window that holds it is
    /// still open, and then in those that are; else it is late. `None` if it counts nowhere.
    pub fn admit(&self, now: u64, event_time: u64, late: Late) -> Option<u64> {
        let open = self.first_open(now);
        if self.last_over(self.pane(event_time)) >= open {
            return Some(event_time);
        }
        // The first pane of a window is in no later one. At the end of time no window is open.
        (late == Late::Admit && now < u64::MAX).then(|| self.window(open).start)
    }

    /// The pane that holds an event time.
    pub(super) fn pane(&self, event_time: u64) -> u64 {
        event_time / self.slide
    }

    /// The last window over a pane. Windows are numbered by their last pane, which is the first number that fits:
    /// `u128` has place for those that reach beyond the end of time.
    pub(super) fn last_over(&self, pane: u64) -> u128 {
        u128::from(pane) + u128::from(self.width / self.slide - 1)
    }

    /// The first window that is still open at `now`.
    pub(super) fn first_open(&self, now: u64) -> u128 {
        if now == u64::MAX { u128::MAX } else { u128::from(now.saturating_sub(self.grace) / self.slide) }
    }

    /// The window with this number, of those over a pane.
    pub(super) fn window(&self, number: u128) -> Window {
        let clipped = |tick| u64::try_from(tick).unwrap_or(u64::MAX);
        let end = (number + 1) * u128::from(self.slide);
        Window { start: clipped(end.saturating_sub(self.width.into())), end: clipped(end) }
    }
}
