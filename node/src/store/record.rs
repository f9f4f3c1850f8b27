//! The keys of the log store, and its records' bytes. Every record starts with a version byte; integers
//! are big-endian and every record is decoded to its last byte. RocksDB checksums what it stores, so
//! there is no second checksum here.
//!
//! | key | value |
//! |---|---|
//! | `e` ‖ index | 1 ‖ term ‖ [position](Position) ‖ [payload](crate::raft::payload_bytes) |
//! | `m/purged` | 1 ‖ term ‖ index ‖ position |
//! | `m/vote` | 1 ‖ term ‖ node ‖ 0 or 1 (committed) |
//! | `m/committed` | 1 ‖ term ‖ index |
//! | `m/epoch` | 1 ‖ boot epoch |
//! | `m/signed` | 1 ‖ log size ‖ log root |
//! | `m/genesis` | 1 ‖ position |
//! | `m/batch` | 1 ‖ number of the last batch ‖ the store's [nonce](crate::store::torn_tail) |

use chancery_ledger::hash::Hash;
use chancery_ledger::head::RosterId;

use crate::raft::payload_bytes;
use crate::raft::types::{Entry, LogId, Payload, Vote, log_id};
use crate::store::fault::LogFault;
use crate::store::raft_log::SignedHead;
use crate::store::tail::Position;
use crate::store::torn_tail::BatchNumber;

const VERSION: u8 = 1;

pub(super) const PURGED: &[u8] = b"m/purged";
pub(super) const VOTE: &[u8] = b"m/vote";
pub(super) const COMMITTED: &[u8] = b"m/committed";
pub(super) const EPOCH: &[u8] = b"m/epoch";
pub(super) const SIGNED: &[u8] = b"m/signed";
pub(super) const GENESIS: &[u8] = b"m/genesis";
pub(super) const BATCH: &[u8] = b"m/batch";

/// The key before which all entries' keys sort, and after which none does.
pub(super) const ENTRIES_END: &[u8] = b"f";

/// The key of the entry at `index`.
pub(super) fn entry_key(index: u64) -> [u8; 9] {
    let mut key = [b'e'; 9];
    // INVARIANT: nine bytes end in eight.
    if let Some(place) = key.last_chunk_mut() {
        *place = index.to_be_bytes();
    }
    key
}

/// The index in an entry's key.
pub(super) fn entry_index(key: &[u8]) -> Option<u64> {
    let (b'e', index) = key.split_first()? else { return None };
    Some(u64::from_be_bytes(index.try_into().ok()?))
}

/// An entry with its position.
pub(super) fn encode_entry(entry: &Entry, position: &Position) -> Result<Vec<u8>, LogFault> {
    let block_bytes = entry.payload.block().map_or(0, |block| block.bytes().len());
    let mut out = Vec::with_capacity(block_bytes + 160);
    out.push(VERSION);
    out.extend_from_slice(&entry.log_id.leader_id.term.to_be_bytes());
    push_position(&mut out, position);
    payload_bytes::encode(&entry.payload, &mut out)
        .map_err(|error| LogFault::Encode { log_id: entry.log_id, reason: error.to_string() })?;
    Ok(out)
}

/// The entry in the record at `index`.
pub(super) fn decode_entry(index: u64, record: &[u8]) -> Result<Entry, LogFault> {
    let (log_id, _, payload) = split_entry(index, record)?;
    Ok(Entry { log_id, payload: decode_payload(index, payload)? })
}

/// The id and position of the entry in the record at `index`.
pub(super) fn decode_position_of_entry(index: u64, record: &[u8]) -> Result<(LogId, Position), LogFault> {
    split_entry(index, record).map(|(log_id, position, _)| (log_id, position))
}

fn split_entry(index: u64, record: &[u8]) -> Result<(LogId, Position, &[u8]), LogFault> {
    let mut fields = Fields::of(record);
    match (fields.version(), fields.integer(), fields.position()) {
        (Some(()), Some(term), Some(position)) => Ok((log_id(term, index), position, fields.rest)),
        _ => Err(corrupt_entry(index, "not an entry's record")),
    }
}

fn decode_payload(index: u64, bytes: &[u8]) -> Result<Payload, LogFault> {
    payload_bytes::decode(bytes).map_err(|error| corrupt_entry(index, &error.to_string()))
}

/// The fault of a bad or missing record at `index`.
pub(super) fn corrupt_entry(index: u64, reason: &str) -> LogFault {
    LogFault::Corrupt { what: format!("log index {index}"), reason: reason.to_owned() }
}

pub(super) fn encode_purged(purged: LogId, position: &Position) -> Vec<u8> {
    let mut out = encode_log_id(purged);
    push_position(&mut out, position);
    out
}

pub(super) fn decode_purged(record: &[u8]) -> Result<(LogId, Position), LogFault> {
    whole("m/purged", record, |fields| Some((fields.log_id()?, fields.position()?)))
}

pub(super) fn encode_vote(vote: &Vote) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&vote.leader_id.term.to_be_bytes());
    out.extend_from_slice(&vote.leader_id.voted_for.to_be_bytes());
    out.push(u8::from(vote.committed));
    out
}

pub(super) fn decode_vote(record: &[u8]) -> Result<Vote, LogFault> {
    whole("m/vote", record, |fields| {
        let (term, node) = (fields.integer()?, fields.integer()?);
        match fields.take::<1>()? {
            [0] => Some(Vote::new(term, node)),
            [1] => Some(Vote::new_committed(term, node)),
            _ => None,
        }
    })
}

