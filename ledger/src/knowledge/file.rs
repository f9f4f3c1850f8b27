//! Files about knowledge: the items that a gate keeps, one JSON object a line, and the proof about one of them
//! that it hands out. Strict JSON.

use serde::{Deserialize, Serialize};

use super::{Absence, AbsenceError, ITEMS_MAX, Item, Placed, Subject};
use crate::command::{Name, NameError};
use crate::hash::Hash;
use crate::log::VerifyError;

/// The `format` of a proof.
pub const KNOWLEDGE_PROOF_FORMAT: &str = "chancery-knowledge/v1";

/// Largest proof, in bytes.
pub const KNOWLEDGE_PROOF_SIZE_BYTES_MAX: usize = 16 * 1024;

/// Longest path: of 4,096 items.
const PATH_HASHES_MAX: usize = 12;

/// That something was, or was not, among the items of a knowledge root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnowledgeProof {
    /// The root, which a recorded decision binds.
    pub root: Hash,
    /// How many items it has.
    pub count: u32,
    /// What is shown.
    pub claim: Claim,
}

/// What a [`KnowledgeProof`] shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Claim {
    /// The item was there.
    Present(Placed),
    /// Nothing of it was.
    Absent {
        /// Of what.
        subject: Subject,
        /// Between what it would stand.
        absence: Absence,
    },
}

