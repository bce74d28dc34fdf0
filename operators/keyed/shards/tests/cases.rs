//! Cases that random steps seldom meet.

use super::*;

/// Between two boundaries a range goes from the first worker to the second, which can't copy it ahead for the third
/// before all of it is there: of what comes later it could not tell that the third has an older copy.
#[test]
fn a_key_that_moves_twice_and_is_forgotten_on_the_way_does_not_come_back() {
    let [first, second, third] = [0, 1, 2]
        .map(|to| Assignment::even(1, 3).unwrap().apply(&[Command::Move { shard: KeyRange::ALL, to }]).unwrap());
    let [mut s, mut r, mut z] = [0, 1, 2].map(|worker| Worker::new(worker, first.clone(), &[], 1000));
    (0..9).for_each(|key| count(&mut s, key, false));
    [&mut s, &mut r, &mut z].into_iter().for_each(|worker| worker.prepare(&second, 0, Some));
    let send = |from: &mut Worker, to: &mut Worker, origin| {
        let mut parcels = Vec::new();
        while from.work(true, &mut parcels) {}
        parcels.into_iter().for_each(|parcel| drop(to.arrive(parcel.chunk, origin).unwrap()));
    };
    send(&mut s, &mut r, Origin::Ahead);
    count(&mut s, 5, true);
    [&mut s, &mut r, &mut z].into_iter().for_each(|worker| worker.change(second.clone(), Some));
    assert!(!r.is_settled() && z.is_settled());
    send(&mut s, &mut r, Origin::Worker);
    assert!(r.is_settled());
    [&mut s, &mut r, &mut z].into_iter().for_each(|worker| worker.prepare(&third, 0, Some));
    send(&mut r, &mut z, Origin::Ahead);
    [&mut s, &mut r, &mut z].into_iter().for_each(|worker| worker.change(third.clone(), Some));
    send(&mut r, &mut z, Origin::Worker);
    assert_eq!([s.size().0, r.size().0, z.size().0], [0, 0, 8]);
}

/// Copying ahead passes over it, while a snapshot in progress can't go on: when it comes back, it has to be told.
#[test]
fn a_key_that_is_gone_and_comes_back_after_it_has_been_passed_over_is_sent() {
    let [first, second] =
        [0, 1].map(|to| Assignment::even(1, 2).unwrap().apply(&[Command::Move { shard: KeyRange::ALL, to }]).unwrap());
    let [mut from, mut to] = [0, 1].map(|worker| Worker::new(worker, first.clone(), &[], 1000));
    (0..3).for_each(|key| count(&mut from, key, false));
    from.begin_snapshot(false, None);
    while from.work(true, &mut Vec::new()) {}
    count(&mut from, 1, true);
    from.begin_snapshot(false, None);
    let send = |from: &mut Worker, to: &mut Worker, origin| {
        let mut parcels = Vec::new();
        while from.work(false, &mut parcels) {}
        let moved = parcels.into_iter().filter(|parcel| parcel.hold.is_some());
        moved.for_each(|parcel| drop(to.arrive(parcel.chunk, origin).unwrap()));
    };
    [&mut from, &mut to].into_iter().for_each(|worker| worker.prepare(&second, 10, Some));
    send(&mut from, &mut to, Origin::Ahead);
    count(&mut from, 1, false);
    [&mut from, &mut to].into_iter().for_each(|worker| worker.change(second.clone(), Some));
    send(&mut from, &mut to, Origin::Worker);
    assert_eq!((from.size().0, to.size().0), (0, 3));
}

/// Its copy has been replaced before the boundary by what has changed since, or has stayed as it was.
#[test]
fn a_timer_that_has_been_copied_ahead_fires_once_and_where_its_key_is_then() {
    let [first, second] =
        [0, 1].map(|to| Assignment::even(1, 2).unwrap().apply(&[Command::Move { shard: KeyRange::ALL, to }]).unwrap());
    let [mut from, mut to] = [0, 1].map(|worker| Worker::new(worker, first.clone(), &[], 1000));
    (0..3).for_each(|key| schedule(&mut from, key, 12));
    schedule(&mut from, 3, 8);
    [&mut from, &mut to].into_iter().for_each(|worker| worker.prepare(&second, 10, Some));
    let mut parcels = Vec::new();
    while from.work(true, &mut parcels) {}
    // Which fires before the boundary is not copied.
    assert_eq!(parcels.iter().map(|parcel| parcel.chunk.keys).sum::<u32>(), 3);
    for parcel in parcels.drain(..) {
        assert_eq!(to.arrive(parcel.chunk, Origin::Ahead).unwrap().times, BTreeSet::from([12]));
    }
    schedule(&mut from, 1, 11);
    assert!(from.take_due(8, 9).iter().all(|timer| from.fire(timer).is_some()));
    [&mut from, &mut to].into_iter().for_each(|worker| worker.change(second.clone(), Some));
    assert!(to.take_due(12, 9).iter().all(|timer| to.fire(timer).is_none()), "what is coming waits");
    while from.work(true, &mut parcels) {}
    assert_eq!(parcels.iter().map(|parcel| parcel.chunk.keys).sum::<u32>(), 2, "what has changed or was not copied");
    parcels.into_iter().for_each(|parcel| drop(to.arrive(parcel.chunk, Origin::Worker).unwrap()));
    let mut fired = |time| to.take_due(time, 9).iter().filter(|timer| to.fire(timer).is_some()).count();
    assert_eq!([8, 11, 12].map(&mut fired), [0, 1, 3]);
    assert!(from.take_due(12, 9).is_empty() && from.size().0 == 0);
}

