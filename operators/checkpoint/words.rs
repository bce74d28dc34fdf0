//! Words of eight bytes, transposed: the first bytes of all words, then all second ones, and so on. Columns of numbers
//! compress better so, and in half of the time: their upper bytes are mostly alike, and lie together. Pure.

const WORD: usize = 8;

/// What comes before the first word of bytes that end with one.
fn head(bytes: usize) -> usize {
    bytes % WORD
}

/// Transposes the words that these bytes end with. What is before the first one stays there.
pub(super) fn transposed(bytes: &[u8]) -> Vec<u8> {
    let (head, words) = bytes.split_at(head(bytes.len()));
    let mut transposed = Vec::with_capacity(bytes.len());
    transposed.extend_from_slice(head);
    for place in 0..WORD {
        transposed.extend(words.as_chunks::<WORD>().0.iter().map(|word| word[place]));
    }
    transposed
}

/// Undoes [`transposed`].
pub(super) fn restored(transposed: &[u8]) -> Vec<u8> {
    let (head, planes) = transposed.split_at(head(transposed.len()));
    let mut bytes = head.to_vec();
    bytes.resize(transposed.len(), 0);
    let words = bytes[head.len()..].as_chunks_mut::<WORD>().0;
    for (place, plane) in planes.chunks_exact((planes.len() / WORD).max(1)).enumerate() {
        words.iter_mut().zip(plane).for_each(|(word, byte)| word[place] = *byte);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            prop_assert_eq!(restored(&transposed(&bytes)), bytes);
        }
    }

    #[test]
    fn bytes_of_one_place_lie_together() {
        let bytes = [&[9, 9][..], &7u64.to_le_bytes(), &0x0108u64.to_le_bytes()].concat();
        assert_eq!(transposed(&bytes)[..6], [9, 9, 7, 8, 0, 1]);
    }
}
