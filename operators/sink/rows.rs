use serde::{Deserialize, Serialize};

/// Rows of an epoch, as they are to be written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Rows {
    pub epoch: u64,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Rows {
    pub fn new(epoch: u64) -> Self {
        Rows { epoch, ..Rows::default() }
    }

    /// Adds what `encode` appends, if it does.
    pub fn push<E>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        encode(&mut self.bytes)?;
        if self.bytes.len() > self.ends.last().copied().unwrap_or(0) {
            self.ends.push(self.bytes.len());
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.bytes[begin..*end])
    }
}

/// All rows in order of their bytes: the same, however they came here.
pub(super) fn sorted(parts: &[Rows]) -> Vec<u8> {
    let mut rows: Vec<&[u8]> = parts.iter().flat_map(Rows::iter).collect();
    rows.sort_unstable();
    rows.concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_the_same_however_they_are_divided(
            rows: Vec<Vec<u8>>, cuts in prop::collection::vec(0..4usize, 0..50),
        ) {
            let mut parts: Vec<Rows> = (0..4).map(|_| Rows::new(7)).collect();
            for (row, part) in rows.iter().zip(cuts.into_iter().chain(std::iter::repeat(0))) {
                parts[part].push(|bytes| { bytes.extend_from_slice(row); Ok::<_, ()>(()) }).unwrap();
            }
            let mut expected = rows.clone();
            expected.sort();
            prop_assert_eq!(sorted(&parts), expected.concat());
            prop_assert_eq!(parts.iter().all(Rows::is_empty), rows.iter().all(Vec::is_empty));
        }
    }
}
