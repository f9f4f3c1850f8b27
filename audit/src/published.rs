//! What a source publishes, read as what it must be, and no more of it than it can be.

use std::sync::Arc;

use chancery_ledger::checkpoint::{NOTE_BYTES_MAX, SignedCheckpoint};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{ROSTER_CHAIN_SIZE_BYTES_MAX, RosterChain};
use chancery_ledger::log::{ENTRY_BYTES_MAX, TILE_WIDTH, TileIndex, TilePath, TileRead, decode_entry_bundle};

use crate::finding::{Code, Finding};
use crate::source::{Source, SourceError};

/// Why something published is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It cannot be read, which is nobody's guilt.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It is not what the log committed to.
    #[error("{0}")]
    Wrong(Box<Finding>),
}

impl From<Finding> for Fault {
    fn from(finding: Finding) -> Self {
        Self::Wrong(Box::new(finding))
    }
}

/// A source, by what it publishes.
#[derive(Clone)]
pub struct Published {
    source: Arc<dyn Source>,
}

impl Published {
    /// Of `source`.
    pub fn new(source: Arc<dyn Source>) -> Self {
        Self { source }
    }

    /// What a person calls it.
    pub fn name(&self) -> String {
        self.source.name()
    }

    /// The newest checkpoint; nothing of it is verified.
    ///
    /// # Errors
    /// There is none.
    pub fn checkpoint(&self) -> Result<SignedCheckpoint, Fault> {
        let note = self.source.read("checkpoint", NOTE_BYTES_MAX)?;
        read_checkpoint("checkpoint", &note).map_err(Fault::from)
    }

    /// The newest checkpoint that witnesses cosigned, if the source tells it apart; else the newest. Witnesses take their
    /// time, and a log that grows has a newer one by then.
    ///
    /// # Errors
    /// There is none.
    pub fn witnessed_checkpoint(&self) -> Result<SignedCheckpoint, Fault> {
        match self.source.read("witnessed-checkpoint", NOTE_BYTES_MAX) {
            Ok(note) => read_checkpoint("witnessed-checkpoint", &note).map_err(Fault::from),
            Err(SourceError::Missing { .. }) => self.checkpoint(),
            Err(error) => Err(error.into()),
        }
    }

    /// The roster chain; nothing of it is verified.
    ///
    /// # Errors
    /// There is none.
    pub fn rosters(&self) -> Result<RosterChain, Fault> {
        let bytes = self.source.read("rosters", ROSTER_CHAIN_SIZE_BYTES_MAX)?;
        RosterChain::decode(&bytes)
            .map_err(|error| Finding::new(Code::Rosters, "rosters", "a roster chain", error).into())
    }

    /// The policy file, which is not read.
    pub(crate) fn policy(&self) -> Result<Vec<u8>, SourceError> {
        self.source.read("tlog-policy", POLICY_BYTES_MAX)
    }

    /// The encoded entries of a bundle. If they are not what a bundle has, as many as can be read.
    pub(crate) fn entries(&self, index: u64, width: u16) -> Result<(Vec<Vec<u8>>, Option<Finding>), Fault> {
        let path = path(TilePath::entries(index, width))?;
        let (bytes, full) = self.read_wide(path, |width| width.saturating_mul(2 + ENTRY_BYTES_MAX))?;
        let told = if full { TILE_WIDTH } else { width };
        let wrong = match decode_entry_bundle(&bytes, told) {
            Ok(_) => None,
            Err(error) => {
                Some(Finding::new(Code::Malformed, path, format!("a bundle of {told} entries"), error))
            }
        };
        Ok((leading_entries(&bytes, width), wrong))
    }

    fn hashes(&self, tile: TileIndex, width: u16) -> Result<Arc<[Hash]>, Fault> {
        let path = path(TilePath::hashes(tile, width))?;
        let (bytes, full) = self.read_wide(path, |width| width.saturating_mul(HASH_BYTES))?;
        let told = usize::from(if full { TILE_WIDTH } else { width });
        let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
        if hashes.len() != told || !rest.is_empty() {
            let (expected, found) = (told.saturating_mul(HASH_BYTES), bytes.len());
            let (expected, found) = (format!("{expected} bytes"), format!("{found} bytes"));
            return Err(Finding::new(Code::Malformed, path, expected, found).into());
        }
        Ok(hashes.iter().take(width.into()).copied().map(Hash).collect())
    }

    /// The bytes at `path`; if that is partial and gone, those of the full one, which has the same at its beginning.
    fn read_wide(&self, path: TilePath, size_of: impl Fn(usize) -> usize) -> Result<(Vec<u8>, bool), Fault> {
        let read = |path: TilePath| self.source.read(&path.to_string(), size_of(path.width().into()));
        let missing = |place| Finding::new(Code::Missing, path, "what the checkpoint covers", place);
        match read(path) {
            Ok(bytes) => Ok((bytes, false)),
            Err(SourceError::Missing { .. }) if path.width() < TILE_WIDTH => match read(full(path)?) {
                Ok(bytes) => Ok((bytes, true)),
                Err(SourceError::Missing { .. }) => Err(missing("nothing").into()),
                Err(error) => Err(error.into()),
            },
            Err(SourceError::Missing { .. }) => Err(missing("nothing").into()),
            Err(error) => Err(error.into()),
        }
    }
}

impl TileRead for Published {
    type Error = Fault;

    fn tile_hashes(&self, tile: TileIndex, width: u16) -> Result<Arc<[Hash]>, Fault> {
        self.hashes(tile, width)
    }
}

/// Longest policy file, in bytes.
const POLICY_BYTES_MAX: usize = 64 << 10;

/// The bytes of a hash.
const HASH_BYTES: usize = 32;

/// Reads a signed checkpoint that was found at `place`.
pub(crate) fn read_checkpoint(place: &str, note: &[u8]) -> Result<SignedCheckpoint, Finding> {
    SignedCheckpoint::parse(note)
        .map_err(|error| Finding::new(Code::Checkpoint, place, "a signed checkpoint", error))
}

fn full(path: TilePath) -> Result<TilePath, Fault> {
    self::path(match path.tile() {
        Some(tile) => TilePath::hashes(tile, TILE_WIDTH),
        None => TilePath::entries(path.index(), TILE_WIDTH),
    })
}

/// A tree of at most 2^63 leaves has no tile without a path.
fn path(path: Option<TilePath>) -> Result<TilePath, Fault> {
    path.ok_or_else(|| {
        Finding::new(Code::Malformed, "tile", "a tile of the log", "a level or a width of none").into()
    })
}

/// As many of the first `width` entries as there are.
fn leading_entries(mut bytes: &[u8], width: u16) -> Vec<Vec<u8>> {
    let mut entries = Vec::with_capacity(width.into());
    while entries.len() < usize::from(width) {
        let Some((length, rest)) = bytes.split_first_chunk() else { break };
        let Some((entry, rest)) = rest.split_at_checked(u16::from_be_bytes(*length).into()) else { break };
        entries.push(entry.to_vec());
        bytes = rest;
    }
    entries
}
