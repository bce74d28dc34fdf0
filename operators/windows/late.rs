use serde::{Deserialize, Serialize};

/// What becomes of a late record: one whose windows, or whose session, have all closed before its epoch began.
///
/// There is no default: to drop data, or to count it where it did not happen, is for the user to choose. A longer
/// grace makes fewer records late, and results later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Late {
    /// It counts nowhere.
    Drop,
    /// It counts in the earliest window that is still open, and in no other; among sessions, as if it had happened at
    /// the start of its epoch.
    Admit,
}
