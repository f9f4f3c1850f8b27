//! Files that commands make: secrets readable by their owner alone, everything else replaced whole.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::exit::{Failure, Result};

/// Permission bits of a secret.
const SECRET_MODE: u32 = 0o600;

/// Makes a folder, and those above it, for its owner alone.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| Failure::file(path, &error))
}

/// Writes a secret (mode 0600) that must not exist yet.
pub(crate) fn write_secret(path: &Path, content: &[u8]) -> Result<()> {
    write_new(path, content, SECRET_MODE)
}

/// Writes a file that anybody may read and that must not exist yet.
pub(crate) fn write_public(path: &Path, content: &[u8]) -> Result<()> {
    write_new(path, content, 0o644)
}

/// Writes a file for its owner alone, in the place of what is there.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    let new = Path::new(&new);
    // What a process with our id left behind is nobody's.
    let _ = std::fs::remove_file(new);
    write_secret(new, content)?;
    std::fs::rename(new, path).map_err(|error| Failure::file(path, &error))
}

/// Reads a secret, and refuses one that others can read or that is another user's.
pub(crate) fn read_secret(path: &Path) -> Result<String> {
    let wrong = |error: &std::io::Error| Failure::usage(format!("{}: {error}", path.display()));
    let metadata = std::fs::metadata(path).map_err(|error| wrong(&error))?;
    if metadata.mode() & 0o077 != 0 {
        let why = "is a secret that others can read";
        return Err(Failure::usage(format!("{} {why}", path.display()))
            .hint(format!("if nobody did: chmod 600 {}", path.display())));
    }
    std::fs::read_to_string(path).map_err(|error| wrong(&error))
}

/// Reads a file that an argument names.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let failed = |error: std::io::Error| Failure::file(path, &error);
    let mut file: File =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_for_their_owner_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_secret(&path, b"one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(write_secret(&path, b"two").is_err());
        assert_eq!(read_secret(&path).unwrap(), "one");
        replace(&path, b"three").unwrap();
        assert_eq!(read_secret(&path).unwrap(), "three");

        let open = folder.path().join("open");
        write_public(&open, b"four").unwrap();
        assert!(read_secret(&open).is_err());
    }
}
