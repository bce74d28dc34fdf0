//! What is replayed, and what is kept per key.

use columnar::Columnar;
use serde::{Deserialize, Serialize};

use crate::decimal::{self, Micros, Refusal};

/// The largest value that is taken, in micro-units: 10^9.
pub const LARGEST_VALUE: i64 = 1_000_000_000_000_000;

/// The value, in micro-units, of a record that has none of its own.
pub const ONE: i64 = 1_000_000;

/// One record of the stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Event {
    /// The key.
    pub key: String,
    /// The value in micro-units, at most [`LARGEST_VALUE`] either way.
    pub value: i64,
}

/// Reads a value: a decimal number of at most 10^9 either way, with at most six decimals.
pub fn parse_value(text: &[u8]) -> Result<i64, Refusal> {
    let value = decimal::parse(text, 6)?;
    if value.abs() > LARGEST_VALUE { Err(Refusal::TooLarge) } else { Ok(value) }
}

/// Count, mean and standard deviation of values: sums of whole numbers, which don't depend on the order of addition.
///
/// A value is less than 2^50 micro-units, so for any number of records below 2^62 the sum stays below 2^112 and the
/// sum of squares below 2^162, which is why that has a second word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Columnar)]
pub struct Moments {
    count: u64,
    sum: i128,
    squares: u128,
    /// How often `squares` has overflowed.
    carry: u64,
}

impl Moments {
    /// Takes one more value.
    pub fn add(&mut self, value: i64) {
        let magnitude = u128::from(value.unsigned_abs());
        self.merge(&Moments { count: 1, sum: value.into(), squares: magnitude * magnitude, carry: 0 });
    }

    /// Takes what another one has seen.
    pub fn merge(&mut self, other: &Moments) {
        let (squares, overflow) = self.squares.overflowing_add(other.squares);
        self.count += other.count;
        self.sum += other.sum;
        self.squares = squares;
        self.carry += other.carry + u64::from(overflow);
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of the values, in micro-units.
    pub fn sum(&self) -> i128 {
        self.sum
    }

    /// The mean, rounded to the nearest micro-unit, halves away from 0; 0 without values.
    pub fn mean(&self) -> Micros {
        let count = u128::from(self.count.max(1));
        let rounded = ((2 * self.sum.unsigned_abs() + count) / (2 * count)) as i64;
        Micros(if self.sum < 0 { -rounded } else { rounded })
    }

    /// The population standard deviation, rounded to the nearest micro-unit; 0 without values.
    pub fn deviation(&self) -> Micros {
        if self.count < 2 {
            return Micros(0);
        }
        let halves = self.fourfold_variance().isqrt();
        Micros(halves.div_ceil(2) as i64)
    }

    /// Four times the variance, rounded down: the square root of it counts half micro-units.
    ///
    /// With `|sum| = q·n + r`, the squares of the distances to `q` sum up to `d = squares − q·(|sum| + r)`, and
    /// the variance is `d/n − (r/n)²`, where nothing large is left to cancel.
    fn fourfold_variance(&self) -> u128 {
        let n = u128::from(self.count);
        let sum = self.sum.unsigned_abs();
        let (q, r) = (sum / n, sum % n);
        let distances = Wide { high: self.carry, low: self.squares }.minus(Wide::product(q as u64, sum + r));
        let (whole, rest) = distances.times_four().divided_by(self.count);
        let (positive, negative) = (u128::from(rest) * n, 4 * r * r);
        whole - negative.saturating_sub(positive).div_ceil(n * n)
    }
}

/// An unsigned whole number of 192 bits.
#[derive(Clone, Copy)]
struct Wide {
    high: u64,
    low: u128,
}

impl Wide {
    fn product(a: u64, b: u128) -> Self {
        let low = u128::from(a) * u128::from(b as u64);
        let middle = u128::from(a) * (b >> 64);
        let (low, overflow) = low.overflowing_add(middle << 64);
        Wide { high: (middle >> 64) as u64 + u64::from(overflow), low }
    }

    fn minus(self, other: Wide) -> Self {
        let (low, borrow) = self.low.overflowing_sub(other.low);
        Wide { high: self.high - other.high - u64::from(borrow), low }
    }

    fn times_four(self) -> Self {
        Wide { high: self.high << 2 | (self.low >> 126) as u64, low: self.low << 2 }
    }

    /// The quotient, if it is below 2^128, and the remainder.
    fn divided_by(self, divisor: u64) -> (u128, u64) {
        let divisor = u128::from(divisor);
        let step = |rest: u128, word: u64| {
            let dividend = rest << 64 | u128::from(word);
            (dividend / divisor, dividend % divisor)
        };
        let (upper, rest) = step(u128::from(self.high) % divisor, (self.low >> 64) as u64);
        let (lower, rest) = step(rest, self.low as u64);
        (upper << 64 | lower, rest as u64)
    }
}