/// Why a file is no proof about knowledge, or shows nothing.
#[derive(Debug, thiserror::Error)]
pub enum KnowledgeFileError {
    /// Larger than any.
    #[error("more than {KNOWLEDGE_PROOF_SIZE_BYTES_MAX} bytes")]
    TooLarge,
    /// Not the JSON that it should be.
    #[error("not such a file: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON that says the same in another way.
    #[error("not such a file: it is not spelled as one")]
    Spelling,
    /// Another format, or another version of it.
    #[error("the format is {0:?}, not {KNOWLEDGE_PROOF_FORMAT:?}")]
    Format(String),
    /// A field is not hex, or too long, or there is one too few or too many.
    #[error("{0} is not well formed")]
    Field(&'static str),
    /// A source is no name.
    #[error("source {0}")]
    Source(#[from] NameError),
    /// The list has more items than a tree.
    #[error("more than {ITEMS_MAX} items")]
    TooMany,
}

/// Why a proof shows nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KnowledgeProofError {
    /// The item is not there.
    #[error("the item is not shown to be there: {0}")]
    Present(#[source] VerifyError),
    /// It may be there.
    #[error("not shown to be absent: {0}")]
    Absent(#[source] AbsenceError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    root: String,
    count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    present: Option<FilePlaced>,
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<FileAbsent>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileItem {
    source: String,
    digest: String,
    retrieved_at_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePlaced {
    item: FileItem,
    index: u32,
    path: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAbsent {
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<FileItem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<FilePlaced>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<FilePlaced>,
}

impl KnowledgeProof {
    /// Demands that it shows what it claims, of its own root. Whose root that is, a recorded decision says.
    ///
    /// # Errors
    /// It does not.
    pub fn verify(&self) -> Result<(), KnowledgeProofError> {
        match &self.claim {
            Claim::Present(placed) => {
                placed.verify(&self.root, self.count).map_err(KnowledgeProofError::Present)
            }
            Claim::Absent { subject, absence } => {
                absence.verify(subject, &self.root, self.count).map_err(KnowledgeProofError::Absent)
            }
        }
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        let (present, absent) = match &self.claim {
            Claim::Present(placed) => (Some(FilePlaced::of(placed)), None),
            Claim::Absent { subject, absence } => {
                let (source, item) = match subject {
                    Subject::Source(source) => (Some(source.to_string()), None),
                    Subject::Item(item) => (None, Some(FileItem::of(item))),
                };
                let [before, after] =
                    [&absence.before, &absence.after].map(|side| side.as_ref().map(FilePlaced::of));
                (None, Some(FileAbsent { source, item, before, after }))
            }
        };
        let (format, root) = (KNOWLEDGE_PROOF_FORMAT.into(), self.root.to_string());
        let file = File { format, root, count: self.count, present, absent };
        // INVARIANT: strings, integers and lists of them always serialize.
        let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Parses a file strictly: unknown and repeated members are errors, and so is any other spelling than the
    /// one that [`KnowledgeProof::to_json`] writes, but for white space, the order of members, and escapes.
    ///
    /// # Errors
    /// It is no such file. What it claims is not verified yet.
    pub fn from_json(text: &[u8]) -> Result<Self, KnowledgeFileError> {
        if text.len() > KNOWLEDGE_PROOF_SIZE_BYTES_MAX {
            return Err(KnowledgeFileError::TooLarge);
        }
        let file: File = strict(text)?;
        if file.format != KNOWLEDGE_PROOF_FORMAT {
            return Err(KnowledgeFileError::Format(file.format));
        }
        let claim = match (file.present, file.absent) {
            (Some(placed), None) => Claim::Present(placed.checked()?),
            (None, Some(FileAbsent { source, item, before, after })) => {
                let subject = match (source, item) {
                    (Some(source), None) => Subject::Source(Name::new(source)?),
                    (None, Some(item)) => Subject::Item(item.checked()?),
                    _ => return Err(KnowledgeFileError::Field("absent")),
                };
                let side = |placed: Option<FilePlaced>| placed.map(FilePlaced::checked).transpose();
                Claim::Absent { subject, absence: Absence { before: side(before)?, after: side(after)? } }
            }
            _ => return Err(KnowledgeFileError::Field("present")),
        };
        Ok(Self { root: hash("root", &file.root)?, count: file.count, claim })
    }
}

impl Item {
    /// One line of a list.
    pub fn to_json(&self) -> String {
        // INVARIANT: strings and integers always serialize.
        serde_json::to_string(&FileItem::of(self)).unwrap_or_default()
    }

    /// Parses a list: an item a line, empty lines between them as may be.
    ///
    /// # Errors
    /// A line is none, or they are too many.
    pub fn list_from_json(text: &[u8]) -> Result<Vec<Self>, KnowledgeFileError> {
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        let mut items = Vec::new();
        for line in lines {
            if items.len() == ITEMS_MAX as usize {
                return Err(KnowledgeFileError::TooMany);
            }
            items.push(strict::<FileItem>(line)?.checked()?);
        }
        Ok(items)
    }
}

impl FileItem {
    fn of(item: &Item) -> Self {
        Self {
            source: item.source.to_string(),
            digest: item.digest.to_string(),
            retrieved_at_ms: item.retrieved_at_ms,
        }
    }

    fn checked(self) -> Result<Item, KnowledgeFileError> {
        let Self { source, digest, retrieved_at_ms } = self;
        Ok(Item { source: Name::new(source)?, digest: hash("digest", &digest)?, retrieved_at_ms })
    }
}

impl FilePlaced {
    fn of(placed: &Placed) -> Self {
        let path = placed.path.iter().map(ToString::to_string).collect();
        Self { item: FileItem::of(&placed.item), index: placed.index, path }
    }

    fn checked(self) -> Result<Placed, KnowledgeFileError> {
        if self.path.len() > PATH_HASHES_MAX {
            return Err(KnowledgeFileError::Field("path"));
        }
        let path = self.path.iter().map(|text| hash("path", text)).collect::<Result<_, _>>()?;
        Ok(Placed { item: self.item.checked()?, index: self.index, path })
    }
}

fn strict<T: Serialize + for<'de> Deserialize<'de>>(text: &[u8]) -> Result<T, KnowledgeFileError> {
    let file: T = serde_json::from_slice(text)?;
    // The parser takes lists for objects, and more; what it understood, written again, must be the text.
    if serde_json::to_value(&file)? != serde_json::from_slice::<serde_json::Value>(text)? {
        return Err(KnowledgeFileError::Spelling);
    }
    Ok(file)
}

fn hash(field: &'static str, text: &str) -> Result<Hash, KnowledgeFileError> {
    Hash::from_hex(text).ok_or(KnowledgeFileError::Field(field))
}
