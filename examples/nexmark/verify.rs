//! Whether two programs had the same output.
//!
//! Rows are compared over the whole run, each as often as it occurs. Every row begins with the event time that it is
//! about, so that nothing is lost by not comparing when it came out: that is a matter of latency.

use std::cmp::Ordering;
use std::fmt::Debug;

/// Differences that are shown.
pub const SHOWN: usize = 5;

/// What one has and the other does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Rows that only the plain program has, and rows that only the other one has.
    pub only: [u64; 2],
    /// The first of them.
    pub first: Vec<String>,
}

impl Differences {
    /// Between the rows of the plain program and those of the other.
    pub fn between<R: Ord + Debug>(mut plain: Vec<R>, mut thalweg: Vec<R>) -> Self {
        plain.sort_unstable();
        thalweg.sort_unstable();
        let mut differences = Differences::default();
        let (mut left, mut right) = (plain.iter().peekable(), thalweg.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (Some(l), Some(r)) => l.cmp(r),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return differences,
            };
            let left = left.next_if(|_| order.is_le());
            let right = right.next_if(|_| order.is_ge());
            match (left, right) {
                (Some(row), None) => differences.note(0, "plain", row),
                (None, Some(row)) => differences.note(1, "thalweg", row),
                _ => {}
            }
        }
    }

    fn note(&mut self, side: usize, name: &str, row: &impl Debug) {
        self.only[side] += 1;
        if self.first.len() < SHOWN {
            self.first.push(format!("only {name}: {row:?}"));
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.only == [0, 0]
    }
}
