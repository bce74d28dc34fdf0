use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::error::Error;

/// Where an operator puts an error that ends its work: a store that can't be read any more, say.
///
/// An operator has nobody to return an error to. One that meets an error puts it here and acts no more; it keeps its
/// capabilities, so that nothing downstream takes the output for complete. The program that steps the worker asks
/// between steps, see [`Fault::check`].
#[derive(Clone, Debug, Default)]
pub struct Fault {
    error: Rc<RefCell<Option<Error>>>,
    /// There has been an error, told or not.
    raised: Rc<Cell<bool>>,
    unwatched: bool,
}

impl Fault {
    /// No fault so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// A fault that nobody asks for: rather than to hang, an operator panics with its error.
    pub fn unwatched() -> Self {
        Fault { unwatched: true, ..Self::default() }
    }

    /// The error, if there is one that has not been told yet. To be called by the program between steps of the worker,
    /// such as `while !probe.done() { worker.step_or_park(None); fault.check()?; }`.
    pub fn check(&self) -> Result<(), Error> {
        self.error.borrow_mut().take().map_or(Ok(()), Err)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.raised.get()
    }

    /// Only the first error is kept: the others follow from it.
    pub(crate) fn set(&self, error: Error) {
        assert!(!self.unwatched, "{}", error.with_causes());
        if !self.raised.replace(true) {
            *self.error.borrow_mut() = Some(error);
        }
    }
}
