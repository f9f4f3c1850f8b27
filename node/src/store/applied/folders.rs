//! The folder `applied/`: one subfolder for each database that it held, of which the newest counts.
//!
//! A snapshot is installed beside the database that it replaces, under a name that does not count, synced,
//! and then renamed to the next generation: at each moment there is a whole database. Readers of the old
//! one finish undisturbed; it goes when the last is gone, or at the next start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::fault::AppliedFault;
use crate::store::snapshot::files;
use crate::store::snapshot::manifest::FileRecord;

const GENERATION: &str = "generation-";
const UNFINISHED: &str = "installing-";

/// The newest generation in `path`, and its folder. Removes all others, and what was not finished.
pub(in crate::store) fn newest(path: &Path) -> Result<Option<(u64, PathBuf)>, AppliedFault> {
    let mut generations = Vec::new();
    let listing = match fs::read_dir(path) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    for found in listing {
        let found = found?;
        let name = found.file_name();
        let name = name.to_str().unwrap_or_default();
        match name.strip_prefix(GENERATION).and_then(|digits| digits.parse::<u64>().ok()) {
            Some(number) if name == generation_name(number) => generations.push((number, found.path())),
            _ if name.starts_with(UNFINISHED) => fs::remove_dir_all(found.path())?,
            _ => return Err(AppliedFault::corrupt(format!("applied/{name}"), "nothing of this store's")),
        }
    }
    generations.sort();
    let newest = generations.pop();
    for (_, older) in generations {
        fs::remove_dir_all(older)?;
    }
    Ok(newest)
}

/// The folder of `generation`, made if it is not there.
pub(in crate::store) fn create(path: &Path, generation: u64) -> Result<PathBuf, AppliedFault> {
    let folder = path.join(generation_name(generation));
    fs::create_dir_all(&folder)?;
    files::sync_folder(path)?;
    Ok(folder)
}

/// Makes `generation` out of the files of a registered snapshot, durably.
///
/// Table files never change and are linked; the others are copied, so that the snapshot stays what it is.
pub(in crate::store) fn install(
    path: &Path,
    generation: u64,
    snapshot: &Path,
    snapshot_files: &[FileRecord],
) -> Result<PathBuf, AppliedFault> {
    fs::create_dir_all(path)?;
    let unfinished = path.join(format!("{UNFINISHED}{generation:010}"));
    files::remove_folder(&unfinished)?;
    fs::create_dir(&unfinished)?;
    fail::fail_point!("install-before-files", AppliedFault::injected);
    for file in snapshot_files {
        files::link_or_copy(&snapshot.join(&file.name), &unfinished.join(&file.name))?;
    }
    fail::fail_point!("install-before-sync", AppliedFault::injected);
    files::sync_folder(&unfinished)?;
    let folder = path.join(generation_name(generation));
    fail::fail_point!("install-before-rename", AppliedFault::injected);
    fs::rename(&unfinished, &folder)?;
    fail::fail_point!("install-after-rename", AppliedFault::injected);
    files::sync_folder(path)?;
    Ok(folder)
}

fn generation_name(number: u64) -> String {
    format!("{GENERATION}{number:010}")
}
