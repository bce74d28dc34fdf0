//! Windowed folds against their definition: records at random event times and in random epochs, divided among
//! partials that are merged in random order, as an operator calls them: where there is a partial or a timer is due.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// Records, by their numbers, that a window was given with at a boundary.
type Given = Vec<(u64, Window, BTreeSet<usize>)>;

#[derive(Clone, Debug)]
struct Record {
    number: usize,
    epoch: usize,
    event_time: u64,
    partial: usize,
}

#[derive(Clone, Debug)]
struct Run {
    /// Starts of the epochs, ascending; the last one is the end of time, at which all is closed.
    boundaries: Vec<u64>,
    records: Vec<Record>,
    /// In which order partials are merged.
    order: Vec<Index>,
}

impl Run {
    fn of_epoch(&self, epoch: usize) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.epoch == epoch)
    }

    /// Folds, merges and closes, as the keyed operator does.
    fn given<W: Windowing>(&self, windowing: W, late: Late) -> Given {
        let fold = |record: Record, all: &mut BTreeSet<usize>| assert!(all.insert(record.number));
        let merge = |all: &mut BTreeSet<usize>, other: BTreeSet<usize>| {
            assert!(all.is_disjoint(&other));
            all.extend(other);
        };
        let windowed = Windowed::new(windowing, late, |record: &Record| record.event_time, fold, merge);
        let (mut state, mut timers, mut given) = (None, BTreeSet::new(), Given::new());
        for (epoch, now) in self.boundaries.iter().copied().enumerate().skip(1) {
            let mut partials: BTreeMap<usize, W::State<BTreeSet<usize>>> = BTreeMap::new();
            for record in self.of_epoch(epoch - 1) {
                let partial = partials.entry(record.partial).or_default();
                windowed.fold(self.boundaries[epoch - 1], record.clone(), partial);
            }
            let mut partials: Vec<_> = partials.into_values().collect();
            for index in &self.order {
                if partials.len() > 1 {
                    let taken = partials.swap_remove(index.index(partials.len()));
                    let into = index.index(partials.len());
                    windowed.merge(&mut partials[into], taken);
                }
            }
            let due: Vec<u64> = timers.range(..=now).copied().collect();
            if partials.is_empty() && due.is_empty() {
                continue;
            }
            due.iter().for_each(|timer| assert!(timers.remove(timer)));
            let partial = partials.pop().unwrap_or_default();
            let kept = state.get_or_insert_with(Timed::default);
            match windowed.on_epoch(now, partial, kept, |window, all| given.push((now, window, all))) {
                Next::Forget => state = None,
                Next::Wake(time) => {
                    assert!(now < time);
                    timers.insert(time);
                }
                Next::Wait => assert!(timers.range(now..).next().is_some()),
            }
        }
        assert!(state.is_none_or(|kept| windowing.next_close(&kept.open).is_none()));
        given
    }

    /// Each record counted in each of its windows that is open when its epoch begins; with tiny widths, by trying.
    fn windows_by_definition(&self, windows: &Windows, grace: u64, late: Late) -> Given {
        let closes = |window: &Window| window.end.saturating_add(grace);
        let mut given: BTreeMap<(u64, Window), BTreeSet<usize>> = BTreeMap::new();
        for record in &self.records {
            let now = self.boundaries[record.epoch];
            let mut open: Vec<Window> = holding(windows, record.event_time).filter(|w| closes(w) > now).collect();
            if open.is_empty() && late == Late::Admit {
                open.extend(holding(windows, now.saturating_sub(grace)).find(|window| closes(window) > now));
            }
            for window in open {
                let boundary = self.boundaries.iter().find(|boundary| **boundary >= closes(&window));
                given.entry((*boundary.unwrap(), window)).or_default().insert(record.number);
            }
        }
        given.into_iter().map(|((boundary, window), all)| (boundary, window, all)).collect()
    }

    /// The records of the sessions that are still open, partitioned anew at each boundary.
    fn sessions_by_definition(&self, ticks: u64, grace: u64, late: Late) -> Given {
        let closes = |last: u64| last.saturating_add(ticks).saturating_add(grace);
        let (mut open, mut given) = (Vec::<(u64, usize)>::new(), Given::new());
        for epoch in 1..self.boundaries.len() {
            let (start, now) = (self.boundaries[epoch - 1], self.boundaries[epoch]);
            for record in self.of_epoch(epoch - 1) {
                match late {
                    _ if closes(record.event_time) > start => open.push((record.event_time, record.number)),
                    Late::Admit => open.push((start, record.number)),
                    Late::Drop => (),
                }
            }
            open.sort_unstable();
            let sessions = open.chunk_by(|left, right| right.0 - left.0 < ticks).map(<[_]>::to_vec).collect::<Vec<_>>();
            open.clear();
            for session in sessions {
                let (first, last) = (session[0].0, session[session.len() - 1].0);
                if closes(last) <= now {
                    let window = Window { start: first, end: last.saturating_add(ticks) };
                    given.push((now, window, session.iter().map(|record| record.1).collect()));
                } else {
                    open.extend(session);
                }
            }
        }
        given
    }
}

