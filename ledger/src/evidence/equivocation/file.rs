//! The equivocation file: strict JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::{EQUIVOCATION_FORMAT, EQUIVOCATION_SIZE_BYTES_MAX, Equivocation, Fork};
use crate::authority::INCLUSION_HASHES_MAX;
use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::command::LedgerId;
use crate::hash::Hash;
use crate::head::{RosterChain, RosterChainDecodeError};

/// Why a file is not an equivocation.
#[derive(Debug, thiserror::Error)]
pub enum EquivocationFileError {
    /// Larger than any equivocation.
    #[error("more than {EQUIVOCATION_SIZE_BYTES_MAX} bytes")]
    TooLarge,
    /// Not the JSON that it should be.
    #[error("not an equivocation file: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON that says the same in another way, such as an object as a list.
    #[error("not an equivocation file: it is not spelled as one")]
    Spelling,
    /// Another format, or another version of it.
    #[error("the format is {0:?}, not {EQUIVOCATION_FORMAT:?}")]
    Format(String),
    /// A field is not hex, not base64, too long, or there without the other.
    #[error("{0} is not well formed")]
    Field(&'static str),
    /// A checkpoint is not one.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The roster chain is not one.
    #[error(transparent)]
    Rosters(#[from] RosterChainDecodeError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    origin: String,
    ledger: String,
    /// Base64 of the encoded `RosterChain`; absent if it has no link.
    #[serde(skip_serializing_if = "Option::is_none")]
    rosters: Option<String>,
    /// Signed notes.
    checkpoints: [String; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    fork: Option<FileFork>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileFork {
    root: String,
    proof: Vec<String>,
}

impl Equivocation {
    /// The file's text.
    pub fn to_json(&self) -> String {
        let fork = |fork: &Fork| FileFork {
            root: fork.root.to_string(),
            proof: fork.proof.iter().map(ToString::to_string).collect(),
        };
        let file = File {
            format: EQUIVOCATION_FORMAT.into(),
            origin: self.origin.clone(),
            ledger: self.ledger.to_string(),
            rosters: (!self.rosters.links.is_empty()).then(|| BASE64.encode(self.rosters.encode())),
            checkpoints: [&self.first, &self.second].map(SignedCheckpoint::encode),
            fork: self.fork.as_ref().map(fork),
        };
        // INVARIANT: strings and lists of them always serialize.
        let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Whether a file names this format, so that it should be read as one of it.
    pub fn is_named_by(text: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Named {
            format: String,
        }
        serde_json::from_slice::<Named>(text).is_ok_and(|named| named.format == EQUIVOCATION_FORMAT)
    }

    /// Parses a file strictly: unknown and repeated members are errors, and so is any other spelling than the one that
    /// [`Equivocation::to_json`] writes, but for white space, the order of members, and escapes in texts.
    ///
    /// # Errors
    /// The text is not exactly that.
    pub fn from_json(text: &[u8]) -> Result<Self, EquivocationFileError> {
        if text.len() > EQUIVOCATION_SIZE_BYTES_MAX {
            return Err(EquivocationFileError::TooLarge);
        }
        let file: File = serde_json::from_slice(text)?;
        // The parser takes lists for objects, and more; what it understood, written again, must be the text.
        if serde_json::to_value(&file)? != serde_json::from_slice::<serde_json::Value>(text)? {
            return Err(EquivocationFileError::Spelling);
        }
        if file.format != EQUIVOCATION_FORMAT {
            return Err(EquivocationFileError::Format(file.format));
        }
        let [first, second] = &file.checkpoints;
        Ok(Self {
            origin: file.origin,
            ledger: LedgerId(hash("ledger", &file.ledger)?),
            rosters: file.rosters.as_deref().map(rosters).transpose()?.unwrap_or_default(),
            first: SignedCheckpoint::parse(first.as_bytes())?,
            second: SignedCheckpoint::parse(second.as_bytes())?,
            fork: file.fork.map(fork).transpose()?,
        })
    }
}

fn fork(file: FileFork) -> Result<Fork, EquivocationFileError> {
    if file.proof.len() > INCLUSION_HASHES_MAX {
        return Err(EquivocationFileError::Field("proof"));
    }
    let proof = file.proof.iter().map(|text| hash("proof", text)).collect::<Result<_, _>>()?;
    Ok(Fork { root: hash("root", &file.root)?, proof })
}

fn hash(field: &'static str, text: &str) -> Result<Hash, EquivocationFileError> {
    Hash::from_hex(text).ok_or(EquivocationFileError::Field(field))
}

fn rosters(text: &str) -> Result<RosterChain, EquivocationFileError> {
    // Canonical base64 only: the engine refuses missing padding and bits beyond the end.
    let bytes = BASE64.decode(text).map_err(|_| EquivocationFileError::Field("rosters"))?;
    let chain = RosterChain::decode(&bytes)?;
    // Without a link the member is absent.
    if chain.links.is_empty() { Err(EquivocationFileError::Field("rosters")) } else { Ok(chain) }
}
