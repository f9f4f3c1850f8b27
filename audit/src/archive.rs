//! An archive: what a node publishes, as files, so that any web server or bucket serves it.
//!
//! Entries are fetched, hashed, and the tiles made of them; the archive's checkpoint is replaced last, and only by one
//! that the trusted voters cosigned and whose root all of this leads to. So at any time, and after any crash, the folder
//! has a checkpoint and all that it covers. What is there already is not fetched again.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chancery_ledger::hash::Hash;
use chancery_ledger::head::RosterChain;
use chancery_ledger::log::tiles::{append, partial_tiles};
use chancery_ledger::log::{
    BundleError, Frontier, TILE_WIDTH, TileIndex, TilePath, TileRead, TileRow, encode_entry_bundle,
    frontier_at,
};
use chancery_ledger::trust::Trust;

use crate::ahead::{Ahead, Part};
use crate::claim::Claim;
use crate::finding::{Code, Finding};
use crate::leaves::read_edge;
use crate::published::{Fault, Published};
use crate::source::{Folder, SourceError};

/// What an archive has now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Archived {
    /// Leaves that were there before.
    pub before: u64,
    /// Leaves that are there now.
    pub size: u64,
    /// Their root.
    pub root: Hash,
}

/// Why an archive is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What is published is not the log of its checkpoint, or not one that the trusted voters cosigned.
    #[error("{0}")]
    Wrong(Box<Finding>),
    /// The archive's own files are not those of its checkpoint.
    #[error("the archive is damaged: {0}")]
    Damaged(Box<Fault>),
    /// A file cannot be written.
    #[error("{}: {source}", .path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process archives to this folder now.
    #[error("{}: another process archives to it", .0.display())]
    Busy(PathBuf),
    /// A bundle has an entry that is too long for one.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl From<Fault> for ArchiveError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Source(error) => Self::Source(error),
            Fault::Wrong(finding) => Self::Wrong(finding),
        }
    }
}

