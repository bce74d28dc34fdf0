//! Query 5, hot items: which auction had the most bids in the last second, five times a second.
//!
//! ```sql
//! SELECT auction, COUNT(*) AS num FROM Bid GROUP BY auction, HOP(dateTime, 200 ms, 1 s)
//! HAVING num >= ALL (SELECT COUNT(*) FROM Bid GROUP BY auction, HOP(dateTime, 200 ms, 1 s))
//! ```
//!
//! Of several with as many bids it is the first auction. Windows are a tenth as long as the benchmark's, so that a
//! short run has many; the first ones reach back to before the first event.

use std::cmp::max_by_key;
use std::collections::{BTreeMap, HashMap};

use thalweg::windows::{Late, Windows};
use thalweg::{Error, Rebalance, stable_hash};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Map;

use crate::event::{Bid, Inputs};
use crate::migrate::Keys;

/// Milliseconds that a window is long, and that it is ahead of the one before.
const WIDTH: u64 = 1000;
const SLIDE: u64 = 200;

/// End of the window, auction, bids.
pub type Row = (u64, u64, u64);

/// The greatest is hottest: of several with as many bids, the first.
fn heat((_, auction, bids): &Row) -> (u64, u64) {
    (*bids, !auction)
}

pub fn plain<'scope>(inputs: Inputs<'scope>) -> StreamVec<'scope, u64, Row> {
    let by_auction = Exchange::new(|bid: &Bid| bid.auction);
    let hottest_here = inputs.bids.unary_frontier(by_auction, "Count", |_, _| {
        let mut ends: BTreeMap<u64, Capability<u64>> = BTreeMap::new();
        let mut slides: BTreeMap<u64, HashMap<u64, u64>> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                let slide = capability.time() / SLIDE * SLIDE;
                for end in (slide + SLIDE..=slide + WIDTH).step_by(SLIDE as usize) {
                    ends.entry(end).or_insert_with(|| capability.delayed(&end));
                }
                let counts = slides.entry(slide).or_default();
                batches.flat_map(|batch| batch.drain(..)).for_each(|bid| *counts.entry(bid.auction).or_default() += 1);
            });
            while let Some(entry) = ends.first_entry().filter(|entry| !frontier.less_than(entry.key())) {
                let (end, capability) = entry.remove_entry();
                let mut counts: HashMap<u64, u64> = HashMap::new();
                for (auction, bids) in slides.range(end.saturating_sub(WIDTH)..end).flat_map(|(_, counts)| counts) {
                    *counts.entry(*auction).or_default() += bids;
                }
                let rows = counts.into_iter().map(|(auction, bids)| (end, auction, bids));
                output.session(&capability).give_iterator(rows.max_by_key(heat).into_iter());
                slides = slides.split_off(&(end + SLIDE).saturating_sub(WIDTH));
            }
        }
    });
    hottest_here.unary_frontier(Exchange::new(|row: &Row| row.0 / SLIDE), "Hottest", |_, _| {
        let mut hottest: BTreeMap<u64, (Capability<u64>, Row)> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each_stamp(|capability, batches| {
                let Some(capability) = capability.retain_least(output.output_index()) else { return };
                let Some(row) = batches.flat_map(|batch| batch.drain(..)).max_by_key(heat) else { return };
                let (_, best) = hottest.entry(row.0).or_insert((capability, row));
                *best = max_by_key(row, *best, heat);
            });
            while let Some(entry) = hottest.first_entry().filter(|entry| !frontier.less_equal(entry.key())) {
                let (capability, row) = entry.remove();
                output.session(&capability).give(row);
            }
        }
    })
}

pub fn thalweg<'scope>(inputs: Inputs<'scope>, keys: &Keys<'scope>) -> Result<StreamVec<'scope, u64, Row>, Error> {
    let bids = inputs.bids.rebalance(&keys.of("auctions")?, |bid| stable_hash(&bid.auction))?;
    let windows = bids.windowed(Windows::sliding(WIDTH, SLIDE)?, |bid| bid.date_time, Late::Drop);
    let rows = windows.count(|bid| bid.auction).map(|(window, auction, bids)| (window.end, auction, bids));
    let by_window = rows.rebalance(&keys.of("windows")?, |row| stable_hash(&row.0))?;
    let hottest = by_window.top_k(1, |row| row.0, |row| (heat(&row), row));
    Ok(hottest.flat_map(|(_, rows)| rows.into_iter().map(|(_, row)| row)))
}
