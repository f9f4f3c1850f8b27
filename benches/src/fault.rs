//! Why a bench ends without figures.

use std::io;
use std::path::{Path, PathBuf};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// A file or folder.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A system that is measured cannot be set up, or does not serve.
    #[error("{system}: {reason}")]
    System {
        /// Which.
        system: &'static str,
        /// Why.
        reason: String,
    },
    /// Operations failed where none may: then there is no figure.
    #[error("{what}: {failed} of {all} operations failed, the first: {first}")]
    Operations {
        /// Of which measurement.
        what: String,
        /// How many.
        failed: u64,
        /// Of how many.
        all: u64,
        /// What one said.
        first: String,
    },
    /// It took longer than it may in all.
    #[error("not done after {0} s")]
    TooLong(u64),
    /// Somebody ended it.
    #[error("interrupted")]
    Interrupted,
}

/// What may be a [`BenchError`].
pub(crate) type Result<T> = std::result::Result<T, BenchError>;

impl BenchError {
    /// For `map_err` on what is done with the file at `path`.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    /// For `map_err` on whatever sets up `system`.
    pub(crate) fn of<E: std::fmt::Display>(system: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::System { system, reason: error.to_string() }
    }
}