/// Brings the archive in `folder`, which is made if it is not there, to the newest checkpoint of `published`. `progress` is
/// told how many leaves are there, and how many there will be.
///
/// # Errors
/// The archive is as it was: its checkpoint, and all that this covers.
pub fn archive(
    published: &Published,
    trust: &Trust,
    folder: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Archived, ArchiveError> {
    let mut writer = Writer::open(folder)?;
    let before = writer.frontier.size();
    let claim = Claim::read(published, trust)?;
    if let Some(finding) = claim.findings.first() {
        return Err(ArchiveError::Wrong(Box::new(finding.clone())));
    }
    let (size, root) = (claim.size(), claim.signed.checkpoint().root());
    let wrong = |code, expected: String, found: String| {
        ArchiveError::Wrong(Box::new(Finding::new(code, "checkpoint", expected, found)))
    };
    if size < before {
        return Err(wrong(Code::RolledBack, format!("{before} leaves or more"), format!("{size} leaves")));
    }
    let edge = read_edge(published, size)?;
    for part in Ahead::start(published, before, size, &edge)? {
        writer.take(part?)?;
        progress(writer.frontier.size(), size);
    }
    let made = writer.frontier.root();
    if (writer.frontier.size(), made) != (size, root) {
        return Err(wrong(Code::Root, root.to_string(), made.to_string()));
    }
    writer.end(size)?;
    let policy = match published.policy() {
        Ok(policy) => Some(policy),
        // While the voters change there is none.
        Err(SourceError::Missing { .. } | SourceError::Status { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let rosters = RosterChain { links: claim.links().to_vec() };
    writer.replace("rosters", &rosters.encode())?;
    match policy {
        Some(policy) => writer.replace("tlog-policy", &policy)?,
        None => writer.remove("tlog-policy")?,
    }
    writer.replace("checkpoint", claim.signed.encode().as_bytes())?;
    Ok(Archived { before, size, root })
}

/// Writes tiles and bundles.
struct Writer {
    folder: PathBuf,
    frontier: Frontier,
    /// The last tile of each level, if it is not full.
    edge: BTreeMap<TileIndex, Vec<Hash>>,
    /// Whoever holds it writes.
    _lock: File,
}

impl Writer {
    /// Goes on where the archive's checkpoint ends.
    fn open(folder: &Path) -> Result<Self, ArchiveError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ArchiveError::Write { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let path = folder.join(".lock");
        let lock = File::create(&path).map_err(failed(&path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => ArchiveError::Busy(folder.to_owned()),
            TryLockError::Error(source) => ArchiveError::Write { path, source },
        })?;
        let mut writer =
            Self { folder: folder.to_owned(), frontier: Frontier::new(), edge: BTreeMap::new(), _lock: lock };
        let damaged = |fault| ArchiveError::Damaged(Box::new(fault));
        let Some(own) = Folder::new(folder.to_owned()) else { return Ok(writer) };
        let own = Published::new(Arc::new(own));
        let checkpoint = match own.checkpoint() {
            Ok(signed) => signed,
            Err(Fault::Source(SourceError::Missing { .. })) => return Ok(writer),
            Err(fault) => return Err(damaged(fault)),
        };
        let (size, root) = (checkpoint.checkpoint().size(), checkpoint.checkpoint().root());
        for (tile, width) in partial_tiles(size) {
            let hashes = own.tile_hashes(tile, width).map_err(damaged)?;
            writer.edge.insert(tile, hashes.to_vec());
        }
        let other = |found: &dyn std::fmt::Display| {
            damaged(Finding::new(Code::Root, "checkpoint", root, found).into())
        };
        writer.frontier = frontier_at(&own, size).map_err(|error| other(&error))?;
        if writer.frontier.root() != root {
            return Err(other(&writer.frontier.root()));
        }
        Ok(writer)
    }

    /// Adds a part of the log, which may begin with leaves that are there.
    fn take(&mut self, part: Part) -> Result<(), ArchiveError> {
        let Part { index, entries, hashes, malformed, .. } = part;
        if let Some(finding) = malformed {
            return Err(ArchiveError::Wrong(Box::new(finding)));
        }
        let tile = TileIndex { level: 0, index };
        let known = self.edge.get(&tile).map_or(&[][..], Vec::as_slice);
        let Some(new) = hashes.strip_prefix(known) else {
            let differs = known.iter().zip(&hashes).position(|(known, found)| known != found);
            let at = differs.unwrap_or(hashes.len());
            let (expected, found) = (known.get(at), hashes.get(at));
            let told = |hash: Option<&Hash>| hash.map_or_else(|| "nothing".into(), ToString::to_string);
            let leaf = index.saturating_mul(TILE_WIDTH.into()).saturating_add(at as u64);
            let finding = Finding::new(Code::Rewritten, "tile/entries", told(expected), told(found));
            return Err(ArchiveError::Wrong(Box::new(finding.at(leaf))));
        };
        // INVARIANT: a bundle has at most 256 entries.
        let width = u16::try_from(entries.len()).unwrap_or(TILE_WIDTH);
        let new = new.to_vec();
        if let Some(path) = TilePath::entries(index, width) {
            self.write_tile(path, &encode_entry_bundle(&entries)?)?;
        }
        for TileRow { tile, hashes, .. } in append(&mut self.frontier, &new) {
            let all = self.edge.entry(tile).or_default();
            all.extend(hashes);
            if all.len() < usize::from(TILE_WIDTH) {
                continue;
            }
            let all = self.edge.remove(&tile).unwrap_or_default();
            self.write_hashes(tile, &all)?;
        }
        Ok(())
    }

    /// Writes the partial tiles of a log of `size` leaves.
    fn end(&mut self, size: u64) -> Result<(), ArchiveError> {
        for (tile, width) in partial_tiles(size) {
            let hashes = self.edge.get(&tile).and_then(|hashes| hashes.get(..width.into()));
            let hashes = hashes.unwrap_or_default().to_vec();
            self.write_hashes(tile, &hashes)?;
        }
        Ok(())
    }

    fn write_hashes(&self, tile: TileIndex, hashes: &[Hash]) -> Result<(), ArchiveError> {
        // INVARIANT: a tile has 1 to 256 hashes.
        let path = u16::try_from(hashes.len()).ok().and_then(|width| TilePath::hashes(tile, width));
        let Some(path) = path else { return Ok(()) };
        self.write_tile(path, &hashes.iter().flat_map(|hash| hash.0).collect::<Vec<u8>>())
    }

    /// A full tile stands for the partial ones that it began as.
    fn write_tile(&self, path: TilePath, bytes: &[u8]) -> Result<(), ArchiveError> {
        let text = path.to_string();
        self.replace(&text, bytes)?;
        if path.width() < TILE_WIDTH {
            return Ok(());
        }
        let partial = self.folder.join(format!("{text}.p"));
        match fs::remove_dir_all(&partial) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(ArchiveError::Write { path: partial, source })
            }
            _ => Ok(()),
        }
    }

    /// Whoever reads the file has the old bytes or the new ones, also after a power cut.
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        let path = self.folder.join(path);
        let written = || {
            let folder = path.parent().unwrap_or(&self.folder);
            fs::create_dir_all(folder)?;
            let mut unfinished = path.clone().into_os_string();
            unfinished.push(".unfinished");
            let mut file = File::create(&unfinished)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(folder)?.sync_all()
        };
        written().map_err(|source| ArchiveError::Write { path: path.clone(), source })
    }

    fn remove(&self, path: &str) -> Result<(), ArchiveError> {
        let path = self.folder.join(path);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(ArchiveError::Write { path, source })
            }
            _ => Ok(()),
        }
    }
}
