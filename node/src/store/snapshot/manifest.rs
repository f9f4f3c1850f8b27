//! What a snapshot holds: where it ends, who vouches for that, and its files.
//!
//! One encoding; integers are big-endian:
//!
//! `"chancery/snapshot/v1\n"` ‖ head (164) ‖ block hash (32) ‖ term (8) ‖ index (8) ‖ term and index of the
//! membership (16) ‖ length (4) ‖ [payload](crate::raft::payload_bytes) with the membership ‖ length (4) ‖
//! roster chain from genesis to the head ‖ number of statements (2) ‖ each: length (2) ‖ statement ‖ number of files (4) ‖ each: length of its name (1) ‖ name
//! ‖ size (8) ‖ SHA-256 (32) ‖ SHA-256 of everything before (32).
//!
//! Files are sorted by name. Names are those that a RocksDB gives its own files, so they hold no separator.

use chancery_ledger::hash::Hash;
use chancery_ledger::head::{HEAD_SIZE_BYTES, Head, RosterChain, Statement};

use crate::raft::payload_bytes;
use crate::raft::types::{LogId, Payload, SnapshotMeta, StoredMembership, log_id};
use crate::store::{Position, voters_digest};

/// Longest encoded manifest, in bytes.
pub const MANIFEST_SIZE_BYTES_MAX: usize = 4 << 20;

/// Most files in one snapshot.
pub const SNAPSHOT_FILES_MAX: usize = 32_768;

/// Most bytes in one snapshot's files.
pub const SNAPSHOT_SIZE_BYTES_MAX: u64 = 1 << 40;

const PREFIX: &[u8] = b"chancery/snapshot/v1\n";

/// One file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// Its name in the snapshot's database folder.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// SHA-256 of its contents.
    pub sha256: Hash,
}

/// What a snapshot holds. Every value is in its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    head: Head,
    block_hash: Hash,
    log_id: LogId,
    membership: StoredMembership,
    rosters: RosterChain,
    statements: Vec<Statement>,
    files: Vec<FileRecord>,
}

/// Why bytes, or values, are no manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Too short, too long, or not in its one encoding.
    #[error("manifest is cut off, too long or not in its one encoding")]
    Malformed,
    /// Its own hash does not fit.
    #[error("manifest is corrupt")]
    Corrupt,
    /// A file name that no RocksDB gives, that is there twice or out of order.
    #[error("manifest names a file that no database has, or not in order")]
    FileName,
    /// Too many files, or too large.
    #[error("manifest names more or larger files than a snapshot may have")]
    TooLarge,
    /// A snapshot ends after an entry that Raft has, and after a membership.
    #[error("a snapshot without a membership is none")]
    NoMembership,
}

impl Manifest {
    /// A manifest with checked parts.
    pub fn new(
        head: Head,
        block_hash: Hash,
        log_id: LogId,
        membership: StoredMembership,
        rosters: RosterChain,
        statements: Vec<Statement>,
        files: Vec<FileRecord>,
    ) -> Result<Self, ManifestError> {
        if membership.log_id().is_none() {
            return Err(ManifestError::NoMembership);
        }
        let sorted = files.is_sorted_by(|a, b| a.name < b.name);
        if !sorted || files.is_empty() || !files.iter().all(|file| is_database_file(&file.name)) {
            return Err(ManifestError::FileName);
        }
        let size = files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.size_bytes));
        let fits = size.is_some_and(|size| size <= SNAPSHOT_SIZE_BYTES_MAX);
        if !fits || files.len() > SNAPSHOT_FILES_MAX || u16::try_from(statements.len()).is_err() {
            return Err(ManifestError::TooLarge);
        }
        Ok(Self { head, block_hash, log_id, membership, rosters, statements, files })
    }

    /// The head after the last block in it.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The last log entry in it.
    pub const fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The membership after that entry.
    pub const fn membership(&self) -> &StoredMembership {
        &self.membership
    }

    /// How the roster of the head came about.
    pub const fn rosters(&self) -> &RosterChain {
        &self.rosters
    }

    /// Who signed the head.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// Sorted by name.
    pub fn files(&self) -> &[FileRecord] {
        &self.files
    }

    /// What Raft is told.
    pub fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: Some(self.log_id), last_membership: self.membership.clone() }
    }

    /// What the snapshot's end means for the log.
    pub fn position(&self) -> Position {
        Position {
            block: self.head.block,
            block_hash: self.block_hash,
            roster: self.head.roster,
            voters: voters_digest(self.membership.membership().get_joint_config()),
        }
    }

    /// The encoding.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        let malformed = |_| ManifestError::Malformed;
        let mut out = PREFIX.to_vec();
        out.extend_from_slice(&self.head.encode());
        out.extend_from_slice(self.block_hash.as_bytes());
        push_log_id(&mut out, self.log_id);
        push_log_id(&mut out, self.membership.log_id().ok_or(ManifestError::NoMembership)?);
        let mut membership = Vec::new();
        payload_bytes::encode(
            &Payload::new(None, Some(self.membership.membership().clone())),
            &mut membership,
        )
        .map_err(|_| ManifestError::Malformed)?;
        out.extend_from_slice(&u32::try_from(membership.len()).map_err(malformed)?.to_be_bytes());
        out.extend_from_slice(&membership);
        let rosters = self.rosters.encode();
        out.extend_from_slice(&u32::try_from(rosters.len()).map_err(malformed)?.to_be_bytes());
        out.extend_from_slice(&rosters);
        out.extend_from_slice(&u16::try_from(self.statements.len()).map_err(malformed)?.to_be_bytes());
        for statement in &self.statements {
            let statement = statement.encode();
            out.extend_from_slice(&u16::try_from(statement.len()).map_err(malformed)?.to_be_bytes());
            out.extend_from_slice(&statement);
        }
        out.extend_from_slice(&u32::try_from(self.files.len()).map_err(malformed)?.to_be_bytes());
        for file in &self.files {
            out.push(u8::try_from(file.name.len()).map_err(malformed)?);
            out.extend_from_slice(file.name.as_bytes());
            out.extend_from_slice(&file.size_bytes.to_be_bytes());
            out.extend_from_slice(file.sha256.as_bytes());
        }
        let hash = Hash::of(&[&out]);
        out.extend_from_slice(hash.as_bytes());
        if out.len() > MANIFEST_SIZE_BYTES_MAX {
            return Err(ManifestError::TooLarge);
        }
        Ok(out)
    }

    /// Decodes a manifest in its bounds, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_SIZE_BYTES_MAX {
            return Err(ManifestError::TooLarge);
        }
        let (body, hash) = bytes.split_last_chunk().ok_or(ManifestError::Malformed)?;
        if Hash::of(&[body]) != Hash(*hash) {
            return Err(ManifestError::Corrupt);
        }
        let rest = body.strip_prefix(PREFIX).ok_or(ManifestError::Malformed)?;
        let manifest = Fields { rest }.manifest()?;
        if manifest.encode()? == bytes { Ok(manifest) } else { Err(ManifestError::Malformed) }
    }
}

