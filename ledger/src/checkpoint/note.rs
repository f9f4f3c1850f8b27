//! Signed notes (c2sp.org/signed-note, "Format"): a text and the lines that sign it.

use std::fmt::Write;

use thiserror::Error;

use super::spelling::{base64, parse_base64};
use super::{KeyError, KeyName};

/// The longest signed note that is read, in bytes.
pub const NOTE_BYTES_MAX: usize = 256 * 1024;

/// The most signatures that a note may carry: enough for the log, two sets of voters and their witnesses. Verifiers must
/// accept 16 at least; Go's (`golang.org/x/mod/sumdb/note`) accept 100.
pub const SIGNATURES_MAX: usize = 96;

/// A text with at least one signature. Nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<SignatureLine>,
}

impl Note {
    /// Puts a note together. The text ends in a newline and has no other ASCII control characters.
    pub fn new(text: String, signatures: Vec<SignatureLine>) -> Result<Self, NoteError> {
        if !text.ends_with('\n') || text.contains(|c: char| c < ' ' && c != '\n') {
            return Err(NoteError::Text);
        }
        if signatures.is_empty() || signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::SignatureCount);
        }
        let note = Self { text, signatures };
        if note.encode().len() > NOTE_BYTES_MAX { Err(NoteError::TooLong) } else { Ok(note) }
    }

    /// Reads a note; what it accepts, [`Note::encode`] writes again byte for byte.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Text)?;
        // The last empty line separates: the text may have some of its own, signatures have none.
        let separator = note.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, rest) = note.split_at_checked(separator + 1).ok_or(NoteError::Form)?;
        let lines = rest.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n'));
        let mut signatures = Vec::new();
        for line in lines.ok_or(NoteError::Form)?.split('\n') {
            if signatures.len() == SIGNATURES_MAX {
                return Err(NoteError::SignatureCount);
            }
            signatures.push(SignatureLine::parse(line)?);
        }
        Self::new(text.to_owned(), signatures)
    }

    /// The note as it is served: text, empty line, signature lines.
    pub fn encode(&self) -> String {
        let mut note = self.text.clone();
        note.push('\n');
        for signature in &self.signatures {
            signature.write(&mut note);
        }
        note
    }

    /// The text that is signed, with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures in their order.
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// The text and the signatures.
    pub fn into_parts(self) -> (String, Vec<SignatureLine>) {
        (self.text, self.signatures)
    }
}

/// One line `— <key name> base64(key id ‖ signature)` (c2sp.org/signed-note, "Signatures").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLine {
    name: KeyName,
    key_id: u32,
    signature: Vec<u8>,
}

impl SignatureLine {
    /// A line of a signature that has at least one byte.
    pub fn new(name: KeyName, key_id: u32, signature: Vec<u8>) -> Result<Self, NoteError> {
        if signature.is_empty() {
            return Err(NoteError::SignatureForm);
        }
        Ok(Self { name, key_id, signature })
    }

    /// For signatures whose length is in their type.
    pub(super) fn of<const N: usize>(name: KeyName, key_id: u32, signature: [u8; N]) -> Self {
        const { assert!(N > 0) };
        Self { name, key_id, signature: signature.to_vec() }
    }

    /// Reads a line, without its newline.
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        let (name, encoded) =
            line.strip_prefix("— ").and_then(|rest| rest.split_once(' ')).ok_or(NoteError::SignatureForm)?;
        let name = KeyName::new(name).map_err(NoteError::KeyName)?;
        let bytes = parse_base64(encoded).ok_or(NoteError::SignatureForm)?;
        let (key_id, signature) = bytes.split_first_chunk().ok_or(NoteError::SignatureForm)?;
        Self::new(name, u32::from_be_bytes(*key_id), signature.to_vec())
    }

    /// The line without its newline.
    pub fn encode(&self) -> String {
        let mut line = String::new();
        self.write(&mut line);
        line.pop();
        line
    }

    /// The name of the key.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id of the key, see [`super::key_id`].
    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// What follows the key id.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    fn write(&self, out: &mut String) {
        let bytes = [&self.key_id.to_be_bytes(), &self.signature[..]].concat();
        // INVARIANT: writing to a String cannot fail.
        let _ = writeln!(out, "— {} {}", self.name, base64(&bytes));
    }
}

/// Why bytes are not a signed note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoteError {
    /// Longer than [`NOTE_BYTES_MAX`].
    #[error("the note is too long")]
    TooLong,
    /// Not UTF-8, a control character, or no newline at the end.
    #[error("the note's text is not UTF-8 lines without control characters")]
    Text,
    /// No empty line before the signatures, or no newline after them.
    #[error("the note is not a text, an empty line and signature lines")]
    Form,
    /// None, or more than [`SIGNATURES_MAX`].
    #[error("a note has 1 to 96 signatures")]
    SignatureCount,
    /// Not `— <key name> <base64 of key id and signature>`.
    #[error("a signature line is not of its form")]
    SignatureForm,
    /// The name in a signature line is not one.
    #[error("a signature line's key name is invalid")]
    KeyName(#[source] KeyError),
}
