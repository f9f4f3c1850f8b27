//! Where a published log is read from: a node's port, any web server, or a folder.
//!
//! All have the same paths. Nothing that comes from there is believed, and none of it is unbounded: each read says how
//! many bytes it may have at most.

mod folder;
mod http;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub use folder::Folder;
pub use http::Http;

/// A published log.
pub trait Source: Send + Sync {
    /// What a person calls it: the URL, or the folder.
    fn name(&self) -> String;

    /// The bytes at `path`, which is relative and has no `..`.
    ///
    /// # Errors
    /// There is nothing, or more than `size_bytes_max`; or it cannot be read.
    fn read(&self, path: &str, size_bytes_max: usize) -> Result<Vec<u8>, SourceError>;
}

/// Why something was not read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Neither a URL nor a folder.
    #[error("{0} is neither an http:// or https:// URL nor a folder")]
    NotASource(String),
    /// The source has nothing of this name.
    #[error("{place} is not there")]
    Missing {
        /// The URL or file.
        place: String,
    },
    /// More than there can be.
    #[error("{place} has more than {size_bytes_max} bytes")]
    TooLarge {
        /// The URL or file.
        place: String,
        /// What was asked for.
        size_bytes_max: usize,
    },
    /// The server answered with something else than what is there, and did so again when asked again.
    #[error("{url}: status {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The answer.
        status: u16,
    },
    /// The server did not answer, and did not when asked again.
    #[error("{url}: {source}")]
    Http {
        /// What was asked for.
        url: String,
        /// Why not.
        source: Box<ureq::Error>,
    },
    /// A file is there, and cannot be read.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A thread that reads ahead cannot be had, or is gone.
    #[error("reading ahead: {0}")]
    Ahead(io::Error),
}

/// The source that `text` names: a URL, else a folder.
///
/// # Errors
/// It is neither.
pub fn open(text: &str) -> Result<Arc<dyn Source>, SourceError> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Ok(Arc::new(Http::new(text)));
    }
    let folder = Folder::new(PathBuf::from(text));
    folder
        .map(|folder| Arc::new(folder) as Arc<dyn Source>)
        .ok_or_else(|| SourceError::NotASource(text.into()))
}
