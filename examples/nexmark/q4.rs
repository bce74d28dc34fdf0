//! Query 4, average price: what the items of each category have gone for, in the mean.
//!
//! ```sql
//! SELECT category, AVG(final) FROM (
//!     SELECT A.id, A.category, MAX(B.price) AS final FROM Auction A JOIN Bid B ON A.id = B.auction
//!     WHERE B.dateTime BETWEEN A.dateTime AND A.expires GROUP BY A.id, A.category)
//! GROUP BY category
//! ```
//!
//! The mean of all auctions so far, at the end of each period in which one of the category has closed.

use std::collections::{BTreeMap, HashMap};

use thalweg::{Error, Rebalance, stable_hash};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use crate::closed::{self, Closed};
use crate::event::Inputs;
use crate::migrate::Keys;

/// End of the period, category, mean price of all items so far.
pub type Row = (u64, u64, u64);

/// Of prices, and how many there are.
type Sum = (u64, u64);

fn add(sum: &mut Sum, (more, count): Sum) {
    *sum = (sum.0 + more, sum.1 + count);
}

pub fn plain<'scope>(inputs: Inputs<'scope>, period: u64) -> StreamVec<'scope, u64, Row> {
    let by_category = Exchange::new(|closed: &Closed| closed.category);
    closed::plain(inputs.auctions, inputs.bids).unary_frontier(by_category, "Average", move |_, _| {
        let mut periods: BTreeMap<u64, (Capability<u64>, HashMap<u64, Sum>)> = BTreeMap::new();
        let mut totals: HashMap<u64, Sum> = HashMap::new();
        move |(input, frontier), output| {
            input.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                let end = (capability.time() / period + 1) * period;
                let (_, sums) = periods.entry(end).or_insert_with(|| (capability.delayed(&end), HashMap::new()));
                for closed in batches.flat_map(|batch| batch.drain(..)) {
                    add(sums.entry(closed.category).or_default(), (closed.price, 1));
                }
            });
            while let Some(entry) = periods.first_entry().filter(|entry| !frontier.less_than(entry.key())) {
                let (end, (capability, sums)) = entry.remove_entry();
                let rows = sums.into_iter().map(|(category, sum)| {
                    let total = totals.entry(category).or_default();
                    add(total, sum);
                    (end, category, total.0 / total.1)
                });
                output.session(&capability).give_iterator(rows);
            }
        }
    })
}

pub fn thalweg<'scope>(inputs: Inputs<'scope>, keys: &Keys<'scope>) -> Result<StreamVec<'scope, u64, Row>, Error> {
    let closed = closed::thalweg(inputs.auctions, inputs.bids, keys)?;
    Ok(closed.rebalance(&keys.of("categories")?, |closed| stable_hash(&closed.category))?.fold_epochs(
        |closed| closed.category,
        |closed, sum: &mut Sum| add(sum, (closed.price, 1)),
        add,
        |sum, total: &mut Sum, out| {
            add(total, sum);
            out.give((*out.time(), *out.key(), total.0 / total.1));
        },
    ))
}
