//! A log as static files.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use super::{Source, SourceError};

/// A folder with the published files of a log.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder `root`; `None` if there is none.
    pub fn new(root: PathBuf) -> Option<Self> {
        root.is_dir().then_some(Self { root })
    }
}

impl Source for Folder {
    fn name(&self) -> String {
        self.root.display().to_string()
    }

    fn read(&self, path: &str, size_bytes_max: usize) -> Result<Vec<u8>, SourceError> {
        let path = self.root.join(path);
        let missing = || SourceError::Missing { place: path.display().to_string() };
        let failed = |source: std::io::Error| match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => missing(),
            _ => SourceError::File { path: path.clone(), source },
        };
        // A pipe would have the audit wait for ever.
        if !std::fs::metadata(&path).map_err(failed)?.is_file() {
            return Err(missing());
        }
        let mut bytes = Vec::new();
        let bound = u64::try_from(size_bytes_max).unwrap_or(u64::MAX).saturating_add(1);
        File::open(&path).and_then(|file| file.take(bound).read_to_end(&mut bytes)).map_err(failed)?;
        if bytes.len() > size_bytes_max {
            return Err(SourceError::TooLarge { place: path.display().to_string(), size_bytes_max });
        }
        Ok(bytes)
    }
}
