//! The contradiction file: strict JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::{CONTRADICTION_FORMAT, CONTRADICTION_SIZE_BYTES_MAX, Contradiction, Message, Messages};
use crate::authority::{Block, BlockError};
use crate::command::LedgerId;
use crate::hash::Hash;
use crate::head::{RosterChain, RosterChainDecodeError, Statement, StatementError};

/// Why a file is not a contradiction.
#[derive(Debug, thiserror::Error)]
pub enum ContradictionFileError {
    /// Larger than any contradiction.
    #[error("more than {CONTRADICTION_SIZE_BYTES_MAX} bytes")]
    TooLarge,
    /// Not the JSON that it should be.
    #[error("not a contradiction file: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON that says the same in another way, such as an object as a list.
    #[error("not a contradiction file: it is not spelled as one")]
    Spelling,
    /// Another format, or another version of it.
    #[error("the format is {0:?}, not {CONTRADICTION_FORMAT:?}")]
    Format(String),
    /// A field is not hex or not base64.
    #[error("{0} is not well formed")]
    Field(&'static str),
    /// No message, or more than two.
    #[error("{0} messages: one or two convict")]
    Count(usize),
    /// Two messages that are not in their one order, or are the same.
    #[error("the messages are not in order")]
    Unsorted,
    /// The roster chain is not one.
    #[error(transparent)]
    Rosters(#[from] RosterChainDecodeError),
    /// A statement is not one.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// A block is not one.
    #[error(transparent)]
    Block(#[from] BlockError),
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
    messages: Vec<FileMessage>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileMessage {
    kind: Kind,
    /// Base64 of the encoded statement or block.
    signed: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Statement,
    Block,
}

impl Contradiction {
    /// The file's text.
    pub fn to_json(&self) -> String {
        let file = File {
            format: CONTRADICTION_FORMAT.into(),
            origin: self.origin.clone(),
            ledger: self.ledger.to_string(),
            rosters: (!self.rosters.links.is_empty()).then(|| BASE64.encode(self.rosters.encode())),
            messages: self.messages().map(FileMessage::of).collect(),
        };
        // INVARIANT: strings and lists of them always serialize.
        let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Whether a file names this format, so that it should be read as one of it: for who is given a file of
    /// either kind.
    pub fn is_named_by(text: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Named {
            format: String,
        }
        let named = serde_json::from_slice::<Named>(text);
        named.is_ok_and(|named| named.format == CONTRADICTION_FORMAT)
    }

    /// Parses a file strictly: unknown and repeated members are errors, and so is any other spelling than the
    /// one that [`Contradiction::to_json`] writes, but for white space, the order of members, and escapes in
    /// texts.
    ///
    /// # Errors
    /// The text is not exactly that.
    pub fn from_json(text: &[u8]) -> Result<Self, ContradictionFileError> {
        if text.len() > CONTRADICTION_SIZE_BYTES_MAX {
            return Err(ContradictionFileError::TooLarge);
        }
        let file: File = serde_json::from_slice(text)?;
        // The parser takes lists for objects, and more; what it understood, written again, must be the text.
        if serde_json::to_value(&file)? != serde_json::from_slice::<serde_json::Value>(text)? {
            return Err(ContradictionFileError::Spelling);
        }
        if file.format != CONTRADICTION_FORMAT {
            return Err(ContradictionFileError::Format(file.format));
        }
        let ledger = Hash::from_hex(&file.ledger).ok_or(ContradictionFileError::Field("ledger"))?;
        let messages = match file.messages.as_slice() {
            [one] => Messages::One(one.read()?),
            [first, second] => {
                let (first, second) = (first.read()?, second.read()?);
                if !first.order(&second).is_lt() {
                    return Err(ContradictionFileError::Unsorted);
                }
                Messages::Two(first, second)
            }
            other => return Err(ContradictionFileError::Count(other.len())),
        };
        let rosters = file.rosters.as_deref().map(rosters).transpose()?.unwrap_or_default();
        Ok(Self { origin: file.origin, ledger: LedgerId(ledger), rosters, messages })
    }
}

fn rosters(text: &str) -> Result<RosterChain, ContradictionFileError> {
    let bytes = BASE64.decode(text).map_err(|_| ContradictionFileError::Field("rosters"))?;
    let chain = RosterChain::decode(&bytes)?;
    // Without a link the member is absent.
    if chain.links.is_empty() { Err(ContradictionFileError::Field("rosters")) } else { Ok(chain) }
}

impl FileMessage {
    fn of(message: &Message) -> Self {
        let (kind, bytes) = match message {
            Message::Statement(statement) => (Kind::Statement, statement.encode()),
            Message::Block(block) => (Kind::Block, block.encode()),
        };
        Self { kind, signed: BASE64.encode(bytes) }
    }

    fn read(&self) -> Result<Message, ContradictionFileError> {
        // Canonical base64 only: the engine refuses missing padding and bits beyond the end.
        let bytes = BASE64.decode(&self.signed).map_err(|_| ContradictionFileError::Field("signed"))?;
        Ok(match self.kind {
            Kind::Statement => Statement::decode(&bytes)?.into(),
            Kind::Block => Block::decode(&bytes)?.into(),
        })
    }
}
