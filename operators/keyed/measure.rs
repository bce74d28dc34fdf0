/// What the profile is to know of a record besides its key.
pub trait Measure<D>: 'static {
    /// The value whose mean and deviation are profiled.
    fn value(&self, record: &D) -> f64;

    /// The record's size in bytes.
    fn size(&self, record: &D) -> usize;

    /// The value and the size of every record, where all have the same. The profile then asks for neither.
    fn alike(&self) -> Option<(f64, usize)> {
        None
    }
}

/// Every record has the value 1 and the size of its type.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmeasured;

impl<D> Measure<D> for Unmeasured {
    fn value(&self, _: &D) -> f64 {
        1.0
    }

    fn size(&self, _: &D) -> usize {
        size_of::<D>()
    }

    fn alike(&self) -> Option<(f64, usize)> {
        Some((1.0, size_of::<D>()))
    }
}

/// Values and sizes by closures.
#[derive(Clone, Copy, Debug)]
pub struct Measured<V, Z> {
    pub(crate) value: V,
    pub(crate) size: Z,
}

impl<D, V: Fn(&D) -> f64 + 'static, Z: Fn(&D) -> usize + 'static> Measure<D> for Measured<V, Z> {
    fn value(&self, record: &D) -> f64 {
        (self.value)(record)
    }

    fn size(&self, record: &D) -> usize {
        (self.size)(record)
    }
}
