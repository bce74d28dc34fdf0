//! Words of eight bytes, transposed: the first bytes of all words, then all second ones, and so on. Columns of numbers
//! compress better so, and in half of the time: their upper bytes are mostly alike, and lie together. Pure.

const WORD: usize = 8;

/// What comes before the first word of bytes that end with one.
fn head(bytes: usize) -> usize {
    bytes % WORD
}

/// Transposes the words that these bytes end with, in the place of what is in `transposed`. What is before the first
/// one stays there.
pub(super) fn transpose(bytes: &[u8], transposed: &mut Vec<u8>) {
    let (head, words) = bytes.split_at(head(bytes.len()));
    transposed.resize(bytes.len(), 0);
    let (start, planes) = transposed.split_at_mut(head.len());
    start.copy_from_slice(head);
    let words = words.as_chunks::<WORD>().0;
    let (length, (squares, rest)) = (words.len(), words.as_chunks::<WORD>());
    for (square, words) in squares.iter().enumerate() {
        let rows = transposed_square(words.map(u64::from_le_bytes));
        for (place, row) in rows.into_iter().enumerate() {
            let at = place * length + square * WORD;
            planes[at..at + WORD].copy_from_slice(&row.to_le_bytes());
        }
    }
    for (at, word) in (length - rest.len()..).zip(rest) {
        word.iter().enumerate().for_each(|(place, byte)| planes[place * length + at] = *byte);
    }
}

/// Undoes [`transpose`].
pub(super) fn restored(transposed: &[u8]) -> Vec<u8> {
    let (head, planes) = transposed.split_at(head(transposed.len()));
    let mut bytes = head.to_vec();
    bytes.resize(transposed.len(), 0);
    let words = bytes[head.len()..].as_chunks_mut::<WORD>().0;
    let length = words.len();
    let (squares, rest) = words.as_chunks_mut::<WORD>();
    for (square, words) in squares.iter_mut().enumerate() {
        let row = |place| {
            let at = place * length + square * WORD;
            planes[at..].first_chunk().map_or(0, |row| u64::from_le_bytes(*row))
        };
        *words = transposed_square(std::array::from_fn(row)).map(u64::to_le_bytes);
    }
    for (at, word) in (length - rest.len()..).zip(rest) {
        word.iter_mut().enumerate().for_each(|(place, byte)| *byte = planes[place * length + at]);
    }
    bytes
}

/// Transposes eight words of eight bytes: by halves, quarters and eighths.
fn transposed_square(mut rows: [u64; WORD]) -> [u64; WORD] {
    const MASKS: [u64; 3] = [0x0000_0000_ffff_ffff, 0x0000_ffff_0000_ffff, 0x00ff_00ff_00ff_00ff];
    for (step, mask) in [4, 2, 1].into_iter().zip(MASKS) {
        for row in (0..WORD).filter(|row| row & step == 0) {
            let differs = (rows[row] >> (8 * step) ^ rows[row + step]) & mask;
            rows[row] ^= differs << (8 * step);
            rows[row + step] ^= differs;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn transposed(bytes: &[u8]) -> Vec<u8> {
        // What is there before makes no difference.
        let mut transposed = vec![3; 50];
        transpose(bytes, &mut transposed);
        transposed
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(restored(&transposed(&bytes)), bytes);
        }

        #[test]
        fn each_byte_comes_to_its_plane(words in prop::collection::vec(any::<u64>(), 0..40)) {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let planes = (0..WORD).flat_map(|place| words.iter().map(move |word| word.to_le_bytes()[place]));
            prop_assert_eq!(transposed(&bytes), planes.collect::<Vec<u8>>());
        }
    }

    #[test]
    fn bytes_of_one_place_lie_together() {
        let bytes = [&[9, 9][..], &7u64.to_le_bytes(), &0x0108u64.to_le_bytes()].concat();
        assert_eq!(transposed(&bytes)[..6], [9, 9, 7, 8, 0, 1]);
    }
}
