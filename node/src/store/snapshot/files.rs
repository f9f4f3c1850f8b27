//! Folders and files that are to survive a power cut.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chancery_ledger::hash::Hash;
use sha2::{Digest, Sha256};

/// Makes the names in `path` durable.
pub(in crate::store) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes the contents of the file at `path` durable.
pub(in crate::store) fn sync_file(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes the folder at `path`, if there is one.
pub(in crate::store) fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Size and SHA-256 of the file at `path`.
pub(in crate::store) fn measure(path: &Path) -> io::Result<(u64, Hash)> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size_bytes: u64 = 0;
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
        // INVARIANT: no file system has files of 2^64 bytes.
        size_bytes = size_bytes.saturating_add(bytes.len() as u64);
    }
    Ok((size_bytes, Hash(hasher.finalize().into())))
}

/// Puts the table file `from` at `to` too; copies and syncs any other file, and where links do not work.
pub(in crate::store) fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    let is_table = from.extension().is_some_and(|extension| extension == "sst");
    if is_table && fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to)?;
    sync_file(to)
}

/// A folder that is removed when this is dropped, unless it was renamed before.
#[derive(Debug)]
pub(in crate::store) struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    /// Makes the folder.
    pub(in crate::store) fn create(path: PathBuf) -> io::Result<Self> {
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    pub(in crate::store) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // What is left here is removed by the next start.
        let _ = remove_folder(&self.path);
    }
}
