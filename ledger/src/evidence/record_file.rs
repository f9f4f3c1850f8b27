//! The record file: strict JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::file::{FileLeaf, base64, hash, is_named, leaf, parse, rosters, text};
use super::{EVIDENCE_SIZE_BYTES_MAX, EvidenceFileError, RECORD_FORMAT, Record};
use crate::command::LedgerId;
use crate::head::{Head, HeadQuorum, STATEMENTS_MAX, Statement, decode_statements};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    origin: String,
    ledger: String,
    leaf: FileLeaf,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<FileLeaf>,
    /// Base64 of the head's fixed layout.
    head: String,
    /// Base64 of each statement.
    statements: Vec<String>,
    /// Base64 of the encoded `RosterChain`; absent if it has no link.
    #[serde(skip_serializing_if = "Option::is_none")]
    rosters: Option<String>,
}

impl Record {
    /// The file's text.
    pub fn to_json(&self) -> String {
        let HeadQuorum { head, statements } = &self.head;
        text(&File {
            format: RECORD_FORMAT.into(),
            origin: self.origin.clone(),
            ledger: self.ledger.to_string(),
            leaf: FileLeaf::of(&self.leaf),
            cause: self.cause.as_ref().map(FileLeaf::of),
            head: BASE64.encode(head.encode()),
            statements: statements.iter().map(|statement| BASE64.encode(statement.encode())).collect(),
            rosters: (!self.rosters.links.is_empty()).then(|| BASE64.encode(self.rosters.encode())),
        })
    }

    /// Whether a file names this format, so that it should be read as one of it: for who is given a file of any
    /// kind.
    pub fn is_named_by(text: &[u8]) -> bool {
        is_named(text, RECORD_FORMAT)
    }

    /// Parses a file strictly: unknown and repeated members are errors, and so is any other spelling than the
    /// one that [`Record::to_json`] writes, but for white space, the order of members, and escapes in texts.
    ///
    /// # Errors
    /// The text is not exactly that.
    pub fn from_json(text: &[u8]) -> Result<Self, EvidenceFileError> {
        let file: File = parse(text, EVIDENCE_SIZE_BYTES_MAX)?;
        if file.format != RECORD_FORMAT {
            return Err(EvidenceFileError::Format(file.format));
        }
        if file.statements.len() > STATEMENTS_MAX {
            return Err(EvidenceFileError::Field("statements"));
        }
        let encoded = file.statements.iter().map(|text| base64("statement", text));
        let statements: Vec<Statement> =
            decode_statements::<EvidenceFileError>(&encoded.collect::<Result<Vec<_>, _>>()?)?;
        Ok(Self {
            origin: file.origin,
            ledger: LedgerId(hash("ledger", &file.ledger)?),
            leaf: leaf(file.leaf)?,
            cause: file.cause.map(leaf).transpose()?,
            head: HeadQuorum { head: Head::decode(&base64("head", &file.head)?)?, statements },
            rosters: file.rosters.as_deref().map(rosters).transpose()?.unwrap_or_default(),
        })
    }
}
