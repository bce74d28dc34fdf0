//! The plain queries of the `nexmark` example against what their definitions say of all events at once.

#![allow(dead_code)]

#[path = "../examples/nexmark/arguments.rs"]
mod arguments;
#[path = "../examples/nexmark/closed.rs"]
mod closed;
#[path = "../examples/nexmark/event.rs"]
mod event;
#[path = "../examples/nexmark/generate.rs"]
mod generate;
#[path = "../examples/nexmark/latency.rs"]
mod latency;
#[path = "../examples/nexmark/migrate.rs"]
mod migrate;
#[path = "../examples/nexmark/q1.rs"]
mod q1;
#[path = "../examples/nexmark/q2.rs"]
mod q2;
#[path = "../examples/nexmark/q3.rs"]
mod q3;
#[path = "../examples/nexmark/q4.rs"]
mod q4;
#[path = "../examples/nexmark/q5.rs"]
mod q5;
#[path = "../examples/nexmark/q6.rs"]
mod q6;
#[path = "../examples/nexmark/q7.rs"]
mod q7;
#[path = "../examples/nexmark/q8.rs"]
mod q8;
#[path = "../examples/nexmark/run.rs"]
mod run;
#[path = "../examples/nexmark/verify.rs"]
mod verify;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use clap::Parser;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::Inspect;

use arguments::Arguments;
use event::{Auction, Bid, Event, Inputs, Person};
use generate::Generator;
use run::Row;
use verify::Differences;

#[derive(Default)]
struct Events {
    people: Vec<Person>,
    auctions: Vec<Auction>,
    bids: Vec<Bid>,
}

fn events(arguments: &Arguments) -> Events {
    let generator = Generator::new(arguments.seed, arguments.rate, arguments.hot_dwell);
    let mut events = Events::default();
    for number in 0..generator.first_at(arguments.ticks()) {
        match generator.event(number) {
            Event::Person(person) => events.people.push(person),
            Event::Auction(auction) => events.auctions.push(auction),
            Event::Bid(bid) => events.bids.push(bid),
        }
    }
    events
}

fn arguments() -> Arguments {
    let line = "nexmark -q 1 --workers 3 --rate 3000 --duration 2 --hot-dwell 2000 --epoch 50 --verify";
    Arguments::try_parse_from(line.split(' ')).unwrap()
}

/// Runs it on three workers, and compares.
fn check<R: Row, P>(query: P, expected: impl FnOnce(&Events) -> Vec<R>)
where
    P: for<'scope> Fn(Inputs<'scope>) -> StreamVec<'scope, u64, R> + Send + Sync + 'static,
{
    let arguments = arguments();
    let mut outcome = run::run(&arguments, move |inputs| Ok(query(inputs))).unwrap();
    let mut expected = expected(&events(&arguments));
    outcome.rows.sort_unstable();
    expected.sort_unstable();
    assert!(!expected.is_empty());
    assert_eq!(outcome.rows, expected);
    let measured: u64 = outcome.latencies.windows().iter().map(hdrhistogram::Histogram::len).sum();
    assert_eq!((outcome.count, measured), (expected.len() as u64, 2000));
}

#[test]
fn q1_has_the_price_of_each_bid_in_euros() {
    check(q1::plain, |events| {
        events.bids.iter().map(|bid| (bid.date_time, bid.auction, bid.bidder, bid.price * 89 / 100)).collect()
    });
}

#[test]
fn q2_has_the_bids_for_each_123rd_auction() {
    check(q2::plain, |events| {
        let wanted = events.bids.iter().filter(|bid| bid.auction % 123 == 0);
        wanted.map(|bid| (bid.date_time, bid.auction, bid.price)).collect()
    });
}

#[test]
fn q3_has_each_auction_of_category_10_with_its_seller_near_by() {
    check(q3::plain, |events| {
        let pairs =
            events.auctions.iter().flat_map(|auction| events.people.iter().map(move |person| (auction, person)));
        pairs
            .filter(|(auction, person)| auction.seller == person.id && auction.category == 10)
            .filter(|(_, person)| ["OR", "ID", "CA"].contains(&&*person.state))
            .map(|(auction, person)| {
                let time = auction.date_time.max(person.date_time);
                (time, person.name.clone(), person.city.clone(), person.state.clone(), auction.id)
            })
            .collect()
    });
}

