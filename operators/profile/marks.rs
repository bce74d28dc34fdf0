/// Some of the numbers from 0 on, few of many: they come back in ascending order without being sorted. Taking them all
/// takes a while for each of them, and for each 4,096 numbers up to the last.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// A bit for each number.
    words: Vec<u64>,
    /// A bit for each word that is not 0.
    filled: Vec<u64>,
    /// Before this one, all of `filled` is 0.
    first_filled: usize,
}

/// Numbers that a word has a bit for.
const BITS: usize = u64::BITS as usize;

impl Marks {
    /// Marks a number.
    pub(super) fn set(&mut self, number: u32) {
        let word = number as usize / BITS;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
            self.filled.resize(word / BITS + 1, 0);
        }
        self.words[word] |= 1 << (number as usize % BITS);
        self.filled[word / BITS] |= 1 << (word % BITS);
        self.first_filled = self.first_filled.min(word / BITS);
    }

    /// The first that is marked.
    pub(super) fn first(&mut self) -> Option<u32> {
        let filled = &self.filled[self.first_filled.min(self.filled.len())..];
        self.first_filled += filled.iter().position(|filled| *filled != 0)?;
        let word = self.first_filled * BITS + self.filled[self.first_filled].trailing_zeros() as usize;
        Some((word * BITS) as u32 + self.words[word].trailing_zeros())
    }

    /// Takes the first mark away, and gives its number.
    pub(super) fn take_first(&mut self) -> Option<u32> {
        let first = self.first()?;
        let word = first as usize / BITS;
        self.words[word] &= self.words[word] - 1;
        if self.words[word] == 0 {
            self.filled[self.first_filled] &= self.filled[self.first_filled] - 1;
        }
        Some(first)
    }

    /// All that is marked, ascending.
    pub(super) fn all(&self) -> Vec<u32> {
        let bits = |(at, word): (u32, &u64)| {
            let word = *word;
            (0..u64::BITS).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * u64::BITS + bit)
        };
        (0..).zip(&self.words).filter(|(_, word)| **word != 0).flat_map(bits).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back_once_and_in_order(rounds in prop::collection::vec(prop::collection::vec(0..20_000u32, 0..99), 1..4)) {
            let mut marks = Marks::default();
            for numbers in rounds {
                numbers.iter().for_each(|number| marks.set(*number));
                let sorted = BTreeSet::from_iter(numbers);
                prop_assert!(marks.all().iter().eq(&sorted));
                for number in sorted {
                    prop_assert_eq!((marks.first(), marks.take_first()), (Some(number), Some(number)));
                }
                prop_assert_eq!((marks.first(), marks.take_first()), (None, None));
            }
        }
    }
}
