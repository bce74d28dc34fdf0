//! Events made up from a seed, each from its number alone, so that any worker can make any share of them.
//!
//! Proportions, ids and ratios are the benchmark's. The `nexmark` crate has them too, but its hot keys change every 100
//! people or auctions whatever is set, its times are `f32`, which from event 2^24 on can't tell neighbours apart,
//! and it never gets past the first of its rates; here hot keys stay for a number of events that is a parameter.

#[path = "../common/random.rs"]
mod random;

use crate::event::{Auction, Bid, Event, Person};
use random::Random;

/// Of so many events, one is a person, three are auctions, and the others bids.
const ROUND: u64 = 50;
const PEOPLE: u64 = 1;
const AUCTIONS: u64 = 3;
const BIDS_FROM: u64 = PEOPLE + AUCTIONS;

const FIRST_PERSON: u64 = 1000;
const FIRST_AUCTION: u64 = 1000;
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;

/// Who isn't hot is one of so many that came last, or of so many that come next.
const ACTIVE_PEOPLE: u64 = 1000;
const ID_LEAD: u64 = 10;

/// One in so many bids is for another auction than the hot one, and so on.
const HOT_AUCTION_RATIO: u64 = 2;
const HOT_SELLER_RATIO: u64 = 4;
const HOT_BIDDER_RATIO: u64 = 4;
const HOT_CHANNEL_RATIO: u64 = 2;

/// Milliseconds that an auction is open in the mean. The benchmark keeps 100 auctions open whatever the rate, which at
/// 100,000 events per second would be 17 ms each.
const AUCTION_LENGTH: u64 = 500;

/// Bytes that events have in the mean.
const PERSON_SIZE: u64 = 200;
const AUCTION_SIZE: u64 = 500;
const BID_SIZE: u64 = 100;

const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const CITIES: [(&str, &str); 10] = [
    ("Phoenix", "AZ"),
    ("Los Angeles", "CA"),
    ("San Francisco", "CA"),
    ("Boise", "ID"),
    ("Portland", "OR"),
    ("Bend", "OR"),
    ("Redmond", "WA"),
    ("Seattle", "WA"),
    ("Kent", "WA"),
    ("Cheyenne", "WY"),
];
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// The numbers of an event: those of neighbours have nothing in common.
fn numbers_of(seed: u64, number: u64) -> Random {
    let mut random = Random(seed.wrapping_add(number.wrapping_mul(Random::GAMMA)));
    Random(random.next())
}

fn one_of<T: Copy>(values: &[T], random: &mut Random) -> T {
    values[random.index(values.len())]
}

/// From 100 cents to a million times that: as many of each magnitude.
fn price(random: &mut Random) -> u64 {
    let magnitude = 10u64.pow(random.below(6) as u32) * 100;
    magnitude + random.below(magnitude * 9)
}

/// Makes up the events.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
    rate: u64,
    hot_dwell: u64,
    /// Auctions that are open at a time, about.
    open_auctions: u64,
    /// From which texts are cut: cheaper than making each up.
    letters: String,
}

impl Generator {
    const LETTERS: u64 = 1 << 14;

    /// With so many events per second, and hot keys that change every `hot_dwell` events.
    pub fn new(seed: u64, rate: u64, hot_dwell: u64) -> Self {
        let mut random = numbers_of(seed, u64::MAX);
        let letters = (0..Self::LETTERS).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
        let open_auctions = (rate * AUCTIONS * AUCTION_LENGTH / (ROUND * 1000)).max(1);
        Generator { seed, rate, hot_dwell, open_auctions, letters }
    }

    /// The time of an event, in milliseconds from the start.
    pub fn time(&self, number: u64) -> u64 {
        number * 1000 / self.rate
    }

    /// The first event at or after a time.
    pub fn first_at(&self, time: u64) -> u64 {
        (time * self.rate).div_ceil(1000)
    }

    /// The event with this number, from 0.
    pub fn event(&self, number: u64) -> Event {
        let random = &mut numbers_of(self.seed, number);
        match number % ROUND {
            0..PEOPLE => Event::Person(self.person(number, random)),
            PEOPLE..BIDS_FROM => Event::Auction(self.auction(number, random)),
            _ => Event::Bid(self.bid(number, random)),
        }
    }

