//! The rules, one by one.

use super::*;

fn add(sum: &mut u64, other: u64) {
    *sum += other;
}

fn window(start: u64, end: u64) -> Window {
    Window { start, end }
}

/// One record at each of these event times, in an epoch that starts at `now`.
fn panes(now: u64, event_times: &[u64], windows: &Windows) -> Panes<u64> {
    let mut panes = Panes::default();
    event_times.iter().for_each(|event_time| *panes.at(now, *event_time, windows) += 1);
    panes
}

fn sessions(event_times: &[u64], gap: &Gap) -> Sessions<u64> {
    let mut sessions = Sessions::default();
    event_times.iter().for_each(|event_time| *sessions.at(*event_time, gap, add) += 1);
    sessions
}

#[test]
fn windows_that_cannot_be_say_why() {
    let message = |refused: Result<Windows, crate::Error>| refused.unwrap_err().to_string();
    assert!(message(Windows::tumbling(0)).contains("width of at least 1"));
    assert!(message(Windows::sliding(10, 0)).contains("by the width"));
    assert!(message(Windows::sliding(10, 4)).contains("10 ticks can't slide by 4"));
    assert!(message(Windows::sliding(10, 20)).contains("divides the width"));
    assert!(Gap::of(0).unwrap_err().to_string().contains("at least 1"));
}

#[test]
fn a_window_reads_as_a_half_open_range() {
    assert_eq!(window(5, 15).to_string(), "[5, 15)");
}

#[test]
fn windows_are_clipped_at_both_ends_of_time() {
    let windows = Windows::sliding(9, 3).unwrap();
    assert!(windows.holding(4).eq([window(0, 6), window(0, 9), window(3, 12)]));
    // The end of time is a multiple of 3, so the last pane begins there.
    let last = u64::MAX;
    assert!(windows.holding(last).eq([window(last - 6, last), window(last - 3, last), window(last, last)]));
    let wide = Windows::sliding(u64::MAX, 1).unwrap();
    assert_eq!(wide.holding(last).next(), Some(window(1, last)));
}

#[test]
fn a_window_closes_at_its_end_and_grace_and_once() {
    let windows = Windows::tumbling(10).unwrap().grace(5);
    let mut panes = panes(0, &[3, 9, 10], &windows);
    assert_eq!(panes.next_close(&windows), Some(15));
    assert_eq!(panes.close(14, &windows, add).count(), 0);
    assert!(panes.close(15, &windows, add).eq([(window(0, 10), 2)]));
    assert_eq!(panes.close(15, &windows, add).count(), 0);
    assert_eq!((panes.next_close(&windows), panes.is_empty()), (Some(25), false));
    assert!(panes.close(1000, &windows, add).eq([(window(10, 20), 1)]));
    assert!(panes.is_empty());
}

#[test]
fn sliding_windows_go_on_without_new_records() {
    let windows = Windows::sliding(6, 2).unwrap();
    let mut panes = panes(0, &[5, 6], &windows);
    assert!(panes.close(6, &windows, add).eq([(window(0, 6), 1)]));
    assert!(panes.close(9, &windows, add).eq([(window(2, 8), 2)]));
    assert!(panes.close(20, &windows, add).eq([(window(4, 10), 2), (window(6, 12), 1)]));
    assert!(panes.is_empty());
}

#[test]
fn a_key_that_was_idle_counts_only_in_windows_that_are_open() {
    let windows = Windows::sliding(6, 2).unwrap();
    assert_eq!(windows.admit(8, 5, Late::Drop), Some(5));
    let mut panes = panes(8, &[5], &windows);
    assert_eq!(panes.next_close(&windows), Some(10));
    assert!(panes.close(12, &windows, add).eq([(window(4, 10), 1)]));
}

