//! How keys and states look as bytes: on their way to another worker, and in the store.
//!
//! | codec           | for                                         | notes                                             |
//! |-----------------|---------------------------------------------|---------------------------------------------------|
//! | [`Columns`]     | `K` and `S` that derive `columnar::Columnar` | the default: compact, and decoded without parsing |
//! | [`Serde`]       | `K` and `S` that are `serde` types          | postcard, whose format is documented and stable   |
//! | `Abomonated`    | `K` and `S` that are `Abomonation`          | behind the feature `abomonation`                  |

use std::marker::PhantomData;

use columnar::bytes::stash::Stash;
use columnar::{Columnar, ContainerOf, Index, Len, Push};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Cause;

/// One key with all that is kept for it: routing key, key, state, the times of its timers, ascending, and what else the
/// library notes of it, in bits: [`FORGOTTEN`], [`GONE`], and others that mean nothing in a checkpoint.
pub type Row<K, S> = (u64, K, S, Vec<u64>, u8);

/// The bit of a row whose key has been forgotten: only its timers keep it.
pub const FORGOTTEN: u8 = 1;

/// The bit of a row that says only that its key is gone.
pub const GONE: u8 = 2;

/// A [`Row`] by reference.
pub type RowRef<'a, K, S> = (u64, &'a K, &'a S, &'a [u64], u8);

/// Encodes rows, and decodes them.
pub trait Codec<K, S>: 'static {
    /// What tells the bytes of this codec from those of others, in checkpoints: another number for each change of the
    /// format. Those below 0x8000 are the library's.
    const ID: u16;

    /// Rows being encoded.
    type Encoder: Default + 'static;

    /// Appends a row.
    fn push(encoder: &mut Self::Encoder, row: RowRef<'_, K, S>);

    /// The bytes that the rows take so far, at least approximately.
    fn length(encoder: &Self::Encoder) -> usize;

    /// The rows' bytes.
    fn finish(encoder: Self::Encoder) -> Vec<u8>;

    /// Gives the rows back in their order. The bytes are those that `finish` gave, or damaged ones.
    fn decode(bytes: Vec<u8>, each: impl FnMut(Row<K, S>)) -> Result<(), Cause>;
}

/// Columns of routing keys, keys, states and timers, by the `columnar` crate.
///
/// Its format holds for one version of `columnar` and one byte order: read a checkpoint with the build that wrote it,
/// or use [`Serde`] where it has to outlive the build.
///
/// # Panics
///
/// Decoding may panic on bytes that this has not encoded, or ask for any amount of memory: `columnar` takes lengths for
/// granted. What is damaged doesn't come as far, since a chunk's checksum, its object's and its manifest's stand before
/// it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Columns;

/// The numbers of columns: of machines whose words begin with the lowest byte, and of others.
const COLUMNS: [u16; 2] = [5, 6];

/// Whether the codec with this number makes words of eight bytes.
pub(crate) fn makes_words(codec: u16) -> bool {
    COLUMNS.contains(&codec)
}

impl<K: Columnar, S: Columnar> Codec<K, S> for Columns {
    const ID: u16 = COLUMNS[cfg!(target_endian = "big") as usize];

    type Encoder = ContainerOf<Row<K, S>>;

    fn push(encoder: &mut Self::Encoder, row: RowRef<'_, K, S>) {
        let (routing, key, state, timers, marks) = row;
        encoder.push((&routing, key, state, timers, &marks));
    }

    fn length(encoder: &Self::Encoder) -> usize {
        columnar::bytes::indexed::length_in_bytes(&columnar::Borrow::borrow(encoder))
    }

    fn finish(encoder: Self::Encoder) -> Vec<u8> {
        let stash: Stash<Self::Encoder, Vec<u8>> = Stash::Typed(encoder);
        let mut bytes = Vec::with_capacity(stash.length_in_bytes());
        stash.write_bytes(&mut bytes).expect("writing to memory can't fail");
        bytes
    }

    fn decode(bytes: Vec<u8>, mut each: impl FnMut(Row<K, S>)) -> Result<(), Cause> {
        let stash: Stash<Self::Encoder, Vec<u8>> = Stash::try_from_bytes(bytes)?;
        let rows = stash.borrow();
        for index in 0..rows.len() {
            each(<Row<K, S> as Columnar>::into_owned(rows.get(index)));
        }
        Ok(())
    }
}

/// Rows one after the other, by `serde` in the format of the `postcard` crate.
///
/// # Panics
///
/// Encoding panics on a key or state that can't be serialised, such as one whose own `Serialize` returns an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serde;

impl<K, S> Codec<K, S> for Serde
where
    K: Serialize + DeserializeOwned + 'static,
    S: Serialize + DeserializeOwned + 'static,
{
    const ID: u16 = 7;

    type Encoder = SerdeEncoder<K, S>;

    fn push(encoder: &mut Self::Encoder, row: RowRef<'_, K, S>) {
        let before = encoder.bytes.len();
        if let Err(error) = postcard::to_io(&row, &mut encoder.bytes) {
            encoder.bytes.truncate(before);
            panic!("a key or state refuses to be serialised: {error}");
        }
    }

    fn length(encoder: &Self::Encoder) -> usize {
        encoder.bytes.len()
    }

    fn finish(encoder: Self::Encoder) -> Vec<u8> {
        encoder.bytes
    }

    fn decode(bytes: Vec<u8>, mut each: impl FnMut(Row<K, S>)) -> Result<(), Cause> {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (row, after) = postcard::take_from_bytes(rest)?;
            each(row);
            rest = after;
        }
        Ok(())
    }
}

/// Rows being encoded by [`Serde`].
#[derive(Debug)]
pub struct SerdeEncoder<K, S> {
    bytes: Vec<u8>,
    rows: PhantomData<fn(K, S)>,
}

