//! Answers on the wire.

use prost::Message;

use super::{Answer, HeadProof, PastAnswer};
use crate::authority::{GrantRef, Leaf};
use crate::command::{MalformedCommand, decode_strict, grant_ref_from_wire, grant_ref_to_wire};
use crate::hash::Hash;
use crate::head::{Head, Statement, StatementError, decode_statements};
use crate::log::nonces::NoncePath;
use crate::state::{KeptError, PrunedDecodeError, PrunedTree};
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
    /// What was sent does not make a read set of what was kept.
    #[error("kept read set: {0}")]
    Kept(#[from] KeptError),
}

impl HeadProof {
    /// What [`Answer::encode_beside`] leaves out: the head, the statements, and the further signatures.
    pub fn to_wire(&self) -> (Vec<u8>, Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let Self { head, statements, head_statements } = self;
        (head.encode().to_vec(), statements_to_wire(statements), statements_to_wire(head_statements))
    }

    /// Reads what [`HeadProof::to_wire`] gave.
    ///
    /// # Errors
    /// It is not that.
    pub fn from_wire(
        head: &[u8],
        statements: &[Vec<u8>],
        head_statements: &[Vec<u8>],
    ) -> Result<Self, AnswerError> {
        Ok(Self {
            head: Head::decode(head)?,
            statements: decode_statements::<AnswerError>(statements)?,
            head_statements: decode_statements::<AnswerError>(head_statements)?,
        })
    }
}

impl Answer {
    /// The encoding.
    pub fn encode(&self) -> Vec<u8> {
        wire::Answer {
            head: self.head.encode().to_vec(),
            statements: statements_to_wire(&self.statements),
            head_statements: statements_to_wire(&self.head_statements),
            ..self.to_wire_beside()
        }
        .encode_to_vec()
    }

    /// The encoding but for the head and the statements, which a [`HeadProof`] beside it has.
    pub fn encode_beside(&self) -> Vec<u8> {
        self.to_wire_beside().encode_to_vec()
    }

    fn to_wire_beside(&self) -> wire::Answer {
        wire::Answer {
            tree: self.tree.encode(),
            ..to_wire_around(self.nonce_path.as_ref(), self.hint, &self.language)
        }
    }
}

/// The encoding of an answer but for the head, the statements and the tree, which are told otherwise.
pub fn encode_answer_around(
    nonce_path: Option<&NoncePath>,
    hint: Option<GrantRef>,
    language: &str,
) -> Vec<u8> {
    to_wire_around(nonce_path, hint, language).encode_to_vec()
}

fn to_wire_around(nonce_path: Option<&NoncePath>, hint: Option<GrantRef>, language: &str) -> wire::Answer {
    wire::Answer {
        nonce_path: nonce_path.map(|path| wire::NoncePath {
            index: path.index,
            count: path.count,
            hashes: path.hashes.iter().map(|hash| hash.0.to_vec()).collect(),
        }),
        hint: hint.map(grant_ref_to_wire),
        language: language.into(),
        ..wire::Answer::default()
    }
}

impl PastAnswer {
    /// The encoding.
    pub fn encode(&self) -> Vec<u8> {
        wire::PastAnswer {
            head: self.head.encode().to_vec(),
            statements: statements_to_wire(&self.statements),
            head_statements: statements_to_wire(&self.head_statements),
            state: Some(self.state.to_wire()),
            next: self.next.as_ref().map(Leaf::to_wire),
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
    let proof = HeadProof::from_wire(&w.head, &w.statements, &w.head_statements)?;
    let tree = PrunedTree::decode(&w.tree, size_bytes_max)?;
    answer_with(proof, tree, w)
}

/// Decodes what [`Answer::encode_beside`] made, of at most `size_bytes_max`, strictly; `proof` is what it leaves out.
pub fn decode_answer_beside(
    bytes: &[u8],
    proof: &HeadProof,
    size_bytes_max: usize,
) -> Result<Answer, AnswerError> {
    let w = decode_strict::<wire::Answer>(bytes, size_bytes_max)?;
    without_head(&w)?;
    let tree = PrunedTree::decode(&w.tree, size_bytes_max)?;
    answer_with(proof.clone(), tree, w)
}

/// Decodes what [`encode_answer_around`] made, of at most `size_bytes_max`, strictly; `proof` and `tree` are what it
/// leaves out.
pub fn decode_answer_around(
    bytes: &[u8],
    proof: &HeadProof,
    tree: PrunedTree,
    size_bytes_max: usize,
) -> Result<Answer, AnswerError> {
    let w = decode_strict::<wire::Answer>(bytes, size_bytes_max)?;
    without_head(&w)?;
    if !w.tree.is_empty() {
        return Err(MalformedCommand::OutOfBounds("a tree beside the kept one").into());
    }
    answer_with(proof.clone(), tree, w)
}

fn without_head(w: &wire::Answer) -> Result<(), MalformedCommand> {
    if w.head.is_empty() && w.statements.is_empty() && w.head_statements.is_empty() {
        return Ok(());
    }
    Err(MalformedCommand::OutOfBounds("a head beside the round's"))
}

fn answer_with(proof: HeadProof, tree: PrunedTree, w: wire::Answer) -> Result<Answer, AnswerError> {
    let path = |path: wire::NoncePath| {
        let hashes = path.hashes.iter().map(|bytes| hash(bytes)).collect::<Result<_, _>>()?;
        Ok::<_, AnswerError>(NoncePath { index: path.index, count: path.count, hashes })
    };
    let HeadProof { head, statements, head_statements } = proof;
    Ok(Answer {
        head,
        statements,
        head_statements,
        nonce_path: w.nonce_path.map(path).transpose()?,
        tree,
        hint: w.hint.as_ref().map(grant_ref_from_wire).transpose()?,
        language: language(w.language)?,
    })
}

/// Decodes an answer about the past of at most `size_bytes_max`, strictly.
pub fn decode_past_answer(bytes: &[u8], size_bytes_max: usize) -> Result<PastAnswer, AnswerError> {
    let w = decode_strict::<wire::PastAnswer>(bytes, size_bytes_max)?;
    Ok(PastAnswer {
        head: Head::decode(&w.head)?,
        statements: decode_statements::<AnswerError>(&w.statements)?,
        head_statements: decode_statements::<AnswerError>(&w.head_statements)?,
        state: Leaf::from_wire(w.state.ok_or(MalformedCommand::Missing("state leaf"))?)?,
        next: w.next.map(Leaf::from_wire).transpose()?,
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

fn statements_to_wire(list: &[Statement]) -> Vec<Vec<u8>> {
    list.iter().map(Statement::encode).collect()
}

fn hash(bytes: &[u8]) -> Result<Hash, MalformedCommand> {
    Hash::from_slice(bytes).ok_or(MalformedCommand::Length("hash"))
}