#[test]
fn a_late_record_is_dropped_or_counts_in_the_earliest_open_window() {
    let windows = Windows::sliding(6, 2).unwrap().grace(1);
    assert_eq!(windows.admit(10, 4, Late::Drop), Some(4));
    assert_eq!(windows.admit(11, 5, Late::Drop), None);
    assert_eq!(windows.admit(11, 5, Late::Admit), Some(6));
    let mut admitted = panes(11, &[6], &windows);
    assert!(admitted.close(100, &windows, add).eq([(window(6, 12), 1)]));
    assert_eq!(windows.admit(u64::MAX, 5, Late::Admit), None);
}

#[test]
fn long_gaps_take_no_time() {
    let windows = Windows::sliding(3, 1).unwrap();
    let far = 1 << 62;
    let mut panes = panes(0, &[7, far], &windows);
    let given: Vec<_> = panes.close(u64::MAX, &windows, add).collect();
    let around = |t| [window(t - 2, t + 1), window(t - 1, t + 2), window(t, t + 3)];
    assert_eq!(given, [around(7), around(far)].as_flattened().iter().map(|w| (*w, 1)).collect::<Vec<_>>());
}

#[test]
fn nothing_is_copied_that_no_later_window_needs() {
    #[derive(Default)]
    struct Unique(u64);
    impl Clone for Unique {
        fn clone(&self) -> Self {
            panic!("a copy")
        }
    }
    let windows = Windows::tumbling(10).unwrap();
    let mut panes = Panes::<Unique>::default();
    panes.at(0, 5, &windows).0 += 1;
    panes.at(0, 25, &windows).0 += 1;
    let merge = |sum: &mut Unique, other: Unique| sum.0 += other.0;
    assert_eq!(panes.close(20, &windows, merge).map(|(_, value)| value.0).sum::<u64>(), 1);
    let sliding = Windows::sliding(20, 10).unwrap();
    assert_eq!(panes.close(20, &sliding, merge).count(), 0);
}

#[test]
fn records_closer_than_the_gap_are_of_one_session() {
    let gap = Gap::of(10).unwrap();
    let mut two = sessions(&[0, 20, 10], &gap);
    assert!(two.close(100, &gap).eq([(window(0, 10), 1), (window(10, 20), 1), (window(20, 30), 1)]));
    let mut one = sessions(&[0, 18, 9], &gap);
    assert!(one.close(100, &gap).eq([(window(0, 28), 3)]));
}

#[test]
fn a_session_closes_the_gap_and_the_grace_after_its_last_record() {
    let gap = Gap::of(10).unwrap().grace(3);
    let mut sessions = sessions(&[5, 9, 40], &gap);
    assert_eq!(sessions.next_close(&gap), Some(22));
    assert_eq!(sessions.close(21, &gap).count(), 0);
    assert!(sessions.close(22, &gap).eq([(window(5, 19), 2)]));
    assert_eq!(sessions.next_close(&gap), Some(53));
    assert_eq!((gap.admit(22, 9, Late::Drop), gap.admit(22, 10, Late::Drop)), (None, Some(10)));
    assert_eq!(gap.admit(22, 9, Late::Admit), Some(22));
}

#[test]
fn sessions_reach_the_end_of_time() {
    let gap = Gap::of(10).unwrap().grace(u64::MAX);
    let mut sessions = sessions(&[u64::MAX, u64::MAX - 5, 0], &gap);
    assert_eq!(sessions.close(u64::MAX - 1, &gap).count(), 0);
    assert!(sessions.close(u64::MAX, &gap).eq([(window(0, 10), 1), (window(u64::MAX - 5, u64::MAX), 2)]));
}

#[test]
fn of_equal_values_each_counts_and_the_order_decides_ties() {
    let mut top = TopK::default();
    [(1, 'a'), (2, 'b'), (2, 'c'), (2, 'c'), (0, 'd')].into_iter().for_each(|value| top.insert(3, value));
    assert_eq!(top.values(), [(2, 'c'), (2, 'c'), (2, 'b')]);
    top.insert(0, (9, 'z'));
    assert!(top.into_values().is_empty());
}
