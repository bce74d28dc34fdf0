//! How a stream is cut into epochs.

use std::fmt;
use std::str::FromStr;

/// What a whole number in the time column counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TimeUnit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

impl TimeUnit {
    /// How many decimals reach down to a nanosecond.
    pub fn places(self) -> u32 {
        match self {
            TimeUnit::S => 9,
            TimeUnit::Ms => 6,
            TimeUnit::Us => 3,
            TimeUnit::Ns => 0,
        }
    }
}

impl fmt::Display for TimeUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimeUnit::S => "s",
            TimeUnit::Ms => "ms",
            TimeUnit::Us => "us",
            TimeUnit::Ns => "ns",
        })
    }
}

/// A length of time: `1h`, `250ms`, `1d12h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    nanos: u64,
}

const UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Span {
    /// One hour.
    pub const HOUR: Span = Span { nanos: 3_600_000_000_000 };

    fn parts(text: &str) -> Option<u64> {
        let mut rest = text.trim();
        let mut nanos = 0u64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let number: u64 = rest[..digits].parse().ok()?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let (_, unit) = UNITS.iter().find(|(name, _)| *name == rest[..letters].trim())?;
            rest = &rest[letters..];
            nanos = nanos.checked_add(number.checked_mul(*unit)?)?;
        }
        (nanos > 0).then_some(nanos)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let nanos = Span::parts(text).ok_or_else(|| {
            "expected a length of time above 0 in ms, s, m, h or d, such as 250ms, 1h or 1d12h".to_string()
        })?;
        Ok(Span { nanos })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.nanos;
        for (name, unit) in UNITS {
            if rest >= unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

/// What an epoch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epochs {
    /// So much event time, counted from the first record; a gap in the stream is a gap in the numbers.
    Span(Span),
    /// So many records.
    Records(u64),
}

impl Epochs {
    /// The epoch of the record at `index`, so many nanoseconds of event time after the first one.
    pub fn number(self, index: u64, nanos: u64) -> u64 {
        match self {
            Epochs::Span(span) => nanos / span.nanos,
            Epochs::Records(records) => index / records,
        }
    }
}

impl fmt::Display for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Epochs::Span(span) => write!(f, "{span}"),
            Epochs::Records(records) => write!(f, "{records} records"),
        }
    }
}
