//! What one node signs, in a fixed layout.
//!
//! Signed: [`STATEMENT_PREFIX`], then the body: kind 1 byte (1 fresh, 2 head), node 8, epoch 8, counter 8;
//! for kind 1: nonce root 32, clock 8, tail block 8, tail roster block 8, tail roster digest 32; then the
//! head, 164. On the wire: body, key id 4, signature 64. Integers are big-endian.

use ed25519_dalek::{Signature, Signer, SigningKey};

use super::{Head, RosterId, Voter};
use crate::command::{LedgerId, Name, PublicKey, VerifiedSignatures};
use crate::hash::Hash;

/// What precedes a statement's body in the signed message.
pub const STATEMENT_PREFIX: &[u8] = b"chancery/head/v1\n";

/// Size of an encoded [`Head`], in bytes.
pub const HEAD_SIZE_BYTES: usize = 164;

const KIND_FRESH: u8 = 1;
const KIND_HEAD: u8 = 2;

/// Why bytes are not a statement, or not this node's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StatementError {
    /// Too short, too long, or of an unknown kind.
    #[error("not a head statement: wrong length or kind")]
    Malformed,
    /// The key id is not the one of the node that it names.
    #[error("the key id is not that of the node it names")]
    WrongKey,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    BadSignature,
}

/// Numbers a node's statements: they only grow, across restarts too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Number {
    /// Counts the node's starts.
    pub epoch: u64,
    /// Counts its statements since then.
    pub counter: u64,
}

/// What a fresh statement says beyond the head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fresh {
    /// The root over the nonces that the node had been shown.
    pub nonce_root: Hash,
    /// The node's clock after it was shown them, in milliseconds since 1970.
    pub clock_ms: u64,
    /// The last block flushed in its Raft log.
    pub tail_block: u64,
    /// The roster that its log says is in force.
    pub tail_roster: RosterId,
}

/// A signed statement of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Statement {
    /// The node.
    pub node: u64,
    /// Its number.
    pub number: Number,
    /// Present if it answers a nonce.
    pub fresh: Option<Fresh>,
    /// The newest head that the node applied, or the one that it was asked for.
    pub head: Head,
    key_id: [u8; 4],
    signature: [u8; 64],
}

impl Statement {
    /// Signs as `voter`, whose key is `key`.
    pub fn sign(voter: &Voter, key: &SigningKey, number: Number, fresh: Option<Fresh>, head: Head) -> Self {
        let key_id = key_id(&voter.name, &voter.key);
        let mut statement = Self { node: voter.node, number, fresh, head, key_id, signature: [0; 64] };
        statement.signature = key.sign(&statement.signed_message()).to_bytes();
        statement
    }

    /// Verifies as a statement of `voter`.
    pub fn verify(&self, voter: &Voter) -> Result<(), StatementError> {
        self.verify_with(voter, &VerifiedSignatures::default())
    }

    /// The same, but for what was found good before.
    pub fn verify_with(&self, voter: &Voter, seen: &VerifiedSignatures) -> Result<(), StatementError> {
        if self.node != voter.node || self.key_id != key_id(&voter.name, &voter.key) {
            return Err(StatementError::WrongKey);
        }
        let key = seen.key(&voter.key).ok_or(StatementError::BadSignature)?;
        let message = self.signed_message();
        let verify = || key.verify_strict(&message, &Signature::from_bytes(&self.signature)).is_ok();
        if seen.verified(voter.key, &self.signature, &message, verify) {
            Ok(())
        } else {
            Err(StatementError::BadSignature)
        }
    }

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.body();
        bytes.extend_from_slice(&self.key_id);
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Decodes the wire form; the length must fit exactly.
    pub fn decode(bytes: &[u8]) -> Result<Self, StatementError> {
        let mut reader = Reader(bytes);
        let kind = reader.array::<1>()?;
        let node = reader.u64()?;
        let number = Number { epoch: reader.u64()?, counter: reader.u64()? };
        let fresh = match kind {
            [KIND_FRESH] => Some(Fresh {
                nonce_root: Hash(reader.array()?),
                clock_ms: reader.u64()?,
                tail_block: reader.u64()?,
                tail_roster: RosterId { block: reader.u64()?, digest: Hash(reader.array()?) },
            }),
            [KIND_HEAD] => None,
            _ => return Err(StatementError::Malformed),
        };
        let head = decode_head(&reader.array::<HEAD_SIZE_BYTES>()?)?;
        let (key_id, signature) = (reader.array()?, reader.array()?);
        reader.end()?;
        Ok(Self { node, number, fresh, head, key_id, signature })
    }

    fn body(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(352);
        bytes.push(if self.fresh.is_some() { KIND_FRESH } else { KIND_HEAD });
        for integer in [self.node, self.number.epoch, self.number.counter] {
            bytes.extend_from_slice(&integer.to_be_bytes());
        }
        if let Some(fresh) = &self.fresh {
            bytes.extend_from_slice(fresh.nonce_root.as_bytes());
            for integer in [fresh.clock_ms, fresh.tail_block, fresh.tail_roster.block] {
                bytes.extend_from_slice(&integer.to_be_bytes());
            }
            bytes.extend_from_slice(fresh.tail_roster.digest.as_bytes());
        }
        bytes.extend_from_slice(&encode_head(&self.head));
        bytes
    }

    fn signed_message(&self) -> Vec<u8> {
        [STATEMENT_PREFIX, &self.body()].concat()
    }
}

/// As c2sp.org/signed-note, with a signature type of our own: `ff "chancery/head/v1"`.
fn key_id(name: &Name, key: &PublicKey) -> [u8; 4] {
    let hash = Hash::of(&[name.as_str().as_bytes(), b"\n\xffchancery/head/v1", &key.0]);
    let [a, b, c, d, ..] = hash.0;
    [a, b, c, d]
}

pub(super) fn encode_head(head: &Head) -> [u8; HEAD_SIZE_BYTES] {
    let mut bytes = [0; HEAD_SIZE_BYTES];
    let parts: [&[u8]; 9] = [
        head.ledger.0.as_bytes(),
        &head.block.to_be_bytes(),
        &head.time_ms.to_be_bytes(),
        &head.log_size.to_be_bytes(),
        head.log_root.as_bytes(),
        head.state_root.as_bytes(),
        &head.roster.block.to_be_bytes(),
        head.roster.digest.as_bytes(),
        &head.rules_version.to_be_bytes(),
    ];
    for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    bytes
}

pub(super) fn decode_head(bytes: &[u8]) -> Result<Head, StatementError> {
    let mut reader = Reader(bytes);
    let head = Head {
        ledger: LedgerId(Hash(reader.array()?)),
        block: reader.u64()?,
        time_ms: reader.u64()?,
        log_size: reader.u64()?,
        log_root: Hash(reader.array()?),
        state_root: Hash(reader.array()?),
        roster: RosterId { block: reader.u64()?, digest: Hash(reader.array()?) },
        rules_version: u32::from_be_bytes(reader.array()?),
    };
    reader.end()?;
    Ok(head)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], StatementError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(StatementError::Malformed)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u64(&mut self) -> Result<u64, StatementError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    const fn end(&self) -> Result<(), StatementError> {
        if self.0.is_empty() { Ok(()) } else { Err(StatementError::Malformed) }
    }
}
