//! Query 6, average selling price: what the last ten items of each seller have gone for, in the mean.
//!
//! ```sql
//! SELECT seller, AVG(final) OVER (PARTITION BY seller ORDER BY expires ROWS BETWEEN 9 PRECEDING AND CURRENT ROW) FROM (
//!     SELECT A.id, A.seller, A.expires, MAX(B.price) AS final FROM Auction A JOIN Bid B ON A.id = B.auction
//!     WHERE B.dateTime BETWEEN A.dateTime AND A.expires GROUP BY A.id, A.seller, A.expires)
//! ```
//!
//! At the end of each period in which an auction of the seller has closed. Of auctions that close in the same
//! millisecond the one with the greater id is the later one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use thalweg::{Error, Rebalance, stable_hash};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use crate::closed::{self, Closed};
use crate::event::Inputs;
use crate::migrate::Keys;

/// Items of a seller that count.
const ITEMS: usize = 10;

/// End of the period, seller, mean price of the last ten items.
pub type Row = (u64, u64, u64);

/// What the last items have gone for: when they closed, their ids and prices.
type Sales = Vec<(u64, u64, u64)>;

fn sale(closed: &Closed) -> Sales {
    vec![(closed.time, closed.auction, closed.price)]
}

fn add(sales: &mut Sales, more: Sales) {
    sales.extend(more);
    sales.sort_unstable();
    sales.drain(..sales.len().saturating_sub(ITEMS));
}

fn mean(sales: &Sales) -> u64 {
    sales.iter().map(|(_, _, price)| price).sum::<u64>() / sales.len() as u64
}

pub fn plain<'scope>(inputs: Inputs<'scope>, period: u64) -> StreamVec<'scope, u64, Row> {
    let by_seller = Exchange::new(|closed: &Closed| closed.seller);
    closed::plain(inputs.auctions, inputs.bids).unary_frontier(by_seller, "Average", move |_, _| {
        let mut periods: BTreeMap<u64, (Capability<u64>, Vec<Closed>)> = BTreeMap::new();
        let mut sellers: HashMap<u64, Sales> = HashMap::new();
        move |(input, frontier), output| {
            input.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                let end = (capability.time() / period + 1) * period;
                let (_, closed) = periods.entry(end).or_insert_with(|| (capability.delayed(&end), Vec::new()));
                closed.extend(batches.flat_map(|batch| batch.drain(..)));
            });
            while let Some(entry) = periods.first_entry().filter(|entry| !frontier.less_than(entry.key())) {
                let (end, (capability, closed)) = entry.remove_entry();
                closed.iter().for_each(|closed| add(sellers.entry(closed.seller).or_default(), sale(closed)));
                let sold: BTreeSet<u64> = closed.iter().map(|closed| closed.seller).collect();
                let rows = sold.into_iter().map(|seller| (end, seller, mean(&sellers[&seller])));
                output.session(&capability).give_iterator(rows);
            }
        }
    })
}

pub fn thalweg<'scope>(inputs: Inputs<'scope>, keys: &Keys<'scope>) -> Result<StreamVec<'scope, u64, Row>, Error> {
    let closed = closed::thalweg(inputs.auctions, inputs.bids, keys)?;
    Ok(closed.rebalance(&keys.of("sellers")?, |closed| stable_hash(&closed.seller))?.fold_epochs(
        |closed| closed.seller,
        |closed, sales: &mut Sales| add(sales, sale(&closed)),
        add,
        |more, sales: &mut Sales, out| {
            add(sales, more);
            out.give((*out.time(), *out.key(), mean(sales)));
        },
    ))
}
