//! What is kept of a key goes through the codecs.

use std::fmt::Debug;

use super::*;
use crate::keyed::codec::{Codec, Columns, Serde};

fn comes_back<S: Debug + PartialEq>(state: &S)
where
    Columns: Codec<String, S>,
    Serde: Codec<String, S>,
{
    assert_eq!(&round_trip::<Columns, S>(state), state);
    assert_eq!(&round_trip::<Serde, S>(state), state);
}

fn round_trip<C: Codec<String, S>, S>(state: &S) -> S {
    let mut encoder = C::Encoder::default();
    C::push(&mut encoder, (7, &"key".to_owned(), state, &[3, 9], 0));
    let mut decoded = Vec::new();
    C::decode(C::finish(encoder), |row| decoded.push(row.2)).unwrap();
    decoded.pop().unwrap()
}

#[test]
fn states_come_back_as_they_were() {
    let windows = Windows::sliding(10, 5).unwrap();
    let mut panes = Panes::<TopK<(u64, String)>>::default();
    comes_back(&panes);
    for (event_time, name) in [(3, "anvil"), (4, "boat"), (88, "chair")] {
        panes.at(2, event_time, &windows).insert(2, (event_time, name.to_owned()));
    }
    comes_back(&panes);

    let gap = Gap::of(10).unwrap();
    let mut timed = Timed::<Sessions<Vec<u64>>>::default();
    let join = |all: &mut Vec<u64>, other: Vec<u64>| all.extend(other);
    [1, 8, 30].iter().for_each(|event_time| timed.open.at(*event_time, &gap, join).push(*event_time));
    comes_back(&timed);
    comes_back(&Window { start: 1, end: u64::MAX });
}