    fn person(&self, number: u64, random: &mut Random) -> Person {
        let name = format!("{} {}", one_of(&FIRST_NAMES, random), one_of(&LAST_NAMES, random));
        let email_address = format!("{}@{}.com", self.text(7, random), self.text(5, random));
        let mut digits = || random.below(10_000);
        let credit_card = format!("{:04} {:04} {:04} {:04}", digits(), digits(), digits(), digits());
        let (city, state) = one_of(&CITIES, random);
        let size = 16 + name.len() + email_address.len() + credit_card.len() + city.len() + state.len();
        Person {
            id: FIRST_PERSON + last_person(number),
            name,
            email_address,
            credit_card,
            city: city.to_owned(),
            state: state.to_owned(),
            date_time: self.time(number),
            extra: self.filler(size, PERSON_SIZE, random),
        }
    }

    fn auction(&self, number: u64, random: &mut Random) -> Auction {
        let (item_name, description) = (self.text(20, random), self.text(100, random));
        let initial_bid = price(random);
        let date_time = self.time(number);
        let expires = date_time + 1 + random.below(2 * AUCTION_LENGTH);
        let seller = match random.below(HOT_SELLER_RATIO) {
            0 => active_person(number, random),
            _ => last_person(self.reign(number)),
        };
        let size = 64 + item_name.len() + description.len();
        Auction {
            id: FIRST_AUCTION + last_auction(number),
            item_name,
            description,
            initial_bid,
            reserve: initial_bid + price(random),
            date_time,
            expires: expires.max(self.hot_until(number)),
            seller: FIRST_PERSON + seller,
            category: FIRST_CATEGORY + random.below(CATEGORIES),
            extra: self.filler(size, AUCTION_SIZE, random),
        }
    }

    fn bid(&self, number: u64, random: &mut Random) -> Bid {
        let auction = match random.below(HOT_AUCTION_RATIO) {
            0 => self.recent_auction(number, random),
            _ => last_auction(self.reign(number)),
        };
        // The person after the hot seller, so that they are not the same.
        let bidder = match random.below(HOT_BIDDER_RATIO) {
            0 => active_person(number, random),
            _ => last_person(self.reign(number)) + 1,
        };
        let price = price(random);
        let channel = match random.below(HOT_CHANNEL_RATIO) {
            0 => format!("channel-{}", random.below(10_000)),
            _ => one_of(&HOT_CHANNELS, random).to_owned(),
        };
        let url = format!("https://www.nexmark.com/{}/item.htm?query=1", self.text(5, random));
        let size = 32 + channel.len() + url.len();
        Bid {
            auction: FIRST_AUCTION + auction,
            bidder: FIRST_PERSON + bidder,
            price,
            channel,
            url,
            date_time: self.time(number),
            extra: self.filler(size, BID_SIZE, random),
        }
    }

    /// The event by which the keys that are hot now were chosen.
    fn reign(&self, number: u64) -> u64 {
        number - number % self.hot_dwell
    }

    /// Until when the auction that this event opens is hot, if it ever is: a hot auction is open.
    fn hot_until(&self, number: u64) -> u64 {
        let reigns = [self.reign(number), self.reign(number) + self.hot_dwell];
        let own = reigns.into_iter().filter(|reign| last_auction(*reign) == last_auction(number));
        own.map(|reign| self.time(reign + self.hot_dwell)).max().unwrap_or(0)
    }

    fn recent_auction(&self, number: u64, random: &mut Random) -> u64 {
        let last = last_auction(number);
        let first = last.saturating_sub(self.open_auctions);
        first + random.below(last - first + 1 + ID_LEAD)
    }

    fn text(&self, length: u64, random: &mut Random) -> String {
        let start = random.below(Self::LETTERS - length) as usize;
        self.letters[start..start + length as usize].to_owned()
    }

    /// What brings an event to about its mean size, give or take a fifth.
    fn filler(&self, size: usize, mean: u64, random: &mut Random) -> String {
        let missing = mean.saturating_sub(size as u64);
        self.text(missing * 4 / 5 + random.below(missing * 2 / 5 + 1), random)
    }
}

/// The last person there is at an event, from 0.
fn last_person(number: u64) -> u64 {
    number / ROUND * PEOPLE
}

/// The last auction there is at an event, from 0; before the first one, the one that comes.
fn last_auction(number: u64) -> u64 {
    let (round, offset) = (number / ROUND, number % ROUND);
    if offset < PEOPLE {
        (round * AUCTIONS).saturating_sub(1)
    } else {
        round * AUCTIONS + (offset - PEOPLE).min(AUCTIONS - 1)
    }
}

fn active_person(number: u64, random: &mut Random) -> u64 {
    let people = last_person(number) + 1;
    let active = people.min(ACTIVE_PEOPLE);
    people - active + random.below(active + ID_LEAD)
}
