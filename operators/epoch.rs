use timely::order::TotalOrder;
use timely::progress::Timestamp;

/// A timestamp that counts epochs.
///
/// Only totally ordered timestamps count epochs: a boundary is *the* instant before an epoch, and
/// "all data before it" has no meaning where two times are incomparable. So the operators can't be
/// used inside an iterative scope; the compiler says so.
///
/// ```compile_fail
/// fn counts_epochs<T: thalweg::Epoch>() {}
/// counts_epochs::<timely::order::Product<u64, u64>>();
/// ```
pub trait Epoch: Timestamp + TotalOrder {
    /// The number of the epoch.
    fn number(&self) -> u64;

    /// The epoch with this number, if the type can hold it.
    fn from_number(number: u64) -> Option<Self>;

    /// What advances a timestamp by so many epochs, if the type can hold it.
    fn advance_by(epochs: u64) -> Option<Self::Summary>;
}

macro_rules! epochs {
    ($($integer:ty),*) => { $(
        impl Epoch for $integer {
            fn number(&self) -> u64 { *self as u64 }
            fn from_number(number: u64) -> Option<Self> { Self::try_from(number).ok() }
            fn advance_by(epochs: u64) -> Option<Self::Summary> { <$integer>::try_from(epochs).ok() }
        }
    )* };
}
epochs!(u64, u32, usize);
