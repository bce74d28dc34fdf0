//! The events of the `nexmark` example: the same for ever, in the benchmark's proportions, with hot keys that stay.

#![allow(dead_code)]

#[path = "../examples/nexmark/event.rs"]
mod event;
#[path = "../examples/nexmark/generate.rs"]
mod generate;

use std::collections::{BTreeMap, HashMap};

use event::{Auction, Bid, Event, Person};
use generate::Generator;
use thalweg::stable_hash;

fn events(generator: &Generator, numbers: std::ops::Range<u64>) -> Vec<Event> {
    numbers.map(|number| generator.event(number)).collect()
}

fn parts(events: &[Event]) -> (Vec<&Person>, Vec<&Auction>, Vec<&Bid>) {
    let (mut people, mut auctions, mut bids) = (Vec::new(), Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Person(person) => people.push(person),
            Event::Auction(auction) => auctions.push(auction),
            Event::Bid(bid) => bids.push(bid),
        }
    }
    (people, auctions, bids)
}

#[test]
fn events_depend_on_the_seed_and_their_number_alone() {
    let digest = |seed: u64, numbers: &mut dyn Iterator<Item = u64>| {
        let generator = Generator::new(seed, 10_000, 5_000);
        numbers.fold(0u64, |sum, number| sum.wrapping_add(stable_hash(&format!("{:?}", generator.event(number)))))
    };
    let forth = digest(1, &mut (0..20_000));
    assert_eq!(forth, digest(1, &mut (0..20_000).rev()));
    assert_ne!(forth, digest(2, &mut (0..20_000)));
    assert_eq!(forth, 3609764015749109117, "the events of a seed never change");
}

#[test]
fn kinds_ids_and_sizes_are_the_benchmarks() {
    let events = events(&Generator::new(1, 10_000, 5_000), 0..50_000);
    for round in events.chunks(50) {
        let (people, auctions, bids) = parts(round);
        assert_eq!((people.len(), auctions.len(), bids.len()), (1, 3, 46));
    }
    let (people, auctions, bids) = parts(&events);
    assert!(people.iter().map(|person| person.id).eq(1000..2000));
    assert!(auctions.iter().map(|auction| auction.id).eq(1000..4000));
    assert!(
        auctions.iter().all(|auction| auction.expires > auction.date_time && auction.reserve > auction.initial_bid)
    );
    let size = |bid: &&Bid| 32 + bid.channel.len() + bid.url.len() + bid.extra.len();
    let mean = bids.iter().map(size).sum::<usize>() / bids.len();
    assert!((90..=110).contains(&mean), "{mean}");
}

#[test]
fn times_follow_the_rate() {
    for rate in [7, 1000, 1001, 12_345, 100_000] {
        let generator = Generator::new(1, rate, 5_000);
        assert_eq!((generator.first_at(0), generator.first_at(1000), generator.first_at(60_000)), (0, rate, 60 * rate));
        for number in [0, 1, 2, 3, 999, 1000, 1001, 123_456] {
            let time = generator.time(number);
            assert!((generator.first_at(time)..generator.first_at(time + 1)).contains(&number), "{rate}: {number}");
        }
    }
}

/// The most frequent, and its share in percent.
fn hottest(keys: impl Iterator<Item = u64>) -> (u64, u64) {
    let mut counts: HashMap<u64, u64> = HashMap::new();
    keys.for_each(|key| *counts.entry(key).or_default() += 1);
    let total: u64 = counts.values().sum();
    let (key, most) = counts.into_iter().max_by_key(|(_, count)| *count).unwrap();
    (key, most * 100 / total)
}

#[test]
fn hot_keys_stay_for_their_dwell_time() {
    for dwell in [4_000, 20_000, 50_010] {
        let generator = Generator::new(1, 10_000, dwell);
        let mut expiry: BTreeMap<u64, u64> = BTreeMap::new();
        let mut seen = Vec::new();
        for reign in 0..5 {
            let events = events(&generator, reign * dwell..(reign + 1) * dwell);
            let (_, auctions, bids) = parts(&events);
            expiry.extend(auctions.iter().map(|auction| (auction.id, auction.expires)));
            let (first, second) = bids.split_at(bids.len() / 2);
            for half in [first, second] {
                let (auction, share) = hottest(half.iter().map(|bid| bid.auction));
                assert!((45..=55).contains(&share), "{share} % of bids for auction {auction}");
                assert!(expiry[&auction] >= generator.time((reign + 1) * dwell), "auction {auction} has closed");
                let (bidder, share) = hottest(half.iter().map(|bid| bid.bidder));
                assert!((70..=80).contains(&share), "{share} % of bids by {bidder}");
                seen.push((auction, bidder));
            }
            let (seller, share) = hottest(auctions.iter().map(|auction| auction.seller));
            assert!((65..=85).contains(&share), "{share} % of auctions by {seller}");
            assert_ne!(seller, seen[seen.len() - 1].1, "the hot bidder sells");
        }
        assert!(seen.chunks(2).all(|halves| halves[0] == halves[1]), "{seen:?}");
        seen.dedup();
        assert_eq!(seen.len(), 5, "{seen:?}");
    }
}
