//! Blocks: what one Raft entry carries.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use prost::Message;

use crate::command::{
    Body, EnvelopeError, LedgerId, MalformedCommand, PublicKey, SignedCommand, decode_strict,
    roster_from_wire, roster_to_wire,
};
use crate::hash::Hash;
use crate::head::Roster;
use chancery_proto::v1 as wire;

/// Longest encoded block, in bytes.
pub const BLOCK_SIZE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most commands in one block.
pub const BLOCK_COMMANDS_MAX: usize = 4096;

/// The number of the field `roster`.
const ROSTER_FIELD: u32 = 7;

/// Why bytes are not a block.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BlockError {
    /// Not a canonical block in its bounds.
    #[error("malformed block: {0}")]
    Malformed(#[from] MalformedCommand),
    /// One of its commands is not canonical.
    #[error("command {position} of the block: {source}")]
    Command {
        /// Its place in the block.
        position: usize,
        /// What is wrong.
        source: EnvelopeError,
    },
    /// A roster block whose commands are not those of its roster.
    #[error("not a roster block: a joint one holds the SetRoster that asks for it, a uniform one no command")]
    NotARosterBlock,
    /// The proposer's signature does not verify.
    #[error("the block is not signed by its proposer")]
    BadSignature,
}

/// The commands that one Raft entry carries, chained to the block before.
///
/// A block does not carry its own number: that is its position among the block entries of the Raft log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// [`Block::hash`] of the one before; zero in block 0.
    pub previous_hash: Hash,
    /// The proposer's clock, in milliseconds since 1970.
    pub stamp_ms: u64,
    /// The leader that proposed it; 0 in block 0.
    pub proposer: u64,
    /// The Raft term in which it did; 0 in block 0.
    pub term: u64,
    /// The newest block that the proposer had applied.
    pub head_block: u64,
    /// [`crate::head::Head::hash`] after that block; zero in block 0.
    pub head_hash: Hash,
    /// The roster that the block brings into force. It makes a *roster block*: a joint one begins a change of
    /// the voters and holds just the command that asks for it, a uniform one ends it and holds none.
    pub roster: Option<Roster>,
    /// In the order in which they are applied.
    pub commands: Vec<SignedCommand>,
    signature: Vec<u8>,
}

impl Block {
    /// A genesis block: block 0, signed by no node.
    pub fn genesis(stamp_ms: u64, command: SignedCommand) -> Self {
        Self {
            previous_hash: Hash::ZERO,
            stamp_ms,
            proposer: 0,
            term: 0,
            head_block: 0,
            head_hash: Hash::ZERO,
            roster: None,
            commands: vec![command],
            signature: Vec::new(),
        }
    }

    /// A block signed by its proposer. `head` is its newest applied head: block number and hash.
    pub fn propose(
        ledger: LedgerId,
        previous_hash: Hash,
        stamp_ms: u64,
        (proposer, term): (u64, u64),
        (head_block, head_hash): (u64, Hash),
        commands: Vec<SignedCommand>,
        key: &SigningKey,
    ) -> Self {
        let (roster, signature) = (None, Vec::new());
        let block = Self {
            previous_hash,
            stamp_ms,
            proposer,
            term,
            head_block,
            head_hash,
            roster,
            commands,
            signature,
        };
        block.signed(ledger, key)
    }

    /// A block like [`Block::propose`], that begins the change of the voters which `command` asks for;
    /// `joint` is [`Roster::joint_with`] of the roster in force.
    ///
    /// Raft's membership changes with it, so it must not be refused: whoever proposes it applies it first,
    /// to the state after everything before it.
    pub fn propose_joint(
        ledger: LedgerId,
        previous_hash: Hash,
        stamp_ms: u64,
        proposer: (u64, u64),
        head: (u64, Hash),
        (joint, command): (Roster, SignedCommand),
        key: &SigningKey,
    ) -> Self {
        let block = Self::propose(ledger, previous_hash, stamp_ms, proposer, head, vec![command], key);
        Self { roster: Some(joint), ..block }.signed(ledger, key)
    }

    /// A block like [`Block::propose`], that ends a change of the voters; `uniform` is
    /// [`Roster::completed`] of the joint roster.
    ///
    /// It can be made together with the joint block that it follows, from that one's hash and with the same
    /// head.
    pub fn propose_uniform(
        ledger: LedgerId,
        previous_hash: Hash,
        stamp_ms: u64,
        proposer: (u64, u64),
        head: (u64, Hash),
        uniform: Roster,
        key: &SigningKey,
    ) -> Self {
        let block = Self::propose(ledger, previous_hash, stamp_ms, proposer, head, Vec::new(), key);
        Self { roster: Some(uniform), ..block }.signed(ledger, key)
    }

    fn signed(self, ledger: LedgerId, key: &SigningKey) -> Self {
        let block = Self { signature: Vec::new(), ..self };
        let signature = key.sign(&block.signed_message(ledger)).to_bytes().to_vec();
        Self { signature, ..block }
    }

    /// Demands the signature of the proposer, whose key is `key`.
    pub fn verify(&self, ledger: LedgerId, key: &PublicKey) -> Result<(), BlockError> {
        let signature = Signature::from_slice(&self.signature).map_err(|_| BlockError::BadSignature)?;
        VerifyingKey::from_bytes(&key.0)
            .and_then(|key| key.verify_strict(&self.signed_message(ledger), &signature))
            .map_err(|_| BlockError::BadSignature)
    }

