//! Windows are given with what their definition says is in them, and at the first boundary at or after their end and
//! grace, whatever is folded, moved, saved or lost meanwhile (invariant 1); and all of them when the input closes
//! (invariant 4).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::common::job::{Data, Decisions, Job, Record, Rows, Source, Spaces, inputs, recoveries, routing};
use proptest::prelude::*;
use thalweg::aggregate::AggregateState;
use thalweg::keyed::codec::{Codec, Columns, Serde};
use thalweg::windows::{Gap, Late, Timed, Window, Windowing, Windows};
use thalweg::{Rebalance, stable_hash};
use timely::ExchangeData;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Filter;

/// Start and end of a window.
type Span = (u64, u64);

/// Window, key, records, and the greatest and the sum of the values.
type Row = (Span, u64, u64, (u64, u64));

/// Records, the greatest value, and the sum of the values.
type Gathered = (u64, u64, u64);

fn fold(record: Record, (records, greatest, sum): &mut Gathered) {
    *records += 1;
    *greatest = (*greatest).max(record.2);
    *sum += record.2;
}

fn merge(gathered: &mut Gathered, (records, greatest, sum): Gathered) {
    gathered.0 += records;
    gathered.1 = gathered.1.max(greatest);
    gathered.2 += sum;
}

fn row(start: u64, end: u64, key: u64, (records, greatest, sum): Gathered) -> Row {
    ((start, end), key, records, (greatest, sum))
}

/// Windows of one width, slide and grace; of no slide, sessions with a gap of the width.
#[derive(Clone, Copy, Debug)]
struct Shape {
    width: u64,
    slide: u64,
    grace: u64,
    late: Late,
}

impl Shape {
    fn windows(&self) -> Windows {
        Windows::sliding(self.width, self.slide).unwrap().grace(self.grace)
    }

    fn gap(&self) -> Gap {
        Gap::of(self.width).unwrap().grace(self.grace)
    }

    /// The windows that hold an event time, by their ends, of which none begins before 0.
    fn holding(&self, event_time: u64) -> impl Iterator<Item = Span> {
        let Shape { width, slide, .. } = *self;
        let ends = (1..).map(move |number| number * slide).skip_while(move |end| *end <= event_time);
        let windows = ends.map(move |end| (end.saturating_sub(width), end));
        windows.take_while(move |(start, end)| *start <= event_time && *end <= event_time + width)
    }

    /// The windows in which a record counts that is judged by what is past at `now`.
    fn counting(&self, now: u64, event_time: u64) -> Vec<Span> {
        let is_open = |(_, end): &Span| end + self.grace > now;
        let mut windows: Vec<_> = self.holding(event_time).filter(is_open).collect();
        if windows.is_empty() && self.late == Late::Admit {
            let all = (1..).map(|number| (number * self.slide).saturating_sub(self.width)..number * self.slide);
            windows.extend(all.map(|window| (window.start, window.end)).find(is_open));
        }
        windows
    }

    /// What windows must give: each record counted where the definition says, one after the other.
    fn windows_of(&self, job: &Job, data: &Data) -> Rows<Row> {
        let mut gathered: BTreeMap<(u64, u64, u64, u64), Gathered> = BTreeMap::new();
        for (time, record) in data {
            for (start, end) in self.counting(time / job.ticks * job.ticks, record.1) {
                let at = job.boundary_from(end + self.grace);
                fold(*record, gathered.entry((at, start, end, record.0)).or_default());
            }
        }
        let rows = gathered.into_iter().map(|((at, start, end, key), all)| (at, row(start, end, key, all)));
        sorted(rows.collect())
    }

    /// What sessions must give: those of all records that are in none that was given, made anew at each boundary.
    fn sessions_of(&self, job: &Job, data: &Data) -> Rows<Row> {
        let closes = |last: u64| last + self.width + self.grace;
        let mut open: BTreeMap<u64, Vec<(u64, Record)>> = BTreeMap::new();
        let (mut rows, mut data, mut start) = (Rows::new(), data.iter().peekable(), 0);
        while data.peek().is_some() || !open.is_empty() {
            let now = start + job.ticks;
            while let Some((_, record)) = data.next_if(|(time, _)| *time < now) {
                match self.late {
                    _ if closes(record.1) > start => open.entry(record.0).or_default().push((record.1, *record)),
                    Late::Admit => open.entry(record.0).or_default().push((start, *record)),
                    Late::Drop => {}
                }
            }
            for (key, records) in &mut open {
                records.sort_unstable();
                let all = std::mem::take(records);
                for session in all.chunk_by(|left, right| right.0 - left.0 < self.width) {
                    let (first, last) = (session[0].0, session[session.len() - 1].0);
                    if closes(last) <= now {
                        let mut gathered = Gathered::default();
                        session.iter().for_each(|(_, record)| fold(*record, &mut gathered));
                        rows.push((now, row(first, last + self.width, *key, gathered)));
                    } else {
                        records.extend(session);
                    }
                }
            }
            open.retain(|_, records| !records.is_empty());
            start = now;
        }
        sorted(rows)
    }
}

