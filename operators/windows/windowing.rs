use super::{Gap, Late, Panes, Sessions, Window, Windows};

/// A way to divide event time into windows: [`Windows`], or the [`Gap`] between sessions.
pub trait Windowing: Copy + 'static {
    /// What is kept of a key: [`Panes`] or [`Sessions`].
    type State<A>: Default;

    /// The event time under which a record counts whose epoch starts at `now`; `None` if it counts nowhere.
    fn admit(&self, now: u64, event_time: u64, late: Late) -> Option<u64>;

    /// What to fold a record into that was admitted at this event time.
    fn at<'a, A: Default>(
        &self,
        state: &'a mut Self::State<A>,
        now: u64,
        event_time: u64,
        merge: impl Fn(&mut A, A),
    ) -> &'a mut A;

    /// Adds what another has gathered.
    fn merge<A: Default>(&self, state: &mut Self::State<A>, other: Self::State<A>, merge: impl Fn(&mut A, A));

    /// Gives, in order, what closes at or before `now` and has not been given.
    fn close<A: Clone>(
        &self,
        state: &mut Self::State<A>,
        now: u64,
        merge: impl Fn(&mut A, A),
        give: impl FnMut(Window, A),
    );

    /// The earliest time at which anything will close; `None` if nothing is open.
    fn next_close<A>(&self, state: &Self::State<A>) -> Option<u64>;
}

impl Windowing for Windows {
    type State<A> = Panes<A>;

    fn admit(&self, now: u64, event_time: u64, late: Late) -> Option<u64> {
        Windows::admit(self, now, event_time, late)
    }

    #[inline]
    fn at<'a, A: Default>(
        &self,
        state: &'a mut Panes<A>,
        now: u64,
        event_time: u64,
        _merge: impl Fn(&mut A, A),
    ) -> &'a mut A {
        state.at(now, event_time, self)
    }

    fn merge<A: Default>(&self, state: &mut Panes<A>, other: Panes<A>, merge: impl Fn(&mut A, A)) {
        state.merge(other, merge);
    }

    fn close<A: Clone>(
        &self,
        state: &mut Panes<A>,
        now: u64,
        merge: impl Fn(&mut A, A),
        mut give: impl FnMut(Window, A),
    ) {
        state.close(now, self, merge).for_each(|(window, value)| give(window, value));
    }

    fn next_close<A>(&self, state: &Panes<A>) -> Option<u64> {
        state.next_close(self)
    }
}

impl Windowing for Gap {
    type State<A> = Sessions<A>;

    fn admit(&self, now: u64, event_time: u64, late: Late) -> Option<u64> {
        Gap::admit(self, now, event_time, late)
    }

    #[inline]
    fn at<'a, A: Default>(
        &self,
        state: &'a mut Sessions<A>,
        _now: u64,
        event_time: u64,
        merge: impl Fn(&mut A, A),
    ) -> &'a mut A {
        state.at(event_time, self, merge)
    }

    fn merge<A: Default>(&self, state: &mut Sessions<A>, other: Sessions<A>, merge: impl Fn(&mut A, A)) {
        state.merge(other, self, merge);
    }

    fn close<A: Clone>(
        &self,
        state: &mut Sessions<A>,
        now: u64,
        _merge: impl Fn(&mut A, A),
        mut give: impl FnMut(Window, A),
    ) {
        state.close(now, self).for_each(|(session, value)| give(session, value));
    }

    fn next_close<A>(&self, state: &Sessions<A>) -> Option<u64> {
        state.next_close(self)
    }
}