fn push_log_id(out: &mut Vec<u8>, log_id: LogId) {
    out.extend_from_slice(&log_id.leader_id.term.to_be_bytes());
    out.extend_from_slice(&log_id.index.to_be_bytes());
}

/// `CURRENT`, `MANIFEST-` and `OPTIONS-` with digits, or digits with `.sst` or `.log`.
fn is_database_file(name: &str) -> bool {
    let digits = |text: &str| (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    name == "CURRENT"
        || ["MANIFEST-", "OPTIONS-"].iter().any(|p| name.strip_prefix(p).is_some_and(digits))
        || [".sst", ".log"].iter().any(|s| name.strip_suffix(s).is_some_and(digits))
}

/// What is left of a manifest.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn manifest(mut self) -> Result<Manifest, ManifestError> {
        let head = Head::decode(&self.take::<HEAD_SIZE_BYTES>()?).map_err(|_| ManifestError::Malformed)?;
        let block_hash = Hash(self.take()?);
        let log_id = self.log_id()?;
        let set_at = self.log_id()?;
        let length = u32::from_be_bytes(self.take()?);
        let payload = payload_bytes::decode(self.bytes(length as usize)?)
            .ok()
            .filter(|payload| payload.block().is_none());
        let membership = payload.as_ref().and_then(Payload::membership).ok_or(ManifestError::Malformed)?;
        let membership = StoredMembership::new(Some(set_at), membership.clone());
        let length = u32::from_be_bytes(self.take()?);
        let rosters =
            RosterChain::decode(self.bytes(length as usize)?).map_err(|_| ManifestError::Malformed)?;
        let mut statements = Vec::new();
        for _ in 0..u16::from_be_bytes(self.take()?) {
            let length = u16::from_be_bytes(self.take()?);
            let bytes = self.bytes(usize::from(length))?;
            statements.push(Statement::decode(bytes).map_err(|_| ManifestError::Malformed)?);
        }
        let mut files = Vec::new();
        let count = u32::from_be_bytes(self.take()?);
        if count as usize > SNAPSHOT_FILES_MAX {
            return Err(ManifestError::TooLarge);
        }
        for _ in 0..count {
            let [length] = self.take()?;
            let name = std::str::from_utf8(self.bytes(usize::from(length))?)
                .map_err(|_| ManifestError::FileName)?
                .to_owned();
            let size_bytes = u64::from_be_bytes(self.take()?);
            files.push(FileRecord { name, size_bytes, sha256: Hash(self.take()?) });
        }
        if !self.rest.is_empty() {
            return Err(ManifestError::Malformed);
        }
        Manifest::new(head, block_hash, log_id, membership, rosters, statements, files)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ManifestError> {
        let (field, rest) = self.rest.split_first_chunk().ok_or(ManifestError::Malformed)?;
        self.rest = rest;
        Ok(*field)
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], ManifestError> {
        let (field, rest) = self.rest.split_at_checked(length).ok_or(ManifestError::Malformed)?;
        self.rest = rest;
        Ok(field)
    }

    fn log_id(&mut self) -> Result<LogId, ManifestError> {
        Ok(log_id(u64::from_be_bytes(self.take()?), u64::from_be_bytes(self.take()?)))
    }
}
