//! Log entries: the leaves that the ledger's Merkle log commits to.

use prost::Message;

use super::verdict::Verdict;
use crate::command::{Body as CommandBody, EnvelopeError, MalformedCommand, SignedCommand, decode_strict};
use crate::hash::Hash;
use crate::head::RosterId;
use chancery_proto::v1 as wire;

/// Longest entry, in bytes: what a tile of entries can hold.
pub const ENTRY_SIZE_BYTES_MAX: usize = 65_535;

/// Why bytes are not a log entry.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EntryError {
    /// Not a canonical entry in its bounds.
    #[error("malformed entry: {0}")]
    Malformed(#[from] MalformedCommand),
    /// Its command is not canonical.
    #[error("the entry's command: {0}")]
    Command(#[from] EnvelopeError),
}

/// One leaf of the log.
#[expect(clippy::large_enum_variant, reason = "entries are held one at a time, and most are commands")]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A command that took effect.
    Command {
        /// Its block.
        block: u64,
        /// The block's ledger time, in milliseconds since 1970.
        time_ms: u64,
        /// As it was signed.
        signed: SignedCommand,
        /// What was decided: with an Authorize, and with nothing else.
        verdict: Option<Verdict>,
    },
    /// What the state is after a block; last in every block that has leaves.
    State {
        /// The block.
        block: u64,
        /// Its ledger time.
        time_ms: u64,
        /// Root of the state tree.
        state_root: Hash,
        /// The roster in force.
        roster: RosterId,
        /// The rules of the next block.
        rules_version: u32,
        /// Index of the previous STATE leaf; none in block 0.
        previous: Option<u64>,
    },
}

impl Entry {
    /// The encoding, whose RFC 6962 leaf hash is in the log.
    pub fn encode(&self) -> Vec<u8> {
        use wire::entry::Body;
        match self {
            Self::Command { block, time_ms, signed, verdict } => {
                encode_command(*block, *time_ms, signed, verdict.as_ref())
            }
            Self::State { block, time_ms, state_root, roster, rules_version, previous } => {
                let body = Body::State(wire::StateEntry {
                    block: *block,
                    time_ms: *time_ms,
                    state_root: state_root.0.to_vec(),
                    roster_block: roster.block,
                    roster_digest: roster.digest.0.to_vec(),
                    rules_version: *rules_version,
                    previous: *previous,
                });
                wire::Entry { body: Some(body) }.encode_to_vec()
            }
        }
    }

    /// Decodes a canonical entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        use wire::entry::Body;
        let hash = |field, bytes: &[u8]| Hash::from_slice(bytes).ok_or(MalformedCommand::Length(field));
        let entry = decode_strict::<wire::Entry>(bytes, ENTRY_SIZE_BYTES_MAX)?;
        Ok(match entry.body.ok_or(MalformedCommand::Missing("the entry's body"))? {
            Body::Command(w) => {
                let signed = SignedCommand::from_wire(w.signed.ok_or(MalformedCommand::Missing("command"))?)?;
                let verdict = w.verdict.map(Verdict::from_wire).transpose()?;
                if verdict.is_some() != matches!(signed.command().body, CommandBody::Authorize(_)) {
                    return Err(MalformedCommand::Missing("a verdict where a decision was asked").into());
                }
                Self::Command { block: w.block, time_ms: w.time_ms, signed, verdict }
            }
            Body::State(w) => Self::State {
                block: w.block,
                time_ms: w.time_ms,
                state_root: hash("state_root", &w.state_root)?,
                roster: RosterId { block: w.roster_block, digest: hash("roster_digest", &w.roster_digest)? },
                rules_version: w.rules_version,
                previous: w.previous,
            },
        })
    }
}

/// The encoding of a command's entry.
pub(super) fn encode_command(
    block: u64,
    time_ms: u64,
    signed: &SignedCommand,
    verdict: Option<&Verdict>,
) -> Vec<u8> {
    let (signed, verdict) = (Some(signed.to_wire()), verdict.map(Verdict::to_wire));
    let body = wire::entry::Body::Command(wire::CommandEntry { block, time_ms, signed, verdict });
    wire::Entry { body: Some(body) }.encode_to_vec()
}