pub(super) fn encode_log_id(log_id: LogId) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&log_id.leader_id.term.to_be_bytes());
    out.extend_from_slice(&log_id.index.to_be_bytes());
    out
}

pub(super) fn decode_log_id(record: &[u8]) -> Result<LogId, LogFault> {
    whole("m/committed", record, Fields::log_id)
}

pub(super) fn encode_epoch(epoch: u64) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&epoch.to_be_bytes());
    out
}

pub(super) fn decode_epoch(record: &[u8]) -> Result<u64, LogFault> {
    whole("m/epoch", record, Fields::integer)
}

pub(super) fn encode_signed(signed: SignedHead) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&signed.size.to_be_bytes());
    out.extend_from_slice(signed.root.as_bytes());
    out
}

pub(super) fn decode_signed(record: &[u8]) -> Result<SignedHead, LogFault> {
    whole("m/signed", record, |fields| Some(SignedHead { size: fields.integer()?, root: fields.hash()? }))
}

pub(super) fn encode_genesis(position: &Position) -> Vec<u8> {
    let mut out = vec![VERSION];
    push_position(&mut out, position);
    out
}

pub(super) fn decode_genesis(record: &[u8]) -> Result<Position, LogFault> {
    whole("m/genesis", record, Fields::position)
}

pub(super) fn encode_batch(batch: BatchNumber) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&batch.number.to_be_bytes());
    out.extend_from_slice(&batch.nonce);
    out
}

pub(super) fn decode_batch(record: &[u8]) -> Result<BatchNumber, LogFault> {
    whole("m/batch", record, |fields| Some(BatchNumber { number: fields.integer()?, nonce: fields.take()? }))
}

fn push_position(out: &mut Vec<u8>, position: &Position) {
    out.extend_from_slice(&position.block.to_be_bytes());
    out.extend_from_slice(position.block_hash.as_bytes());
    out.extend_from_slice(&position.roster.block.to_be_bytes());
    out.extend_from_slice(position.roster.digest.as_bytes());
    out.extend_from_slice(position.voters.as_bytes());
}

/// Decodes a versioned record to its last byte.
fn whole<'a, T>(
    what: &str,
    record: &'a [u8],
    decode: impl FnOnce(&mut Fields<'a>) -> Option<T>,
) -> Result<T, LogFault> {
    let mut fields = Fields::of(record);
    let value = fields.version().and_then(|()| decode(&mut fields));
    value.filter(|_| fields.rest.is_empty()).ok_or_else(|| LogFault::Corrupt {
        what: what.to_owned(),
        reason: "not a record of this version".to_owned(),
    })
}

/// What is left of a record.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    const fn of(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*field)
    }

    fn version(&mut self) -> Option<()> {
        (self.take()? == [VERSION]).then_some(())
    }

    fn integer(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn hash(&mut self) -> Option<Hash> {
        self.take().map(Hash)
    }

    fn log_id(&mut self) -> Option<LogId> {
        Some(log_id(self.integer()?, self.integer()?))
    }

    fn position(&mut self) -> Option<Position> {
        Some(Position {
            block: self.integer()?,
            block_hash: self.hash()?,
            roster: RosterId { block: self.integer()?, digest: self.hash()? },
            voters: self.hash()?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn position() -> Position {
        Position {
            block: 7,
            block_hash: Hash([1; 32]),
            roster: RosterId { block: 3, digest: Hash([2; 32]) },
            voters: Hash([3; 32]),
        }
    }

    #[test]
    fn records_come_back() {
        let entry = Entry { log_id: log_id(5, 9), payload: Payload::new(Some(vec![1, 2].into()), None) };
        let record = encode_entry(&entry, &position()).unwrap();
        assert_eq!(decode_entry(9, &record).unwrap(), entry);
        assert_eq!(decode_position_of_entry(9, &record).unwrap(), (log_id(5, 9), position()));
        let purged = encode_purged(log_id(5, 9), &position());
        assert_eq!(decode_purged(&purged).unwrap(), (log_id(5, 9), position()));
        for vote in [Vote::new(3, 2), Vote::new_committed(3, 2)] {
            assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
        }
        let signed = SignedHead { size: 4, root: Hash([9; 32]) };
        assert_eq!(decode_signed(&encode_signed(signed)).unwrap(), signed);
        assert_eq!(decode_genesis(&encode_genesis(&position())).unwrap(), position());
        assert_eq!(entry_index(&entry_key(u64::MAX - 1)), Some(u64::MAX - 1));
        assert_eq!(entry_index(b"m/purged!"), None);
    }

    #[test]
    fn cut_longer_and_unknown_records_are_refused() {
        let records = [
            encode_purged(log_id(5, 9), &position()),
            encode_vote(&Vote::new(3, 2)),
            encode_log_id(log_id(1, 2)),
            encode_epoch(1),
        ];
        let decodes = |at: usize, record: &[u8]| match at {
            0 => decode_purged(record).is_ok(),
            1 => decode_vote(record).is_ok(),
            2 => decode_log_id(record).is_ok(),
            _ => decode_epoch(record).is_ok(),
        };
        for (at, record) in records.iter().enumerate() {
            assert!(decodes(at, record));
            assert!(!decodes(at, &record[..record.len() - 1]));
            assert!(!decodes(at, &[&record[..], &[0]].concat()));
            assert!(!decodes(at, &[&[2], &record[1..]].concat()));
        }
        assert!(decode_vote(&[&encode_vote(&Vote::new(3, 2))[..17], &[2]].concat()).is_err());
    }
}
