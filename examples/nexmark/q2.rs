//! Query 2, selection: the bids for some auctions.
//!
//! ```sql
//! SELECT dateTime, auction, price FROM Bid WHERE MOD(auction, 123) = 0
//! ```

use thalweg::{Error, Rebalance, stable_hash};
use timely::dataflow::StreamVec;
use timely::dataflow::operators::vec::{Filter, Map};

use crate::event::{Bid, Inputs};
use crate::migrate::Keys;

/// Time, auction, price.
pub type Row = (u64, u64, u64);

fn is_wanted(bid: &Bid) -> bool {
    bid.auction.is_multiple_of(123)
}

fn row(bid: Bid) -> Row {
    (bid.date_time, bid.auction, bid.price)
}

pub fn plain<'scope>(inputs: Inputs<'scope>) -> StreamVec<'scope, u64, Row> {
    inputs.bids.filter(is_wanted).map(row)
}

pub fn thalweg<'scope>(inputs: Inputs<'scope>, keys: &Keys<'scope>) -> Result<StreamVec<'scope, u64, Row>, Error> {
    let bids = inputs.bids.rebalance(&keys.of("auctions")?, |bid| stable_hash(&bid.auction))?.distribute();
    Ok(bids.filter(is_wanted).map(row))
}
