use std::io;

/// Everything that can go wrong, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was asked for can't be done: mend the configuration, the command or the input.
    #[error("{what}")]
    Usage {
        /// What was asked, why it can't be, and what to do.
        what: String,
        /// The cause.
        #[source]
        source: Option<Cause>,
    },
    /// The store failed: mend the disk, the permissions or the network, and try again.
    #[error("can't {action} {object}")]
    Store {
        /// What was tried: "read", "write", "list", ….
        action: &'static str,
        /// The object or directory.
        object: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// What the store gave back is not what was written: an earlier checkpoint is to be used.
    #[error("{object} is damaged: {what}")]
    Corrupt {
        /// The object.
        object: String,
        /// What was found, and what was expected.
        what: String,
        /// The cause.
        #[source]
        source: Option<Cause>,
    },
    /// What the store gave back belongs to another format or another dataflow.
    #[error("{object} can't be used here: {what}")]
    Incompatible {
        /// The object.
        object: String,
        /// What was found, what was expected, and what to do.
        what: String,
    },
    /// Other processes of the same run are gone: start all again, from the last checkpoint.
    #[error("{what}: start all processes again, from the last checkpoint")]
    Lost {
        /// The processes, ascending.
        processes: Vec<usize>,
        /// What tells that each of them is gone.
        what: String,
    },
}

/// The cause of an [`Error`].
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Error::Usage { what: what.into(), source: None }
    }

    pub(crate) fn store(action: &'static str, object: impl Into<String>, source: io::Error) -> Self {
        Error::Store { action, object: object.into(), source }
    }

    pub(crate) fn corrupt(object: impl Into<String>, what: impl Into<String>) -> Self {
        Error::Corrupt { object: object.into(), what: what.into(), source: None }
    }

    pub(crate) fn incompatible(object: impl Into<String>, what: impl Into<String>) -> Self {
        Error::Incompatible { object: object.into(), what: what.into() }
    }

    /// The error and its causes, on one line.
    pub fn with_causes(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |cause| cause.source());
        causes.fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }

    /// The same error with its cause, where it has place for one.
    pub(crate) fn with(mut self, cause: impl Into<Cause>) -> Self {
        if let Error::Usage { source, .. } | Error::Corrupt { source, .. } = &mut self {
            *source = Some(cause.into());
        }
        self
    }
}
