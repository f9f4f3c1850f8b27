//! The evidence file: strict JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{EVIDENCE_FORMAT, EVIDENCE_SIZE_BYTES_MAX, Evidence, Leaf, Proof};
use crate::answer::{AnswerError, Moment, Nonce, decode_answer, decode_past_answer};
use crate::authority::{ENTRY_SIZE_BYTES_MAX, INCLUSION_HASHES_MAX};
use crate::checkpoint::CheckpointError;
use crate::command::{GenerationId, LedgerId, MalformedCommand, Name, NameError};
use crate::decide::Request;
use crate::hash::{Hash, from_hex, to_hex};
use crate::head::{RosterChain, RosterChainDecodeError, StatementError};
use crate::knowledge::Knowledge;

/// Why a file is not evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceFileError {
    /// Larger than any evidence.
    #[error("more than {0} bytes")]
    TooLarge(usize),
    /// Not the JSON that it should be.
    #[error("not an evidence file: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON that says the same in another way: an object as a list, or an absent member as null.
    #[error("not an evidence file: it is not spelled as one")]
    Spelling,
    /// Another format, or another version of it.
    #[error("the format is {0:?}, not the one that is expected")]
    Format(String),
    /// A field is not hex, not base64, too long, or there where its kind of question has none.
    #[error("{0} is not well formed")]
    Field(&'static str),
    /// A name is not one.
    #[error("{field} {source}")]
    Name {
        /// Which.
        field: &'static str,
        /// Why not.
        source: NameError,
    },
    /// The answer is malformed.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The knowledge is malformed, or not shown to be what it says.
    #[error("knowledge: {0}")]
    Knowledge(#[source] MalformedCommand),
    /// The roster chain is malformed.
    #[error(transparent)]
    Rosters(#[from] RosterChainDecodeError),
    /// A head or a statement is not one, or there are too many.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The statements are not sorted, or too many.
    #[error(transparent)]
    Statements(#[from] MalformedCommand),
    /// The checkpoint is not one.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    format: String,
    origin: String,
    ledger: String,
    question: Question,
    /// Base64 of the encoded `Answer` or `PastAnswer`.
    answer: String,
    /// Base64 of the encoded `RosterChain`; absent if it has no link.
    #[serde(skip_serializing_if = "Option::is_none")]
    rosters: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<FileLeaf>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    kind: Kind,
    agent: String,
    action: String,
    resource: String,
    args_digest: String,
    /// Base64 of the arguments, if they are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<String>,
    /// Base64 of the encoded `Knowledge`, if there is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    knowledge: Option<String>,
    /// Absent if the request names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<String>,
    /// Of a `check`.
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    /// Of an `at_block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<u64>,
    /// Of an `at_time`.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ms: Option<u64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Check,
    RecentCheck,
    AtBlock,
    AtTime,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileLeaf {
    index: u64,
    /// Base64 of the encoded `Entry`.
    entry: String,
    /// Hex, from the leaf up.
    proof: Vec<String>,
}

impl FileLeaf {
    pub(super) fn of(leaf: &Leaf) -> Self {
        Self {
            index: leaf.index,
            entry: BASE64.encode(&leaf.entry),
            proof: leaf.proof.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Evidence {
    /// The file's text.
    pub fn to_json(&self) -> String {
        text(&self.to_file())
    }

    pub(super) fn to_file(&self) -> File {
        let (kind, nonce, moment, answer) = match &self.proof {
            Proof::Check { nonce, answer } => (Kind::Check, Some(to_hex(&nonce.0)), None, answer.encode()),
            Proof::Recent { answer } => (Kind::RecentCheck, None, None, answer.encode()),
            Proof::Past { moment: Moment::Block(block), answer } => {
                (Kind::AtBlock, None, Some((Some(*block), None)), answer.encode())
            }
            Proof::Past { moment: Moment::Time(time_ms), answer } => {
                (Kind::AtTime, None, Some((None, Some(*time_ms))), answer.encode())
            }
        };
        let (block, time_ms) = moment.unwrap_or_default();
        File {
            format: EVIDENCE_FORMAT.into(),
            origin: self.origin.clone(),
            ledger: self.ledger.to_string(),
            question: Question {
                kind,
                agent: self.request.agent.to_string(),
                action: self.request.action.to_string(),
                resource: self.request.resource.to_string(),
                args_digest: self.request.args_digest.to_string(),
                args: self.request.args.as_ref().map(|text| BASE64.encode(text)),
                knowledge: self.request.knowledge.as_ref().map(|knowledge| BASE64.encode(knowledge.encode())),
                generation: self.request.generation.map(|id| id.to_string()),
                nonce,
                block,
                time_ms,
            },
            answer: BASE64.encode(answer),
            rosters: (!self.rosters.links.is_empty()).then(|| BASE64.encode(self.rosters.encode())),
            cause: self.cause.as_ref().map(FileLeaf::of),
        }
    }

    /// Parses a file strictly: unknown and repeated members are errors, and so is any other spelling than the
    /// one that [`Evidence::to_json`] writes, but for white space, the order of members, and escapes in texts.
    pub fn from_json(text: &[u8]) -> Result<Self, EvidenceFileError> {
        Self::from_file(parse(text, EVIDENCE_SIZE_BYTES_MAX)?)
    }

    pub(super) fn from_file(file: File) -> Result<Self, EvidenceFileError> {
        if file.format != EVIDENCE_FORMAT {
            return Err(EvidenceFileError::Format(file.format));
        }
        let name = |field, text| Name::new(text).map_err(|source| EvidenceFileError::Name { field, source });
        let proof = proof(&file.question, &base64("answer", &file.answer)?)?;
        let Question { agent, action, resource, args_digest, args, knowledge, generation, .. } =
            file.question;
        let args_digest = hash("args_digest", &args_digest)?;
        let args = args.map(|args| base64("args", &args)).transpose()?;
        if args.as_ref().is_some_and(|args| Hash::of(&[args]) != args_digest) {
            return Err(EvidenceFileError::Field("args"));
        }
        let generation = generation.map(|text| hash("generation", &text)).transpose()?.map(GenerationId);
        Ok(Self {
            origin: file.origin,
            ledger: LedgerId(hash("ledger", &file.ledger)?),
            request: Request {
                agent: name("agent", agent)?,
                action: name("action", action)?,
                resource: name("resource", resource)?,
                args_digest,
                args,
                knowledge: knowledge.as_deref().map(shown_knowledge).transpose()?,
                generation,
                hint: None,
            },
            proof,
            rosters: file.rosters.as_deref().map(rosters).transpose()?.unwrap_or_default(),
            cause: file.cause.map(leaf).transpose()?,
        })
    }
}

/// The text of a file.
pub(super) fn text(file: &impl Serialize) -> String {
    // INVARIANT: strings, integers and lists of them always serialize.
    let mut text = serde_json::to_string_pretty(file).unwrap_or_default();
    text.push('\n');
    text
}

/// What a text says, if it is spelled as [`text`] writes it, but for white space, the order of members, and escapes.
pub(super) fn parse<F: Serialize + DeserializeOwned>(
    text: &[u8],
    size_bytes_max: usize,
) -> Result<F, EvidenceFileError> {
    if text.len() > size_bytes_max {
        return Err(EvidenceFileError::TooLarge(size_bytes_max));
    }
    let file: F = serde_json::from_slice(text)?;
    // The parser takes lists for objects, and more; what it understood, written again, must be the text.
    if serde_json::to_value(&file)? != serde_json::from_slice::<serde_json::Value>(text)? {
        return Err(EvidenceFileError::Spelling);
    }
    Ok(file)
}

/// Whether a text names this format.
pub(super) fn is_named(text: &[u8], format: &str) -> bool {
    #[derive(Deserialize)]
    struct Named {
        format: String,
    }
    serde_json::from_slice::<Named>(text).is_ok_and(|named| named.format == format)
}

/// The proof that the kind of question has, which has this kind's members and no other's.
fn proof(question: &Question, answer: &[u8]) -> Result<Proof, EvidenceFileError> {
    let past = |moment| {
        let answer = decode_past_answer(answer, EVIDENCE_SIZE_BYTES_MAX)?;
        Ok::<_, EvidenceFileError>(Proof::Past { moment, answer })
    };
    let check = || decode_answer(answer, EVIDENCE_SIZE_BYTES_MAX);
    match (question.kind, &question.nonce, question.block, question.time_ms) {
        (Kind::Check, Some(text), None, None) => {
            let mut nonce = [0; 32];
            from_hex(text, &mut nonce).ok_or(EvidenceFileError::Field("nonce"))?;
            Ok(Proof::Check { nonce: Nonce(nonce), answer: check()? })
        }
        (Kind::RecentCheck, None, None, None) => Ok(Proof::Recent { answer: check()? }),
        (Kind::AtBlock, None, Some(block), None) => past(Moment::Block(block)),
        (Kind::AtTime, None, None, Some(time_ms)) => past(Moment::Time(time_ms)),
        _ => Err(EvidenceFileError::Field("question")),
    }
}

pub(super) fn rosters(text: &str) -> Result<RosterChain, EvidenceFileError> {
    let chain = RosterChain::decode(&base64("rosters", text)?)?;
    // Without a link the member is absent.
    if chain.links.is_empty() { Err(EvidenceFileError::Field("rosters")) } else { Ok(chain) }
}

fn shown_knowledge(text: &str) -> Result<Knowledge, EvidenceFileError> {
    Knowledge::decode(&base64("knowledge", text)?).map_err(EvidenceFileError::Knowledge)
}

pub(super) fn leaf(file: FileLeaf) -> Result<Leaf, EvidenceFileError> {
    let entry = base64("entry", &file.entry)?;
    if entry.len() > ENTRY_SIZE_BYTES_MAX || file.proof.len() > INCLUSION_HASHES_MAX {
        return Err(EvidenceFileError::Field("leaf"));
    }
    let proof = file.proof.iter().map(|text| hash("proof", text)).collect::<Result<_, _>>()?;
    Ok(Leaf { index: file.index, entry, proof })
}

pub(super) fn hash(field: &'static str, text: &str) -> Result<Hash, EvidenceFileError> {
    Hash::from_hex(text).ok_or(EvidenceFileError::Field(field))
}

/// Canonical base64 only: the engine refuses missing padding and bits beyond the end.
pub(super) fn base64(field: &'static str, text: &str) -> Result<Vec<u8>, EvidenceFileError> {
    BASE64.decode(text).map_err(|_| EvidenceFileError::Field(field))
}
