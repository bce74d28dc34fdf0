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

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use crate::closed::{self, Closed};
use crate::event::Inputs;

/// End of the period, category, mean price of all items so far.
pub type Row = (u64, u64, u64);

pub fn plain<'scope>(inputs: Inputs<'scope>, period: u64) -> StreamVec<'scope, u64, Row> {
    let by_category = Exchange::new(|closed: &Closed| closed.category);
    closed::plain(inputs.auctions, inputs.bids).unary_frontier(by_category, "Average", move |_, _| {
        let mut periods: BTreeMap<u64, (Capability<u64>, HashMap<u64, (u64, u64)>)> = BTreeMap::new();
        let mut totals: HashMap<u64, (u64, u64)> = HashMap::new();
        move |(input, frontier), output| {
            input.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                let end = (capability.time() / period + 1) * period;
                let (_, sums) = periods.entry(end).or_insert_with(|| (capability.delayed(&end), HashMap::new()));
                for closed in batches.flat_map(|batch| batch.drain(..)) {
                    let (sum, count) = sums.entry(closed.category).or_default();
                    (*sum, *count) = (*sum + closed.price, *count + 1);
                }
            });
            while let Some(entry) = periods.first_entry().filter(|entry| !frontier.less_than(entry.key())) {
                let (end, (capability, sums)) = entry.remove_entry();
                let rows = sums.into_iter().map(|(category, (more, n))| {
                    let (sum, count) = totals.entry(category).or_default();
                    (*sum, *count) = (*sum + more, *count + n);
                    (end, category, *sum / *count)
                });
                output.session(&capability).give_iterator(rows);
            }
        }
    })
}
