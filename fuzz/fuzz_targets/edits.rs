//! Changes of bytes that are in order, so that what is behind their checks is reached too.

/// Takes some bytes from the front of the input.
pub fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*taken)
}

/// Changes bytes as the input says: four bytes for each change.
pub fn edit(bytes: &mut Vec<u8>, mut input: &[u8]) {
    while let Some([kind, low, high, value]) = take(&mut input) {
        let at = usize::from(u16::from_le_bytes([low, high])) % (bytes.len() + 1);
        match kind % 4 {
            0 => bytes.insert(at, value),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            _ => bytes[at..].iter_mut().take(1).for_each(|byte| *byte = value),
        }
    }
}
