//! Offline proofs that an entry is in the log (c2sp.org/tlog-proof, "Format").

use std::fmt::Write;

use thiserror::Error;

use super::spelling::{base64, parse_base64, parse_decimal, parse_hash};
use super::{CheckpointError, NOTE_BYTES_MAX, SignedCheckpoint};
use crate::hash::Hash;
use crate::log::{VerifyError, root_from_inclusion, verify_inclusion};

/// The most extra data that a proof may carry, in bytes.
pub const EXTRA_BYTES_MAX: usize = 64 * 1024;

/// An inclusion proof with the signed checkpoint that it leads to. Nothing is verified yet, except that
/// the proof has as many hashes as its index and the checkpoint's size demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    extra: Vec<u8>,
    index: u64,
    hashes: Vec<Hash>,
    checkpoint: SignedCheckpoint,
}

impl TlogProof {
    /// `hashes` is the audit path of the leaf at `index` in the checkpoint's tree, from its sibling up
    /// (RFC 6962 §2.1.1). `extra` is opaque and unauthenticated; without any it is empty.
    pub fn new(
        extra: Vec<u8>,
        index: u64,
        hashes: Vec<Hash>,
        checkpoint: SignedCheckpoint,
    ) -> Result<Self, TlogProofError> {
        if extra.len() > EXTRA_BYTES_MAX {
            return Err(TlogProofError::Extra);
        }
        // Only for the index and the number of hashes: any leaf leads to some root.
        root_from_inclusion(&Hash::ZERO, index, checkpoint.checkpoint().size(), &hashes)?;
        Ok(Self { extra, index, hashes, checkpoint })
    }

    /// Reads a proof; what it accepts, [`TlogProof::encode`] writes again byte for byte.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(TlogProofError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| TlogProofError::Form)?;
        let text = text.strip_prefix(HEADER).ok_or(TlogProofError::Form)?;
        let (proof, checkpoint) = text.split_once("\n\n").ok_or(TlogProofError::Form)?;

        let mut lines = proof.split('\n').peekable();
        let extra = match lines.next_if(|line| line.starts_with("extra ")) {
            None => Vec::new(),
            // Without extra data there is no line.
            Some(line) => line
                .strip_prefix("extra ")
                .and_then(parse_base64)
                .filter(|extra| !extra.is_empty())
                .ok_or(TlogProofError::Extra)?,
        };
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(parse_decimal);
        let index = index.ok_or(TlogProofError::Index)?;
        let mut hashes = Vec::new();
        for line in lines {
            if hashes.len() == HASHES_MAX {
                return Err(VerifyError::ProofLength.into());
            }
            hashes.push(parse_hash(line).ok_or(TlogProofError::Hash)?);
        }
        Self::new(extra, index, hashes, SignedCheckpoint::parse(checkpoint.as_bytes())?)
    }

    /// The proof as text, for a `.tlog-proof` file.
    pub fn encode(&self) -> String {
        let mut text = String::from(HEADER);
        // INVARIANT: writing to a String cannot fail.
        if !self.extra.is_empty() {
            let _ = writeln!(text, "extra {}", base64(&self.extra));
        }
        let _ = writeln!(text, "index {}", self.index);
        for hash in &self.hashes {
            let _ = writeln!(text, "{}", base64(hash.as_bytes()));
        }
        let _ = write!(text, "\n{}", self.checkpoint.encode());
        text
    }

    /// Verifies that the checkpoint's tree has `leaf_hash` at this proof's index. That the checkpoint is
    /// to be believed, its signatures must show: [`SignedCheckpoint::verify_cosignatures`].
    pub fn verify_inclusion(&self, leaf_hash: &Hash) -> Result<(), VerifyError> {
        let checkpoint = self.checkpoint.checkpoint();
        verify_inclusion(leaf_hash, self.index, checkpoint.size(), &self.hashes, &checkpoint.root())
    }

    /// Data that came with the proof, which nothing authenticates; empty if there is none.
    pub fn extra(&self) -> &[u8] {
        &self.extra
    }

    /// The index of the entry in the log.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The audit path.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The checkpoint and its signatures.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }
}

const HEADER: &str = "c2sp.org/tlog-proof@v1\n";

/// An audit path in a tree of less than 2^63 leaves.
const HASHES_MAX: usize = 63;

/// Extra data in base64, the path and other lines, the checkpoint.
const PROOF_BYTES_MAX: usize = EXTRA_BYTES_MAX / 3 * 4 + 64 * 64 + NOTE_BYTES_MAX;

/// Why bytes are not a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TlogProofError {
    /// Longer than any proof within its bounds.
    #[error("the proof is too long")]
    TooLong,
    /// No header line, or no empty line before the checkpoint.
    #[error("not a c2sp.org/tlog-proof@v1")]
    Form,
    /// Not base64, empty, or longer than [`EXTRA_BYTES_MAX`].
    #[error("the extra data is not base64, empty or too long")]
    Extra,
    /// No index line with a canonical decimal.
    #[error("the index is not a decimal")]
    Index,
    /// A line of the path is not the base64 of 32 bytes.
    #[error("a line of the path is not a hash")]
    Hash,
    /// The index or the number of hashes does not fit the checkpoint's size.
    #[error(transparent)]
    Path(#[from] VerifyError),
    /// The checkpoint is not one.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}
