//! Query 7, highest bid: the highest bid of each second.
//!
//! ```sql
//! SELECT auction, price, bidder FROM Bid GROUP BY TUMBLE(dateTime, 1 s)
//! HAVING price >= ALL (SELECT price FROM Bid GROUP BY TUMBLE(dateTime, 1 s))
//! ```
//!
//! Of several as high the first, and of those in the same millisecond that for the first auction by the least bidder.
//! Windows are a tenth as long as the benchmark's, so that a short run has many.

use std::cmp::{Reverse, max_by_key};
use std::collections::BTreeMap;

use thalweg::windows::{Late, Windows};
use thalweg::{Error, Rebalance};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Map;

use crate::event::{Bid, Inputs};
use crate::migrate::Keys;

/// Milliseconds that a window is long.
const WIDTH: u64 = 1000;

/// End of the window, price, time, auction, bidder.
pub type Row = (u64, u64, u64, u64, u64);

fn row(bid: Bid) -> Row {
    ((bid.date_time / WIDTH + 1) * WIDTH, bid.price, bid.date_time, bid.auction, bid.bidder)
}

/// The greatest is the highest.
fn rank((_, price, time, auction, bidder): &Row) -> (u64, Reverse<(u64, u64, u64)>) {
    (*price, Reverse((*time, *auction, *bidder)))
}

pub fn plain<'scope>(inputs: Inputs<'scope>) -> StreamVec<'scope, u64, Row> {
    let highest_here = highest(inputs.bids.map(row), Pipeline);
    highest(highest_here, Exchange::new(|row: &Row| row.0 / WIDTH))
}

fn highest<'scope, P>(rows: StreamVec<'scope, u64, Row>, pact: P) -> StreamVec<'scope, u64, Row>
where
    P: ParallelizationContract<u64, Vec<Row>>,
{
    rows.unary_frontier(pact, "Highest", |_, _| {
        let mut windows: BTreeMap<u64, (Capability<u64>, Row)> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                let Some(row) = batches.flat_map(|batch| batch.drain(..)).max_by_key(rank) else { return };
                let (_, best) = windows.entry(row.0).or_insert_with(|| (capability.delayed(&row.0), row));
                *best = max_by_key(row, *best, rank);
            });
            while let Some(entry) = windows.first_entry().filter(|entry| !frontier.less_equal(entry.key())) {
                let (capability, row) = entry.remove();
                output.session(&capability).give(row);
            }
        }
    })
}

pub fn thalweg<'scope>(inputs: Inputs<'scope>, keys: &Keys<'scope>) -> Result<StreamVec<'scope, u64, Row>, Error> {
    let rows = inputs.bids.map(row).rebalance(&keys.of("all")?, |_| 0)?;
    let windows = rows.windowed(Windows::tumbling(WIDTH)?, |row| row.2, Late::Drop);
    let higher = |best: &mut Row, row| *best = max_by_key(row, *best, rank);
    Ok(windows.fold(|_| 0u64, move |row, best| higher(best, row), higher, |_, _, best| best))
}
