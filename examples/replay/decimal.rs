//! Exact decimal fixed point: no floating point, so no rounding and no order of addition to depend on.

use std::fmt;

/// Why a text isn't taken for a fixed-point number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Something else than a sign, digits and one decimal point.
    NotANumber,
    /// It has decimals other than 0 after the last place that is kept.
    TooFine,
    /// It doesn't fit.
    TooLarge,
}

/// Reads a decimal number as a whole number of units of `10^-places`.
pub fn parse(text: &[u8], places: u32) -> Result<i64, Refusal> {
    let text = text.trim_ascii();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (mut magnitude, mut any, mut fine) = (0u64, false, false);
    let (mut point, mut left) = (false, places);
    for &byte in digits {
        match byte {
            b'.' if !point => point = true,
            b'0'..=b'9' if point && left == 0 => (any, fine) = (true, fine || byte != b'0'),
            b'0'..=b'9' => {
                any = true;
                left -= u32::from(point);
                let digit = u64::from(byte - b'0');
                // Stuck at the top, so that a letter further on is still found.
                magnitude = magnitude.checked_mul(10).and_then(|m| m.checked_add(digit)).unwrap_or(u64::MAX);
            }
            _ => return Err(Refusal::NotANumber),
        }
    }
    match magnitude.checked_mul(10u64.pow(left)) {
        _ if !any => Err(Refusal::NotANumber),
        _ if fine => Err(Refusal::TooFine),
        Some(scaled) => signed(negative, scaled).ok_or(Refusal::TooLarge),
        None => Err(Refusal::TooLarge),
    }
}

fn signed(negative: bool, magnitude: u64) -> Option<i64> {
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// A number of millionths, written with six decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub i64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06}", magnitude / 1_000_000, magnitude % 1_000_000)
    }
}
