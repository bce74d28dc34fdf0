//! The events of the NEXMark benchmark: people join an auction site, open auctions, and bid.

use columnar::Columnar;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::OkErr;

/// One event. Its time, in milliseconds from the start of the stream, is also its timestamp.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Event {
    Person(Person),
    Auction(Auction),
    Bid(Bid),
}

/// Somebody who may sell and bid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Columnar)]
pub struct Person {
    pub id: u64,
    pub name: String,
    pub email_address: String,
    pub credit_card: String,
    pub city: String,
    pub state: String,
    pub date_time: u64,
    pub extra: String,
}

/// An item that is for sale until it expires.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Columnar)]
pub struct Auction {
    pub id: u64,
    pub item_name: String,
    pub description: String,
    /// In cents, as all prices are.
    pub initial_bid: u64,
    /// What the item does not go under.
    pub reserve: u64,
    pub date_time: u64,
    /// The first millisecond in which bids come too late.
    pub expires: u64,
    /// The id of the person who sells.
    pub seller: u64,
    pub category: u64,
    pub extra: String,
}

/// An offer for an auction's item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Columnar)]
pub struct Bid {
    /// The id of the auction.
    pub auction: u64,
    /// The id of the person who bids.
    pub bidder: u64,
    pub price: u64,
    pub channel: String,
    pub url: String,
    pub date_time: u64,
    pub extra: String,
}

/// What a query reads.
pub struct Inputs<'scope> {
    pub people: StreamVec<'scope, u64, Person>,
    pub auctions: StreamVec<'scope, u64, Auction>,
    pub bids: StreamVec<'scope, u64, Bid>,
}

impl<'scope> Inputs<'scope> {
    /// Parts the events by kind.
    #[allow(clippy::result_large_err, reason = "neither side is an error")]
    pub fn new(events: StreamVec<'scope, u64, Event>) -> Self {
        type Other = Result<Auction, Person>;
        let (bids, others) = events.ok_err(|event| match event {
            Event::Bid(bid) => Ok(bid),
            Event::Auction(auction) => Err(Ok(auction)),
            Event::Person(person) => Err(Err(person)),
        });
        let (auctions, people) = others.container::<Vec<Other>>().ok_err(|other: Other| other);
        Inputs { people, auctions, bids }
    }
}
