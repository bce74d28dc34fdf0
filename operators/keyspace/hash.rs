use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

/// Fixed for ever: routing keys are written into checkpoints.
const SECRETS: RapidSecrets = RapidSecrets::seed_cpp(0);

/// The routing key of a value: the same in every process, on every platform, in every build.
///
/// It is rapidhash v3 over the value's little-endian bytes, whose output its authors promise not to
/// change. `std::hash::Hash` makes no such promise about the bytes it feeds, so this has its own
/// trait. A tuple's hash is taken over the hashes of its fields.
///
/// ```
/// use thalweg::stable_hash;
///
/// assert_eq!(stable_hash("Embarcadero"), stable_hash(&String::from("Embarcadero")));
/// assert_ne!(stable_hash(&("ab", "c")), stable_hash(&("a", "bc")));
/// ```
#[inline]
pub fn stable_hash<K: StableHash + ?Sized>(key: &K) -> u64 {
    key.stable_hash()
}

/// A value with a hash that never changes. See [`stable_hash`].
pub trait StableHash {
    /// The hash.
    fn stable_hash(&self) -> u64;
}

#[inline]
fn hash_bytes(bytes: &[u8]) -> u64 {
    rapidhash_v3_seeded(bytes, &SECRETS)
}

macro_rules! integers {
    ($($integer:ty),*) => { $(
        impl StableHash for $integer {
            #[inline]
            fn stable_hash(&self) -> u64 { hash_bytes(&self.to_le_bytes()) }
        }
    )* };
}
integers!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128);

impl StableHash for usize {
    #[inline]
    fn stable_hash(&self) -> u64 {
        (*self as u64).stable_hash()
    }
}

impl StableHash for isize {
    #[inline]
    fn stable_hash(&self) -> u64 {
        (*self as i64).stable_hash()
    }
}

impl StableHash for bool {
    #[inline]
    fn stable_hash(&self) -> u64 {
        u8::from(*self).stable_hash()
    }
}

impl StableHash for char {
    #[inline]
    fn stable_hash(&self) -> u64 {
        u32::from(*self).stable_hash()
    }
}

impl StableHash for str {
    #[inline]
    fn stable_hash(&self) -> u64 {
        hash_bytes(self.as_bytes())
    }
}

impl StableHash for String {
    #[inline]
    fn stable_hash(&self) -> u64 {
        self.as_str().stable_hash()
    }
}

impl StableHash for [u8] {
    #[inline]
    fn stable_hash(&self) -> u64 {
        hash_bytes(self)
    }
}

impl StableHash for Vec<u8> {
    #[inline]
    fn stable_hash(&self) -> u64 {
        hash_bytes(self)
    }
}

impl<K: StableHash + ?Sized> StableHash for &K {
    #[inline]
    fn stable_hash(&self) -> u64 {
        (**self).stable_hash()
    }
}

impl<K: StableHash> StableHash for Option<K> {
    #[inline]
    fn stable_hash(&self) -> u64 {
        match self {
            None => hash_bytes(&[]),
            Some(key) => (key,).stable_hash(),
        }
    }
}

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name: StableHash),+> StableHash for ($($name,)+) {
            #[inline]
            fn stable_hash(&self) -> u64 {
                #[allow(non_snake_case)]
                let ($($name,)+) = self;
                let hashes = [$($name.stable_hash()),+];
                let mut bytes = [0; 8 * [$(stringify!($name)),+].len()];
                for (slot, hash) in bytes.chunks_exact_mut(8).zip(hashes) {
                    slot.copy_from_slice(&hash.to_le_bytes());
                }
                hash_bytes(&bytes)
            }
        }
    };
}
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden values: if one changes, every checkpoint ever written is unreadable.
    #[test]
    fn the_hash_never_changes() {
        assert_eq!(stable_hash(&0u64), GOLDEN[0]);
        assert_eq!(stable_hash(&u64::MAX), GOLDEN[1]);
        assert_eq!(stable_hash(""), GOLDEN[2]);
        assert_eq!(stable_hash("thalweg"), GOLDEN[3]);
        assert_eq!(stable_hash(&(7u32, "river")), GOLDEN[4]);
        assert_eq!(stable_hash(&Some(-1i64)), GOLDEN[5]);
    }

    const GOLDEN: [u64; 6] = [
        0x9efc171aebcea1f3,
        0x8a185fbd8550916d,
        0x0338dc4be2cecdae,
        0x46879ec6186fb021,
        0x04e9e49b44d66f07,
        0xd3259c77ee6f13f1,
    ];
}
