//! Query 1, currency conversion: the bids, with prices in euros.
//!
//! ```sql
//! SELECT dateTime, auction, bidder, price * 0.89 FROM Bid
//! ```

use thalweg::{Error, Rebalance, stable_hash};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::Map;

use crate::event::{Bid, Inputs};
use crate::migrate::Keys;

/// Time, auction, bidder, price in euro cents.
pub type Row = (u64, u64, u64, u64);

fn in_euros(bid: Bid) -> Row {
    (bid.date_time, bid.auction, bid.bidder, bid.price * 89 / 100)
}

pub fn plain<'scope>(inputs: Inputs<'scope>) -> StreamVec<'scope, u64, Row> {
    inputs.bids.map(in_euros)
}

pub fn thalweg<'scope>(inputs: Inputs<'scope>, keys: &Keys<'scope>) -> Result<StreamVec<'scope, u64, Row>, Error> {
    let bids = inputs.bids.rebalance(&keys.of("auctions")?, |bid| stable_hash(&bid.auction))?.distribute();
    Ok(bids.map(in_euros))
}