/// The auctions that were sold, with their prices, in the order in which they closed.
fn sold(events: &Events) -> Vec<(&Auction, u64)> {
    let price = |auction: &Auction| {
        let good = events.bids.iter().filter(|bid| bid.auction == auction.id && bid.price >= auction.reserve);
        good.filter(|bid| bid.date_time >= auction.date_time && bid.date_time < auction.expires)
            .map(|bid| bid.price)
            .max()
    };
    let mut sold: Vec<_> =
        events.auctions.iter().filter_map(|auction| price(auction).map(|price| (auction, price))).collect();
    sold.sort_by_key(|(auction, _)| (auction.expires, auction.id));
    sold
}

/// For each key and end of a period in which some were sold: the mean of the last `most` until then.
fn means(events: &Events, key: impl Fn(&Auction) -> u64, most: usize) -> Vec<(u64, u64, u64)> {
    let mut prices: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut rows: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for (auction, price) in sold(events) {
        let prices = prices.entry(key(auction)).or_default();
        prices.push(price);
        let last = &prices[prices.len().saturating_sub(most)..];
        rows.insert(((auction.expires / 50 + 1) * 50, key(auction)), last.iter().sum::<u64>() / last.len() as u64);
    }
    rows.into_iter().map(|((end, key), mean)| (end, key, mean)).collect()
}

#[test]
fn q4_has_the_mean_price_of_each_category() {
    check(|inputs| q4::plain(inputs, 50), |events| means(events, |auction| auction.category, usize::MAX));
}

#[test]
fn q6_has_the_mean_price_of_the_last_ten_items_of_each_seller() {
    check(|inputs| q6::plain(inputs, 50), |events| means(events, |auction| auction.seller, 10));
}

#[test]
fn q5_has_the_auction_with_most_bids_of_each_window() {
    check(q5::plain, |events| {
        let hottest = |end: u64| {
            let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
            let bids = events.bids.iter().filter(|bid| (end.saturating_sub(1000)..end).contains(&bid.date_time));
            bids.for_each(|bid| *counts.entry(bid.auction).or_default() += 1);
            let (auction, bids) = counts.into_iter().max_by_key(|(auction, bids)| (*bids, Reverse(*auction)))?;
            Some((end, auction, bids))
        };
        (200..5000).step_by(200).filter_map(hottest).collect()
    });
}

#[test]
fn q7_has_the_highest_bid_of_each_window() {
    check(q7::plain, |events| {
        let highest = |end: u64| {
            let bids = events.bids.iter().filter(|bid| (end - 1000..end).contains(&bid.date_time));
            let best = bids.max_by_key(|bid| (bid.price, Reverse((bid.date_time, bid.auction, bid.bidder))))?;
            Some((end, best.price, best.date_time, best.auction, best.bidder))
        };
        (1000..5000).step_by(1000).filter_map(highest).collect()
    });
}

#[test]
fn q8_has_who_joined_and_sold_in_the_same_window() {
    check(q8::plain, |events| {
        let pairs =
            events.auctions.iter().flat_map(|auction| events.people.iter().map(move |person| (auction, person)));
        pairs
            .filter(|(auction, person)| auction.seller == person.id)
            .filter(|(auction, person)| auction.date_time / 1000 == person.date_time / 1000)
            .map(|(auction, person)| ((person.date_time / 1000 + 1) * 1000, person.id, person.name.clone(), auction.id))
            .collect()
    });
}

#[test]
fn a_panic_in_one_worker_ends_all() {
    let outcome = run::run(&arguments(), |inputs| {
        let worker = inputs.bids.scope().index();
        Ok(inputs.bids.inspect(move |bid| assert!(worker != 1 || bid.date_time < 100, "for the test")))
    });
    assert!(outcome.unwrap_err().to_string().contains("a worker has panicked"));
}

#[test]
fn differences_are_what_only_one_of_them_has() {
    let differences = Differences::between(vec![3, 1, 2, 2], vec![2, 3, 1, 2]);
    assert!(differences.is_empty() && differences.first.is_empty());
    let differences = Differences::between(vec![5, 1, 2, 2], vec![2, 3, 5, 4, 4]);
    assert_eq!(differences.only, [2, 3]);
    let first = ["only plain: 1", "only plain: 2", "only thalweg: 3", "only thalweg: 4", "only thalweg: 4"];
    assert_eq!(differences.first, first);
}
