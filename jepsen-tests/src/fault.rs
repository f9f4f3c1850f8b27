//! Why a run cannot go on: of the harness itself, never of what it judges.

use std::io;
use std::path::Path;

/// What goes wrong with the harness, or with a cluster that does not even start.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A file, a process or a socket.
    #[error("{what}: {source}")]
    Io {
        /// Of what.
        what: String,
        /// What happened.
        source: io::Error,
    },
    /// What was made for the run is not what it should be.
    #[error("{0}")]
    Setup(String),
    /// A wait that ended at its deadline.
    #[error("{0}")]
    TooLate(String),
}

impl HarnessError {
    /// For `map_err`: what went wrong at a path.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::of(path.display().to_string())
    }

    /// For `map_err`: what went wrong with anything else.
    pub(crate) fn of(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }
}
