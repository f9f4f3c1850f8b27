//! The file that says by when something was recorded: strict JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::file::{FileLeaf, hash, is_named, leaf, parse, rosters, text};
use super::{EVIDENCE_SIZE_BYTES_MAX, EvidenceFileError, RECORDED_BY_FORMAT, RecordedBy};
use crate::checkpoint::SignedCheckpoint;
use crate::command::LedgerId;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    origin: String,
    ledger: String,
    leaf: FileLeaf,
    state: FileLeaf,
    /// The signed note, as it is.
    checkpoint: String,
    /// Base64 of the encoded `RosterChain`; absent if it has no link.
    #[serde(skip_serializing_if = "Option::is_none")]
    rosters: Option<String>,
}

impl RecordedBy {
    /// The file's text.
    pub fn to_json(&self) -> String {
        text(&File {
            format: RECORDED_BY_FORMAT.into(),
            origin: self.origin.clone(),
            ledger: self.ledger.to_string(),
            leaf: FileLeaf::of(&self.leaf),
            state: FileLeaf::of(&self.state),
            checkpoint: self.checkpoint.encode(),
            rosters: (!self.rosters.links.is_empty()).then(|| BASE64.encode(self.rosters.encode())),
        })
    }

    /// Whether a file names this format, so that it should be read as one of it: for who is given a file of any
    /// kind.
    pub fn is_named_by(text: &[u8]) -> bool {
        is_named(text, RECORDED_BY_FORMAT)
    }

    /// Parses a file as strictly as evidence.
    ///
    /// # Errors
    /// The text is not exactly what [`RecordedBy::to_json`] writes, but for white space, the order of members, and
    /// escapes in texts.
    pub fn from_json(text: &[u8]) -> Result<Self, EvidenceFileError> {
        let file: File = parse(text, EVIDENCE_SIZE_BYTES_MAX)?;
        if file.format != RECORDED_BY_FORMAT {
            return Err(EvidenceFileError::Format(file.format));
        }
        Ok(Self {
            origin: file.origin,
            ledger: LedgerId(hash("ledger", &file.ledger)?),
            leaf: leaf(file.leaf)?,
            state: leaf(file.state)?,
            checkpoint: SignedCheckpoint::parse(file.checkpoint.as_bytes())?,
            rosters: file.rosters.as_deref().map(rosters).transpose()?.unwrap_or_default(),
        })
    }
}