impl<K, S> Default for SerdeEncoder<K, S> {
    fn default() -> Self {
        SerdeEncoder { bytes: Vec::new(), rows: PhantomData }
    }
}

#[cfg(feature = "abomonation")]
pub use abomonated::Abomonated;

#[cfg(feature = "abomonation")]
mod abomonated {
    #![allow(unsafe_code)]

    use abomonation::Abomonation;

    use super::{Codec, Row, RowRef};
    use crate::error::Cause;

    /// Columns as they lie in memory, by the `abomonation` crate.
    ///
    /// Why it is opt-in: the crate is unmaintained since 2019 and unsound (RUSTSEC-2021-0120, no patched version):
    /// decoding reinterprets bytes, padding is read, and the layout of Rust types is not fixed between compilers. Bytes
    /// from another build, another machine or a damaged disk are undefined behaviour, and so is a key or state in which
    /// something aligned follows a string. Use it only for state that moves between the workers of one binary and never
    /// for checkpoints that another build might read; [`Columns`](super::Columns) is as fast.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Abomonated;

    const ALIGNMENT: usize = 8;

    impl<K, S> Codec<K, S> for Abomonated
    where
        K: Abomonation + Clone + 'static,
        S: Abomonation + Clone + 'static,
    {
        const ID: u16 = 8;

        /// The columns, and how many bytes lie apart from them.
        type Encoder = (Vec<u64>, Vec<K>, Vec<S>, Vec<Vec<u64>>, Vec<u8>, usize);

        fn push(encoder: &mut Self::Encoder, row: RowRef<'_, K, S>) {
            let (routing, key, state, timers, marks) = row;
            encoder.0.push(routing);
            encoder.1.push(key.clone());
            encoder.2.push(state.clone());
            encoder.3.push(timers.to_vec());
            encoder.4.push(marks);
            encoder.5 += key.extent() + state.extent() + size_of_val(timers);
        }

        fn length(encoder: &Self::Encoder) -> usize {
            encoder.0.len() * size_of::<Row<K, S>>() + encoder.5
        }

        fn finish((routing, keys, states, timers, marks, _): Self::Encoder) -> Vec<u8> {
            let mut bytes = Vec::new();
            write(&routing, &mut bytes);
            write(&keys, &mut bytes);
            write(&states, &mut bytes);
            write(&timers, &mut bytes);
            write(&marks, &mut bytes);
            bytes
        }

        fn decode(mut bytes: Vec<u8>, mut each: impl FnMut(Row<K, S>)) -> Result<(), Cause> {
            let rest = bytes.as_mut_slice();
            let (routing, rest) = read::<u64>(rest)?;
            let (keys, rest) = read::<K>(rest)?;
            let (states, rest) = read::<S>(rest)?;
            let (timers, rest) = read::<Vec<u64>>(rest)?;
            let (marks, _) = read::<u8>(rest)?;
            let rows = routing.iter().zip(keys).zip(states).zip(timers).zip(marks);
            for ((((routing, key), state), timers), marks) in rows {
                each((*routing, key.clone(), state.clone(), timers.clone(), *marks));
            }
            Ok(())
        }
    }

    /// Appends a column behind its length, padded so that the next one is aligned.
    fn write<A: Abomonation>(column: &Vec<A>, bytes: &mut Vec<u8>) {
        let start = bytes.len() + ALIGNMENT;
        bytes.resize(start, 0);
        // SAFETY: none that the compiler could check; see the type's documentation.
        unsafe { abomonation::encode(column, bytes) }.expect("writing to memory can't fail");
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        let length = (bytes.len() - start) as u64;
        bytes[start - ALIGNMENT..start].copy_from_slice(&length.to_ne_bytes());
    }

    fn read<A: Abomonation>(bytes: &mut [u8]) -> Result<(&Vec<A>, &mut [u8]), Cause> {
        let (length, rest) = bytes.split_first_chunk_mut::<ALIGNMENT>().ok_or("the bytes end inside a length")?;
        let length = usize::try_from(u64::from_ne_bytes(*length))?;
        let (column, rest) = rest.split_at_mut_checked(length).ok_or("the bytes end inside a column")?;
        // SAFETY: as above: the bytes come from `write` in this very build.
        let decoded = unsafe { abomonation::decode::<Vec<A>>(column) };
        Ok((decoded.ok_or("the bytes end inside a column")?.0, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Rows = Vec<Row<String, (u64, i64)>>;

    fn round_trip<C: Codec<String, (u64, i64)>>(rows: &Rows) -> Rows {
        let mut encoder = C::Encoder::default();
        for (routing, key, state, timers, marks) in rows {
            C::push(&mut encoder, (*routing, key, state, timers, *marks));
        }
        let mut decoded = Rows::new();
        C::decode(C::finish(encoder), |row| decoded.push(row)).unwrap();
        decoded
    }

    proptest! {
        #[test]
        fn rows_come_back_as_they_were(rows: Rows) {
            prop_assert_eq!(&round_trip::<Columns>(&rows), &rows);
            prop_assert_eq!(&round_trip::<Serde>(&rows), &rows);
            #[cfg(feature = "abomonation")]
            prop_assert_eq!(&round_trip::<Abomonated>(&rows), &rows);
        }
    }

    #[test]
    fn bytes_cut_short_are_an_error() {
        let mut encoder = Default::default();
        <Serde as Codec<u64, String>>::push(&mut encoder, (1, &2, &"three".into(), &[4], 0));
        let mut bytes = <Serde as Codec<u64, String>>::finish(encoder);
        bytes.pop();
        assert!(<Serde as Codec<u64, String>>::decode(bytes, |_| ()).is_err());
    }
}