#[test]
fn the_hottest_shard_is_copied_last() {
    assert_eq!(copied(&[(0, 5), (1, 9), (2, 2)]), [2, 0, 1]);
    assert_eq!(copied(&[(0, 9)]), [1, 2, 0], "those of which nothing is known are light");
}

/// The order in which three shards are copied that had so many records.
fn copied(records: &[(usize, u64)]) -> Vec<usize> {
    let start = Assignment::even(3, 1).unwrap();
    let moves = |to| (0..3).map(move |index| Command::Move { shard: Assignment::even(3, 1).unwrap().range(index), to });
    let both = Assignment::even(3, 2).unwrap().apply(&moves(0).collect::<Vec<_>>()).unwrap();
    let mut worker = Worker::new(0, both.clone(), &[], 1000);
    (0..KEYS).for_each(|key| count(&mut worker, key, false));
    worker.note_heat(records.iter().map(|(index, records)| (start.range(*index), *records)).collect());
    worker.prepare(&both.apply(&moves(1).collect::<Vec<_>>()).unwrap(), 10, Some);
    let mut order = Vec::new();
    for _ in 0..3 {
        let mut parcels = Vec::new();
        while parcels.is_empty() {
            worker.work(true, &mut parcels);
        }
        order.extend(parcels.iter().map(|parcel| start.find(parcel.chunk.range.start())));
    }
    order
}

fn schedule(worker: &mut Worker, key: u64, time: u64) {
    let index = worker.find(routing(key));
    worker.update(index, (routing(key), &key), Occasion::Record, &mut Vec::new(), |_, _, times| {
        times.push(time);
        false
    });
}

/// Counts a key once, and says whether to forget it.
fn count(worker: &mut Worker, key: u64, forget: bool) {
    let index = worker.find(routing(key));
    worker.update(index, (routing(key), &key), Occasion::Record, &mut Vec::new(), |_, state, _| {
        *state += 1;
        forget
    });
}

fn snapshot(worker: &mut Worker) -> Vec<Chunk> {
    worker.begin_snapshot(false, None);
    let mut chunks = Vec::new();
    while worker.is_saving() {
        let mut parcels = Vec::new();
        worker.work(true, &mut parcels);
        chunks.extend(parcels.into_iter().map(|parcel| parcel.chunk));
    }
    chunks
}

/// A timer may give a forgotten key a state; with its last timer it goes, and so does that.
#[test]
fn a_key_that_comes_back_begins_anew() {
    let mut worker = Worker::new(0, Assignment::even(1, 1).unwrap(), &[], 1000);
    count(&mut worker, 7, false);
    snapshot(&mut worker);
    let index = worker.find(routing(7));
    worker.update(index, (routing(7), &7), Occasion::Record, &mut Vec::new(), |_, _, timers| {
        timers.push(3);
        true
    });
    for timer in worker.take_due(3, 9) {
        worker.fire(&timer).unwrap();
        worker.update(index, (routing(7), &7), Occasion::Timer, &mut Vec::new(), |_, state, _| {
            *state = 100;
            false
        });
    }
    assert_eq!(worker.size().0, 0);
    worker.update(index, (routing(7), &7), Occasion::Record, &mut Vec::new(), |_, state, _| {
        assert_eq!(*state, 0);
        false
    });
}

#[test]
fn of_a_restored_key_the_next_snapshot_says_that_it_is_gone_or_was_before() {
    let alone = Assignment::even(1, 1).unwrap();
    let mut worker = Worker::new(0, alone.clone(), &[], 1000);
    (1..5).for_each(|key| count(&mut worker, key, false));
    let first = snapshot(&mut worker);
    count(&mut worker, 2, true);
    let second = snapshot(&mut worker);
    assert_eq!(second.iter().flat_map(rows).collect::<Vec<_>>(), [(2, None)]);
    let chunks: Vec<Chunk> = second.into_iter().chain(first).collect();
    let parts: Vec<KeyRange> = chunks.iter().map(|chunk| chunk.range).collect();
    let mut resumed = Worker::new(0, alone, &parts, 1000);
    for chunk in chunks {
        resumed.arrive(chunk, Origin::Store).unwrap();
    }
    assert_eq!(resumed.size().0, 3);
    count(&mut resumed, 1, true);
    count(&mut resumed, 3, false);
    let third: BTreeMap<u64, Option<u64>> = snapshot(&mut resumed).iter().flat_map(rows).collect();
    assert_eq!(third, BTreeMap::from([(1, None), (2, None), (3, Some(2))]));
    assert!(snapshot(&mut resumed).is_empty() && resumed.size().0 == 2);
}
