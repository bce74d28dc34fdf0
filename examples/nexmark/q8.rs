//! Query 8, new users who sell: who has joined and opened an auction in the same second.
//!
//! ```sql
//! SELECT P.id, P.name, A.id FROM Person P JOIN Auction A ON P.id = A.seller
//!     AND TUMBLE(P.dateTime, 1 s) = TUMBLE(A.dateTime, 1 s)
//! ```
//!
//! Windows are a tenth as long as the benchmark's, so that a short run has many.

use std::collections::{BTreeMap, HashMap};

use thalweg::windows::{Late, Windows};
use thalweg::{Error, Rebalance, stable_hash};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use crate::event::{Auction, Inputs, Person};
use crate::migrate::Keys;

/// Milliseconds that a window is long.
const WIDTH: u64 = 1000;

/// End of the window, person, name, auction.
pub type Row = (u64, u64, String, u64);

/// The people who have joined, and the auctions with their sellers.
type Window = (HashMap<u64, String>, Vec<(u64, u64)>);

pub fn plain<'scope>(inputs: Inputs<'scope>) -> StreamVec<'scope, u64, Row> {
    let by_id = Exchange::new(|person: &Person| person.id);
    let by_seller = Exchange::new(|auction: &Auction| auction.seller);
    inputs.people.binary_frontier(inputs.auctions, by_id, by_seller, "New users", |_, _| {
        let mut windows: BTreeMap<u64, (Capability<u64>, Window)> = BTreeMap::new();
        move |(people, no_people), (auctions, no_auctions), output| {
            people.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                let end = (capability.time() / WIDTH + 1) * WIDTH;
                let (_, (names, _)) =
                    windows.entry(end).or_insert_with(|| (capability.delayed(&end), Window::default()));
                names.extend(batches.flat_map(|batch| batch.drain(..)).map(|person| (person.id, person.name)));
            });
            auctions.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                let end = (capability.time() / WIDTH + 1) * WIDTH;
                let (_, (_, sales)) =
                    windows.entry(end).or_insert_with(|| (capability.delayed(&end), Window::default()));
                sales.extend(batches.flat_map(|batch| batch.drain(..)).map(|auction| (auction.seller, auction.id)));
            });
            let complete = |end: &u64| !no_people.less_than(end) && !no_auctions.less_than(end);
            while let Some(entry) = windows.first_entry().filter(|entry| complete(entry.key())) {
                let (end, (capability, (names, sales))) = entry.remove_entry();
                let rows = sales.iter().filter_map(|(seller, auction)| {
                    names.get(seller).map(|name| (end, *seller, name.clone(), *auction))
                });
                output.session(&capability).give_iterator(rows);
            }
        }
    })
}

pub fn thalweg<'scope>(inputs: Inputs<'scope>, keys: &Keys<'scope>) -> Result<StreamVec<'scope, u64, Row>, Error> {
    let people = inputs.people.rebalance(&keys.of("people")?, |person| stable_hash(&person.id))?;
    Ok(people.with(inputs.auctions, |auction| stable_hash(&auction.seller)).join_windowed(
        Windows::tumbling(WIDTH)?,
        (|person: &Person| person.id, |person: &Person| person.date_time),
        (|auction: &Auction| auction.seller, |auction: &Auction| auction.date_time),
        Late::Drop,
        |window, id, person, auction| (window.end, *id, person.name.clone(), auction.id),
    ))
}