fn sorted<R: Ord>(mut rows: Rows<R>) -> Rows<R> {
    rows.sort_unstable();
    rows
}

fn shapes() -> impl Strategy<Value = Shape> {
    let late = prop_oneof![Just(Late::Drop), Just(Late::Admit)];
    (1..12u64, 1..5u64, prop_oneof![Just(0u64), 0..20u64], late).prop_map(|(slide, panes, grace, late)| Shape {
        width: slide * panes,
        slide,
        grace,
        late,
    })
}

/// How many ticks a tick above is: where epochs are long, so are windows.
fn scaled(shape: Shape, ticks: u64) -> Shape {
    let by = (ticks / 10).max(1);
    Shape { width: shape.width * by, slide: shape.slide * by, grace: shape.grace * by, ..shape }
}

/// Event times that are the records' times, or out of order by some epochs, in both directions.
fn disordered() -> impl Strategy<Value = (Source, (u64, u64))> {
    (inputs(), prop_oneof![Just((0u64, 0u64)), (0..60u64, 0..30u64)])
}

fn data_of(job: &Job, (source, (before, after)): (Source, (u64, u64))) -> Data {
    let by = (job.ticks / 10).max(1);
    Source { disorder: (before * by, after * by), ..source }.data(job.ticks)
}

fn folded<W>(
    windowing: W,
    late: Late,
) -> impl for<'s> Fn(StreamVec<'s, u64, Record>, &Spaces<'s>) -> StreamVec<'s, u64, Row> + Clone + Send + Sync + use<W>
where
    W: Windowing + Send + Sync,
    W::State<Gathered>: ExchangeData,
    Columns: Codec<u64, AggregateState<Timed<W::State<Gathered>>, W::State<Gathered>>>,
{
    move |data, spaces| {
        let stage = data.rebalance(&spaces.space("keys"), routing).unwrap().named("windows").unwrap();
        let windows = stage.windowed(windowing, |record| record.1, late);
        windows.fold(
            |record| record.0,
            fold,
            merge,
            |window: Window, key, all| row(window.start, window.end, *key, all),
        )
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn windows_hold_what_their_definition_says((job, again) in recoveries(), shape in shapes(), source in disordered()) {
        let (data, shape) = (data_of(&job, source), scaled(shape, job.ticks));
        job.check_recovery(&again, &data, &shape.windows_of(&job, &data), folded(shape.windows(), shape.late));
    }

    #[test]
    fn sessions_hold_what_their_definition_says((job, again) in recoveries(), shape in shapes(), source in disordered()) {
        let (data, shape) = (data_of(&job, source), scaled(shape, job.ticks));
        job.check_recovery(&again, &data, &shape.sessions_of(&job, &data), folded(shape.gap(), shape.late));
    }
}

/// Keys by their records, greatest first; of equal ones, the lower.
type Ranks = Vec<(u64, Reverse<u64>)>;

/// A window, and its keys with the most records.
type Top = (Span, Ranks);

/// The first of each window, one epoch after it was given.
fn top_of(count: usize, job: &Job, counts: &Rows<Row>) -> Rows<Top> {
    let mut tops: BTreeMap<(u64, Span), Ranks> = BTreeMap::new();
    for (at, (window, key, records, _)) in counts {
        tops.entry((job.boundary_after(*at), *window)).or_default().push((*records, Reverse(*key)));
    }
    let head = |mut keys: Ranks| {
        keys.sort_unstable_by(|left, right| right.cmp(left));
        keys.truncate(count);
        keys
    };
    sorted(tops.into_iter().map(|((at, window), keys)| (at, (window, head(keys)))).collect())
}

/// Counts of all windows in one key space, and of those the first of each window in another.
fn count_then_top(
    count: usize,
    shape: Shape,
) -> impl for<'s> Fn(StreamVec<'s, u64, Record>, &Spaces<'s>) -> StreamVec<'s, u64, Top> + Clone + use<> {
    move |data, spaces| {
        let counts = data
            .rebalance(&spaces.space("keys"), routing)
            .unwrap()
            .named("count")
            .unwrap()
            .windowed(shape.windows(), |record| record.1, shape.late)
            .count(|record| record.0);
        counts
            .rebalance(&spaces.space("windows"), |(window, ..)| stable_hash(&(window.end % 20)))
            .unwrap()
            .named("top")
            .unwrap()
            .codec::<Serde>()
            .top_k(count, |(window, ..)| (window.start, window.end), |(_, key, records)| (records, Reverse(key)))
    }
}

/// The values of the left and of the right records.
type Sides = (Vec<u64>, Vec<u64>);

/// Window, key, and the values of a left and a right record.
type Pair = (Span, u64, u64, u64);

fn is_left(record: &Record) -> bool {
    record.2.is_multiple_of(2)
}

/// Each pair of each window, when it closes. What is past is judged by the records' times.
fn pairs_of(shape: &Shape, job: &Job, data: &Data) -> Rows<Pair> {
    let mut windows: BTreeMap<(Span, u64), Sides> = BTreeMap::new();
    for (time, record) in data {
        for window in shape.counting(time / job.ticks * job.ticks, record.1) {
            let (left, right) = windows.entry((window, record.0)).or_default();
            (if is_left(record) { left } else { right }).push(record.2);
        }
    }
    let pairs = windows.into_iter().flat_map(|((window, key), (left, right))| {
        let pair = move |a: u64, b: u64| (job.boundary_from(window.1 + shape.grace), (window, key, a, b));
        left.into_iter().flat_map(move |a| right.clone().into_iter().map(move |b| pair(a, b)))
    });
    sorted(pairs.collect())
}

fn join(
    shape: Shape,
) -> impl for<'s> Fn(StreamVec<'s, u64, Record>, &Spaces<'s>) -> StreamVec<'s, u64, Pair> + Clone + use<> {
    move |data, spaces| {
        let (left, right) = (data.clone().filter(is_left), data.filter(|record| !is_left(record)));
        left.rebalance(&spaces.space("keys"), routing)
            .unwrap()
            .named("join")
            .unwrap()
            .with(right, routing)
            .join_windowed(
                shape.windows(),
                (|record: &Record| record.0, |record: &Record| record.1),
                (|record: &Record| record.0, |record: &Record| record.1),
                shape.late,
                |window, key, left, right| ((window.start, window.end), *key, left.2, right.2),
            )
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn the_first_of_each_window_are_given_together(
        (job, again) in recoveries(), shape in shapes(), source in disordered(), count in 1..4usize,
    ) {
        let (job, again) = (Job { one_input: false, ..job }, Job { one_input: false, ..again });
        let (data, shape) = (data_of(&job, source), scaled(shape, job.ticks));
        let expected = top_of(count, &job, &shape.windows_of(&job, &data));
        job.check_recovery(&again, &data, &expected, count_then_top(count, shape));
    }

    #[test]
    fn pairs_are_of_one_window((job, again) in recoveries(), shape in shapes(), source in disordered()) {
        let (job, again) = (Job { one_input: false, ..job }, Job { one_input: false, ..again });
        let (data, shape) = (data_of(&job, source), scaled(shape, job.ticks));
        job.check_recovery(&again, &data, &pairs_of(&shape, &job, &data), join(shape));
    }
}

/// One epoch of records, windows that end far behind it, and folds decided on when all is over.
#[test]
fn open_windows_are_given_when_the_input_closes() {
    let source = Source { seed: 5, epochs: 3, records: 40, keys: 9, disorder: (0, 50) };
    for (workers, lead, ticks) in [(1, 1, 7), (3, 2, 1), (4, 10, 1000)] {
        let decisions = Decisions::Random { seed: lead, keys: 9, commands: 4, folds: 4, checkpoint_every: 0 };
        let job = Job { workers, lead, ticks, decisions, ..Job::default() };
        let data = source.data(ticks);
        let shape = Shape { width: 90 * ticks, slide: 30 * ticks, grace: 5, late: Late::Drop };
        let (windows, _) = job.run(&data, None, folded(shape.windows(), shape.late));
        assert_eq!(windows, shape.windows_of(&job, &data));
        assert_eq!(windows.iter().map(|(_, row)| row.2).sum::<u64>(), 3 * data.len() as u64);
        let (sessions, _) = job.run(&data, None, folded(shape.gap(), shape.late));
        assert_eq!(sessions, shape.sessions_of(&job, &data));
        assert_eq!(sessions.iter().map(|(_, row)| row.2).sum::<u64>(), data.len() as u64);
    }
}

/// An epoch and a window that end at different times: a record of the future waits, and a late one does as was chosen.
#[test]
fn windows_are_given_at_the_first_boundary_behind_them() {
    let data: Data = vec![(3, (1, 3, 1)), (8, (1, 30, 2)), (15, (1, 9, 3)), (22, (1, 11, 4)), (29, (1, 1, 5))];
    let job = Job { ticks: 7, ..Job::default() };
    let shape = |late| Shape { width: 10, slide: 10, grace: 4, late };
    let count = |late| {
        let (rows, _) = job.run(&data, None, folded(shape(late).windows(), late));
        rows.into_iter().map(|(at, (window, _, records, _))| (at, window, records)).collect::<Vec<_>>()
    };
    // The epoch of 15 begins with 14, at which [0, 10) has closed; that of 22 with 21, at which [10, 20) is open.
    assert_eq!(count(Late::Drop), [(14, (0, 10), 1), (28, (10, 20), 1), (49, (30, 40), 1)]);
    let admitted = [(14, (0, 10), 1), (28, (10, 20), 2), (35, (20, 30), 1), (49, (30, 40), 1)];
    assert_eq!(count(Late::Admit), admitted);
}