/// The windows that hold an event time, in order, by trying those around it.
fn holding(windows: &Windows, event_time: u64) -> impl Iterator<Item = Window> + use<> {
    let (width, slide) = (i128::from(windows.width()), i128::from(windows.slide()));
    let tick = i128::from(event_time);
    let starts = (tick / slide - width..=tick / slide + width).map(move |number| number * slide);
    let clip = |tick: i128| tick.clamp(0, u64::MAX.into()) as u64;
    (starts.filter(move |start| (*start..start + width).contains(&tick)))
        .map(move |start| Window { start: clip(start), end: clip(start + width) })
}

/// In order of boundary, and then of window, as they must come.
fn sorted(given: &Given) -> Given {
    let mut sorted = given.clone();
    sorted.sort_by_key(|(boundary, window, _)| (*boundary, window.end, window.start));
    sorted
}

prop_compose! {
    /// Epochs of all lengths, from 0, from anywhere or up to the end of time, with records around their starts.
    fn runs()(
        origin in prop_oneof![Just(0), 0..1u64 << 40, u64::MAX - 400..u64::MAX - 100],
        lengths in prop::collection::vec(prop_oneof![8 => 1..12u64, 1 => 100..1_000u64, 1 => 1..1u64 << 50], 1..25),
        records in prop::collection::vec((any::<Index>(), -40..40i64, 0..4usize), 0..60),
        order in prop::collection::vec(any::<Index>(), 3),
    ) -> Run {
        let ends = lengths.iter().scan(origin, |end, length| {
            *end = end.saturating_add(*length);
            Some(*end)
        });
        let mut boundaries: Vec<u64> = std::iter::once(origin).chain(ends).chain([u64::MAX]).collect();
        boundaries.dedup();
        let record = |(number, (epoch, distance, partial)): (usize, (Index, i64, usize))| {
            let epoch = epoch.index(boundaries.len() - 1);
            Record { number, epoch, event_time: boundaries[epoch].saturating_add_signed(distance), partial }
        };
        let records = records.into_iter().enumerate().map(record).collect();
        Run { boundaries, records, order }
    }
}

fn lates() -> impl Strategy<Value = Late> {
    prop_oneof![Just(Late::Drop), Just(Late::Admit)]
}

proptest! {
    #[test]
    fn windows_are_as_defined(run in runs(), slide in 1..9u64, panes in 1..6u64, grace in 0..20u64, late in lates()) {
        let windows = Windows::sliding(slide * panes, slide).unwrap().grace(grace);
        let given = run.given(windows, late);
        prop_assert_eq!(&given, &sorted(&given));
        prop_assert_eq!(given, sorted(&run.windows_by_definition(&windows, grace, late)));
    }

    #[test]
    fn sessions_are_as_defined(run in runs(), ticks in 1..20u64, grace in 0..20u64, late in lates()) {
        let given = run.given(Gap::of(ticks).unwrap().grace(grace), late);
        prop_assert_eq!(&given, &sorted(&given));
        prop_assert_eq!(given, run.sessions_by_definition(ticks, grace, late));
    }

    #[test]
    fn holding_is_as_defined(event_time: u64, near in 0..50u64, slide in 1..9u64, panes in 1..6u64) {
        let windows = Windows::sliding(slide * panes, slide).unwrap();
        for event_time in [event_time, near, u64::MAX - near] {
            prop_assert!(windows.holding(event_time).eq(holding(&windows, event_time)));
        }
    }

    #[test]
    fn top_k_is_the_head_of_the_sorted(parts in prop::collection::vec(prop::collection::vec(0..20u8, 0..8), 0..6), k in 0..7usize) {
        let mut merged = TopK::default();
        for part in &parts {
            let mut top = TopK::default();
            part.iter().for_each(|value| top.insert(k, *value));
            merged.merge(k, top);
        }
        let mut all = parts.concat();
        all.sort_by(|left, right| right.cmp(left));
        all.truncate(k);
        prop_assert_eq!(merged.into_values(), all);
    }
}
