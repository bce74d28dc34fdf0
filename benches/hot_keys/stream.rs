#[path = "../../examples/common/random.rs"]
mod random;

use thalweg::stable_hash;

use random::Random;

/// Keys, in the order of their routing keys.
pub const KEYS: usize = 200_000;

/// The hottest keys, which are others after each redraw.
const HOT: usize = 1_000;

/// Records whose keys follow a Zipf distribution.
pub struct Stream {
    /// By key, ascending.
    pub routing: Vec<u64>,
    /// Keys, hottest first.
    by_rank: Vec<u32>,
    alias: Alias,
    random: Random,
}

impl Stream {
    pub fn new(exponent: f64, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut routing: Vec<u64> = (0..KEYS as u64).map(|key| stable_hash(&(seed, key))).collect();
        routing.sort_unstable();
        let mut by_rank: Vec<u32> = (0..KEYS as u32).collect();
        (1..KEYS).for_each(|rank| by_rank.swap(rank, random.index(rank + 1)));
        let weights: Vec<f64> = (0..KEYS).map(|rank| (rank as f64 + 1.0).powf(-exponent)).collect();
        Stream { routing, by_rank, alias: Alias::new(&weights), random }
    }

    /// Other keys become the hottest.
    pub fn redraw(&mut self) {
        for rank in 0..HOT {
            let other = HOT + self.random.index(KEYS - HOT);
            self.by_rank.swap(rank, other);
        }
    }

    /// The keys of so many records.
    pub fn epoch(&mut self, records: usize) -> Vec<u32> {
        let Stream { by_rank, alias, random, .. } = self;
        (0..records).map(|_| by_rank[alias.draw(random)]).collect()
    }
}

/// Draws from a distribution in constant time (Walker, "An efficient method for generating discrete random variables",
/// 1977).
struct Alias {
    /// How likely a place stands for itself, and what it stands for else.
    places: Vec<(f64, u32)>,
}

impl Alias {
    fn new(weights: &[f64]) -> Self {
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let mut places: Vec<(f64, u32)> =
            weights.iter().zip(0..).map(|(weight, place)| (weight / mean, place)).collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            (0..weights.len() as u32).partition(|place| places[*place as usize].0 < 1.0);
        while let (Some(few), Some(many)) = (small.pop(), large.pop()) {
            let left = places[many as usize].0 - (1.0 - places[few as usize].0);
            (places[few as usize].1, places[many as usize].0) = (many, left);
            if left < 1.0 { small.push(many) } else { large.push(many) }
        }
        Alias { places }
    }

    fn draw(&self, random: &mut Random) -> usize {
        let place = random.index(self.places.len());
        let (itself, other) = self.places[place];
        if random.unit() < itself { place } else { other as usize }
    }
}