    /// The encoding.
    pub fn encode(&self) -> Vec<u8> {
        self.to_wire().encode_to_vec()
    }

    /// Decodes a canonical block in its bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let w = decode_strict::<wire::Block>(bytes, BLOCK_SIZE_BYTES_MAX)?;
        if (w.commands.is_empty() && w.roster.is_none()) || w.commands.len() > BLOCK_COMMANDS_MAX {
            return Err(MalformedCommand::OutOfBounds("commands of a block").into());
        }
        let hash = |field, bytes: &[u8]| Hash::from_slice(bytes).ok_or(MalformedCommand::Length(field));
        let command = |(position, signed)| {
            SignedCommand::from_wire(signed).map_err(|source| BlockError::Command { position, source })
        };
        let block = Self {
            previous_hash: hash("previous_hash", &w.previous_hash)?,
            stamp_ms: w.stamp_ms,
            proposer: w.proposer,
            term: w.term,
            head_block: w.head_block,
            head_hash: hash("head_hash", &w.head_hash)?,
            roster: w.roster.map(roster_from_wire).transpose()?,
            commands: w.commands.into_iter().enumerate().map(command).collect::<Result<_, _>>()?,
            signature: w.signature,
        };
        block.check_roster()?;
        Ok(block)
    }

    /// Whether the commands of a roster block are those of its roster.
    pub(super) fn check_roster(&self) -> Result<(), BlockError> {
        let fits = match (self.roster.as_ref().map(Roster::sets), self.commands.as_slice()) {
            (None, _) | (Some([_]), []) => true,
            (Some([_, next]), [signed]) => {
                matches!(&signed.command().body, Body::SetRoster { voters, .. } if voters == next)
            }
            (Some(_), _) => false,
        };
        if fits { Ok(()) } else { Err(BlockError::NotARosterBlock) }
    }

    /// The hash that the next block's `previous_hash` repeats: of the encoded block.
    pub fn hash_of(bytes: &[u8]) -> Hash {
        Hash::labelled("chancery/block/v1", &[bytes])
    }

    /// The stamp of an encoded block, without decoding the rest; `None` if it does not begin as a block that
    /// has one.
    pub fn stamp_of(bytes: &[u8]) -> Option<u64> {
        // In the one encoding of a block its first field is a hash, and its second the stamp.
        let mut rest = bytes.strip_prefix(&[0x0a, 0x20])?.get(32..)?.strip_prefix(&[0x10])?;
        prost::encoding::decode_varint(&mut rest).ok()
    }

    /// The roster that an encoded block brings into force, without decoding its commands: what a log must
    /// know as it appends the block, before it can be applied. The roster's id is [`Roster::id`] of the
    /// block's number.
    ///
    /// # Errors
    /// The bytes do not begin as a block. That they begin as one does not make them one: only
    /// [`Block::decode`] says so, and for every block it finds the same roster.
    pub fn roster_of(bytes: &[u8]) -> Result<Option<Roster>, BlockError> {
        let mut rest = bytes;
        // In the one encoding of a block the fields are in this order, and none is there twice.
        while !rest.is_empty() {
            let malformed = |error: prost::DecodeError| MalformedCommand::Protobuf(error.to_string());
            let (field, wire_type) = prost::encoding::decode_key(&mut rest).map_err(malformed)?;
            match field {
                1..ROSTER_FIELD => {
                    let context = prost::encoding::DecodeContext::default();
                    prost::encoding::skip_field(wire_type, field, &mut rest, context).map_err(malformed)?;
                }
                ROSTER_FIELD => {
                    let length = prost::encoding::decode_varint(&mut rest).map_err(malformed)?;
                    let roster = usize::try_from(length).ok().and_then(|length| rest.get(..length));
                    let roster = roster.ok_or(MalformedCommand::Length("roster"))?;
                    let roster = decode_strict::<wire::Roster>(roster, BLOCK_SIZE_BYTES_MAX)?;
                    return Ok(Some(roster_from_wire(roster)?));
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Whether `other` proposes the same, whatever its signature is.
    pub fn proposes_same(&self, other: &Self) -> bool {
        let unsigned = |block: &Self| wire::Block { signature: Vec::new(), ..block.to_wire() };
        unsigned(self) == unsigned(other)
    }

    /// [`Block::hash_of`] this block.
    pub fn hash(&self) -> Hash {
        Self::hash_of(&self.encode())
    }

    fn to_wire(&self) -> wire::Block {
        wire::Block {
            previous_hash: self.previous_hash.0.to_vec(),
            stamp_ms: self.stamp_ms,
            proposer: self.proposer,
            term: self.term,
            head_block: self.head_block,
            head_hash: self.head_hash.0.to_vec(),
            roster: self.roster.as_ref().map(roster_to_wire),
            commands: self.commands.iter().map(SignedCommand::to_wire).collect(),
            signature: self.signature.clone(),
        }
    }

    fn signed_message(&self, ledger: LedgerId) -> Vec<u8> {
        let unsigned = wire::Block { signature: Vec::new(), ..self.to_wire() };
        let mut message = b"chancery/block-proposal/v1\0".to_vec();
        message.extend_from_slice(ledger.0.as_bytes());
        message.extend_from_slice(&unsigned.encode_to_vec());
        message
    }
}
