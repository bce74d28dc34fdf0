//! Query 3, local item suggestion: who in Oregon, Idaho or California sells something of category 10.
//!
//! ```sql
//! SELECT P.name, P.city, P.state, A.id FROM Auction A JOIN Person P ON A.seller = P.id
//! WHERE A.category = 10 AND P.state IN ('OR', 'ID', 'CA')
//! ```
//!
//! An auction may come before its seller. Nothing is ever forgotten, so the state grows.

use std::collections::HashMap;

use thalweg::{Error, Rebalance, stable_hash};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Filter;

use crate::event::{Auction, Inputs, Person};
use crate::migrate::Keys;

/// Time of the later of the two, name, city, state, auction.
pub type Row = (u64, String, String, String, u64);

fn is_wanted(auction: &Auction) -> bool {
    auction.category == 10
}

fn is_near(person: &Person) -> bool {
    ["OR", "ID", "CA"].contains(&person.state.as_str())
}

fn suggestion(auction: &Auction, person: &Person) -> Row {
    let time = auction.date_time.max(person.date_time);
    (time, person.name.clone(), person.city.clone(), person.state.clone(), auction.id)
}

pub fn plain<'scope>(inputs: Inputs<'scope>) -> StreamVec<'scope, u64, Row> {
    let by_seller = Exchange::new(|auction: &Auction| auction.seller);
    let by_id = Exchange::new(|person: &Person| person.id);
    let (auctions, people) = (inputs.auctions.filter(is_wanted), inputs.people.filter(is_near));
    auctions.binary(people, by_seller, by_id, "Suggest", |_, _| {
        let mut sellers: HashMap<u64, (Option<Person>, Vec<Auction>)> = HashMap::new();
        move |auctions, people, output| {
            auctions.for_each_stamp(|capability, batches| {
                let mut session = output.session(&capability);
                for auction in batches.flat_map(|batch| batch.drain(..)) {
                    let (person, auctions) = sellers.entry(auction.seller).or_default();
                    session.give_iterator(person.iter().map(|person| suggestion(&auction, person)));
                    auctions.push(auction);
                }
            });
            people.for_each_stamp(|capability, batches| {
                let mut session = output.session(&capability);
                for new in batches.flat_map(|batch| batch.drain(..)) {
                    let (person, auctions) = sellers.entry(new.id).or_default();
                    session.give_iterator(auctions.iter().map(|auction| suggestion(auction, &new)));
                    *person = Some(new);
                }
            });
        }
    })
}

pub fn thalweg<'scope>(inputs: Inputs<'scope>, keys: &Keys<'scope>) -> Result<StreamVec<'scope, u64, Row>, Error> {
    let (auctions, people) = (inputs.auctions.filter(is_wanted), inputs.people.filter(is_near));
    let auctions = auctions.rebalance(&keys.of("people")?, |auction| stable_hash(&auction.seller))?;
    Ok(auctions.with(people, |person| stable_hash(&person.id)).join(
        |auction| auction.seller,
        |person| person.id,
        |_, auction, person| suggestion(auction, person),
    ))
}
