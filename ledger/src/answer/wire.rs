//! Answers on the wire.

use prost::Message;

use super::Answer;
use crate::command::{MalformedCommand, decode_strict, grant_ref_from_wire, grant_ref_to_wire};
use crate::hash::Hash;
use crate::head::{Head, Statement, StatementError, decode_statements};
use crate::log::nonces::NoncePath;
use crate::state::{PrunedDecodeError, PrunedTree};
use chancery_proto::v1 as wire;

/// Why bytes are not an answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnswerError {
    /// Not a canonical message in its bounds.
    #[error("malformed answer: {0}")]
    Malformed(#[from] MalformedCommand),
    /// A head or a statement is not one.
    #[error("malformed answer: {0}")]
    Statement(#[from] StatementError),
    /// The read set is not a pruned tree.
    #[error("malformed read set: {0}")]
    Tree(#[from] PrunedDecodeError),
}

impl Answer {
    /// The encoding.
    pub fn encode(&self) -> Vec<u8> {
        let statements = |list: &[Statement]| list.iter().map(Statement::encode).collect();
        wire::Answer {
            head: self.head.encode().to_vec(),
            statements: statements(&self.statements),
            head_statements: statements(&self.head_statements),
            nonce_path: Some(wire::NoncePath {
                index: self.nonce_path.index,
                count: self.nonce_path.count,
                hashes: self.nonce_path.hashes.iter().map(|hash| hash.0.to_vec()).collect(),
            }),
            tree: self.tree.encode(),
            hint: self.hint.map(grant_ref_to_wire),
            language: self.language.clone(),
        }
        .encode_to_vec()
    }
}

/// Decodes an answer of at most `size_bytes_max`, strictly.
pub fn decode_answer(bytes: &[u8], size_bytes_max: usize) -> Result<Answer, AnswerError> {
    let w = decode_strict::<wire::Answer>(bytes, size_bytes_max)?;
    let hash = |bytes: &[u8]| Hash::from_slice(bytes).ok_or(MalformedCommand::Length("hash"));
    let path = w.nonce_path.ok_or(MalformedCommand::Missing("nonce path"))?;
    Ok(Answer {
        head: Head::decode(&w.head)?,
        statements: decode_statements::<AnswerError>(&w.statements)?,
        head_statements: decode_statements::<AnswerError>(&w.head_statements)?,
        nonce_path: NoncePath {
            index: path.index,
            count: path.count,
            hashes: path.hashes.iter().map(|bytes| hash(bytes)).collect::<Result<_, _>>()?,
        },
        tree: PrunedTree::decode(&w.tree, size_bytes_max)?,
        hint: w.hint.as_ref().map(grant_ref_from_wire).transpose()?,
        language: language(w.language)?,
    })
}

/// A version: three numbers with points between them.
fn language(version: String) -> Result<String, MalformedCommand> {
    let digits = |part: &str| matches!(part.len(), 1..=4) && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = version.split('.').filter(|part| digits(part)).count();
    let well_formed = parts == 3 && version.split('.').count() == 3;
    if well_formed { Ok(version) } else { Err(MalformedCommand::OutOfBounds("language")) }
}
