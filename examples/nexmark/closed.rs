//! The auctions that have closed and the bids that won them, of which queries 4 and 6 take averages.
//!
//! A bid is good if the auction is open at its time and it does not go under the reserve. The highest good one wins; an
//! auction without one closes unsold.

use std::collections::{BTreeMap, HashMap};

use columnar::Columnar;
use serde::{Deserialize, Serialize};
use thalweg::{Error, Rebalance, stable_hash};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use crate::event::{Auction, Bid};
use crate::migrate::Keys;

/// An auction that has closed, at the time it expired, with the price of the winning bid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Closed {
    pub time: u64,
    pub auction: u64,
    pub seller: u64,
    pub category: u64,
    pub price: u64,
}

fn is_good(bid: &Bid, auction: &Auction) -> bool {
    bid.price >= auction.reserve && (auction.date_time..auction.expires).contains(&bid.date_time)
}

fn close(auction: Auction, highest: Option<u64>) -> Option<Closed> {
    let Auction { id, seller, category, expires, .. } = auction;
    highest.map(|price| Closed { time: expires, auction: id, seller, category, price })
}

/// What there is to do at a time: in this order.
struct Moment {
    capability: Capability<u64>,
    expiring: Vec<u64>,
    auctions: Vec<Auction>,
    bids: Vec<Bid>,
}

impl Moment {
    fn at(capability: Capability<u64>) -> Self {
        Moment { capability, expiring: Vec::new(), auctions: Vec::new(), bids: Vec::new() }
    }
}

pub fn plain<'scope>(
    auctions: StreamVec<'scope, u64, Auction>,
    bids: StreamVec<'scope, u64, Bid>,
) -> StreamVec<'scope, u64, Closed> {
    let by_id = Exchange::new(|auction: &Auction| auction.id);
    let by_auction = Exchange::new(|bid: &Bid| bid.auction);
    auctions.binary_frontier(bids, by_id, by_auction, "Close", |_, _| {
        let mut moments: BTreeMap<u64, Moment> = BTreeMap::new();
        let mut open: HashMap<u64, (Auction, Option<u64>)> = HashMap::new();
        move |(auctions, no_auctions), (bids, no_bids), output| {
            auctions.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                let moment = moments.entry(*capability.time()).or_insert_with(|| Moment::at(capability));
                moment.auctions.extend(batches.flat_map(|batch| batch.drain(..)));
            });
            bids.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                let moment = moments.entry(*capability.time()).or_insert_with(|| Moment::at(capability));
                moment.bids.extend(batches.flat_map(|batch| batch.drain(..)));
            });
            let complete = |time: &u64| !no_auctions.less_equal(time) && !no_bids.less_equal(time);
            while let Some(entry) = moments.first_entry().filter(|entry| complete(entry.key())) {
                let Moment { capability, expiring, auctions, bids } = entry.remove();
                let expired = expiring.iter().filter_map(|id| open.remove(id));
                let closed = expired.filter_map(|(auction, highest)| close(auction, highest));
                output.session(&capability).give_iterator(closed);
                for auction in auctions {
                    let at = auction.expires;
                    let moment = moments.entry(at).or_insert_with(|| Moment::at(capability.delayed(&at)));
                    moment.expiring.push(auction.id);
                    open.insert(auction.id, (auction, None));
                }
                for bid in bids {
                    let Some((auction, highest)) = open.get_mut(&bid.auction) else { continue };
                    if is_good(&bid, auction) {
                        *highest = (*highest).max(Some(bid.price));
                    }
                }
            }
        }
    })
}

/// What is kept of an auction: itself and its highest good bid, or, until it has come, the bids that have.
#[derive(Default, Columnar)]
struct Lot {
    auction: Option<Auction>,
    highest: Option<u64>,
    early: Vec<Bid>,
}

impl Lot {
    fn take(&mut self, bid: Bid) {
        match &self.auction {
            Some(auction) if is_good(&bid, auction) => self.highest = self.highest.max(Some(bid.price)),
            Some(_) => {}
            None => self.early.push(bid),
        }
    }
}

pub fn thalweg<'scope>(
    auctions: StreamVec<'scope, u64, Auction>,
    bids: StreamVec<'scope, u64, Bid>,
    keys: &Keys<'scope>,
) -> Result<StreamVec<'scope, u64, Closed>, Error> {
    let auctions = auctions.rebalance(&keys.of("auctions")?, |auction| stable_hash(&auction.id))?;
    Ok(auctions.with(bids, |bid| stable_hash(&bid.auction)).keyed(
        |auction| auction.id,
        |bid| bid.auction,
        |auction, lot: &mut Lot, context| {
            context.schedule(&auction.expires);
            lot.auction = Some(auction);
            std::mem::take(&mut lot.early).into_iter().for_each(|bid| lot.take(bid));
        },
        |bid, lot, context| {
            if lot.auction.is_none() {
                // No auction that comes later has been open now.
                context.schedule(&(bid.date_time + 1));
            }
            lot.take(bid);
        },
        |lot, context| {
            if lot.auction.as_ref().is_some_and(|auction| auction.expires > *context.time()) {
                return;
            }
            let Lot { auction, highest, .. } = std::mem::take(lot);
            if let Some(closed) = auction.and_then(|auction| close(auction, highest)) {
                context.give(closed);
            }
            context.forget();
        },
    ))
}
