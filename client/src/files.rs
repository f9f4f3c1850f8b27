//! Files of a context: read only if nobody else could have read or written them, replaced whole.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use crate::context::ContextError;

/// Longest file that a context may have, in bytes.
const FILE_SIZE_BYTES_MAX: u64 = 1024 * 1024;

/// Permission bits that a secret must not have: any of others.
const OPEN_TO_OTHERS: u32 = 0o077;

/// Permission bits that a file whose content is believed must not have: writing by others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Reads a secret, which nobody but its owner may read.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, ContextError> {
    read(path, OPEN_TO_OTHERS, FILE_SIZE_BYTES_MAX)
}

/// Reads a file of at most `size_bytes_max` that nobody but its owner may change.
pub(crate) fn read_bytes(path: &Path, size_bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, ContextError> {
    read(path, WRITABLE_BY_OTHERS, size_bytes_max as u64)
}

/// Reads a file that nobody but its owner may change.
pub(crate) fn read_trusted(path: &Path) -> Result<String, ContextError> {
    let bytes = read(path, WRITABLE_BY_OTHERS, FILE_SIZE_BYTES_MAX)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(ContextError::Malformed { path: path.into(), reason: error.to_string() }),
    }
}

/// Makes a folder, and those above it, for its owner alone.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes `content` (mode 0600) in the place of what is there: at any moment, also after a power cut, the
/// file is whole, the old one or the new one.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut unique = [0; 8];
    getrandom::fill(&mut unique).map_err(|error| io::Error::other(error.to_string()))?;
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{:016x}", u64::from_be_bytes(unique)));
    let new = Path::new(&new);
    let written = write_new(new, content).and_then(|()| std::fs::rename(new, path));
    if written.is_err() {
        // What could not take its place is of no use; that it is left behind does no harm.
        let _ = std::fs::remove_file(new);
    }
    written?;
    File::open(folder)?.sync_all()
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn read(path: &Path, forbidden: u32, size_bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, ContextError> {
    let failed = |source| ContextError::Read { path: path.into(), source };
    let file = File::open(path).map_err(failed)?;
    // Of the file that was opened: another may have the name by now.
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(ContextError::LaxMode { path: path.into(), mode });
    }
    if metadata.len() > size_bytes_max {
        return Err(ContextError::TooLarge { path: path.into() });
    }
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
    file.take(size_bytes_max).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}
