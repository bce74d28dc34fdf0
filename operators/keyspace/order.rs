use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An order-preserving routing key: `a <= b` implies `ordered_key(a) <= ordered_key(b)`.
///
/// With it a shard is a range of values rather than of hashes, so that neighbours stay together.
/// Narrow types fill the top bits, where [`Assignment`](crate::Assignment) looks first. Values that
/// differ only beyond what 64 bits hold (a string's first eight bytes, nanoseconds) share a routing
/// key; they are still different keys, but always in one shard.
///
/// ```
/// use thalweg::ordered_key;
///
/// assert!(ordered_key(&-1i64) < ordered_key(&0i64));
/// assert!(ordered_key(&-0.5f64) < ordered_key(&1e-300f64));
/// assert!(ordered_key("Castro") < ordered_key("Caltrain Station") || "Castro" > "Caltrain Station");
/// ```
#[inline]
pub fn ordered_key<K: OrderedKey + ?Sized>(key: &K) -> u64 {
    key.ordered_key()
}

/// A value with an order-preserving encoding in a `u64`. See [`ordered_key`].
pub trait OrderedKey {
    /// The encoding.
    fn ordered_key(&self) -> u64;
}

macro_rules! integers {
    ($($unsigned:ty, $signed:ty);*) => { $(
        impl OrderedKey for $unsigned {
            #[inline]
            fn ordered_key(&self) -> u64 { (*self as u64) << (64 - <$unsigned>::BITS) }
        }
        impl OrderedKey for $signed {
            #[inline]
            fn ordered_key(&self) -> u64 { ((*self as $unsigned) ^ (1 << (<$unsigned>::BITS - 1))).ordered_key() }
        }
    )* };
}
integers!(u8, i8; u16, i16; u32, i32; u64, i64; usize, isize);

/// In IEEE 754 total order: negative NaN, numbers, positive NaN; `-0.0` before `0.0`.
impl OrderedKey for f64 {
    #[inline]
    fn ordered_key(&self) -> u64 {
        let bits = self.to_bits();
        if self.is_sign_negative() { !bits } else { bits | 1 << 63 }
    }
}

impl OrderedKey for f32 {
    #[inline]
    fn ordered_key(&self) -> u64 {
        f64::from(*self).ordered_key()
    }
}

/// The first eight bytes.
impl OrderedKey for str {
    #[inline]
    fn ordered_key(&self) -> u64 {
        self.as_bytes().ordered_key()
    }
}

impl OrderedKey for String {
    #[inline]
    fn ordered_key(&self) -> u64 {
        self.as_bytes().ordered_key()
    }
}

/// The first eight bytes.
impl OrderedKey for [u8] {
    #[inline]
    fn ordered_key(&self) -> u64 {
        let mut prefix = [0; 8];
        let length = self.len().min(8);
        prefix[..length].copy_from_slice(&self[..length]);
        u64::from_be_bytes(prefix)
    }
}

/// Whole nanoseconds; more than 584 years are taken for 584.
impl OrderedKey for Duration {
    #[inline]
    fn ordered_key(&self) -> u64 {
        u64::try_from(self.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Whole nanoseconds from 1678 to 2262; what lies outside is taken for the nearer end.
impl OrderedKey for SystemTime {
    #[inline]
    fn ordered_key(&self) -> u64 {
        let nanos = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
        match self.duration_since(UNIX_EPOCH) {
            Ok(after) => nanos(after).ordered_key(),
            Err(before) => (-nanos(before.duration())).ordered_key(),
        }
    }
}

impl<K: OrderedKey + ?Sized> OrderedKey for &K {
    #[inline]
    fn ordered_key(&self) -> u64 {
        (**self).ordered_key()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn agrees<K: OrderedKey + PartialOrd>(a: K, b: K) -> bool {
        (a <= b) <= (a.ordered_key() <= b.ordered_key()) && (b <= a) <= (b.ordered_key() <= a.ordered_key())
    }

    proptest! {
        #[test]
        fn integers_keep_their_order(a: i64, b: i64, c: i16, d: i16) { prop_assert!(agrees(a, b) && agrees(c, d)) }

        #[test]
        fn floats_keep_their_order(a: f64, b: f64) { prop_assert!(a == b || agrees(a, b)) }

        #[test]
        fn strings_keep_their_order(a: String, b: String) { prop_assert!(agrees(a, b)) }

        #[test]
        fn timestamps_keep_their_order(a: i32, b: i32) {
            let at = |s: i32| if s < 0 { UNIX_EPOCH - Duration::from_secs(s.unsigned_abs().into()) } else { UNIX_EPOCH + Duration::from_secs(s.unsigned_abs().into()) };
            prop_assert!(agrees(at(a), at(b)));
        }
    }
}
