//! The bytes of the entries of one request to append: of each its term (u64 big-endian), the length of its
//! payload (u32 big-endian) and the [payload](super::payload_bytes). Their indices follow the entry before.

use crate::raft::payload_bytes::{self, PayloadError};
use crate::raft::types::{Entry, LogId, log_id};

/// The encoding of one payload: a block of 4 MiB, and a membership beside it.
pub const PAYLOAD_BYTES_MAX: usize = (4 << 20) + (512 << 10);

/// These are no entries that may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryBytesError {
    /// Shorter than a length in them says.
    #[error("entries are cut off")]
    CutOff,
    /// A payload of more than [`PAYLOAD_BYTES_MAX`].
    #[error("an entry of {0} bytes")]
    TooLong(usize),
    /// Of a later term than that of the leader who sends it, or of an earlier one than the entry before.
    #[error("an entry of term {0}, which cannot be there")]
    Term(u64),
    /// There is no index after the one before.
    #[error("the index overflows")]
    Index,
    /// Not a payload.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// The index of the entry after `previous`.
pub fn next_index(previous: Option<LogId>) -> Result<u64, EntryBytesError> {
    match previous {
        None => Ok(0),
        Some(previous) => previous.index.checked_add(1).ok_or(EntryBytesError::Index),
    }
}

/// Appends the encoding of `entry` to `out`.
pub fn push(entry: &Entry, out: &mut Vec<u8>) -> Result<(), EntryBytesError> {
    out.extend_from_slice(&entry.log_id.leader_id.term.to_be_bytes());
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    payload_bytes::encode(&entry.payload, out)?;
    let length = out.len() - length_at - 4;
    let encoded = u32::try_from(length).ok().filter(|_| length <= PAYLOAD_BYTES_MAX);
    let encoded = encoded.ok_or(EntryBytesError::TooLong(length))?;
    if let Some(place) = out.get_mut(length_at..length_at + 4) {
        place.copy_from_slice(&encoded.to_be_bytes());
    }
    Ok(())
}

/// The entries that all of `bytes` encode, after `previous`, as a leader of `leader_term` may send them.
pub fn decode(
    mut bytes: &[u8],
    previous: Option<LogId>,
    leader_term: u64,
) -> Result<Vec<Entry>, EntryBytesError> {
    let mut entries = Vec::new();
    let mut last = previous;
    while !bytes.is_empty() {
        let (term, length, rest) = split_header(bytes).ok_or(EntryBytesError::CutOff)?;
        let (payload, rest) = rest.split_at_checked(length).ok_or(EntryBytesError::CutOff)?;
        if length > PAYLOAD_BYTES_MAX {
            return Err(EntryBytesError::TooLong(length));
        }
        let log_id = log_id(term, next_index(last)?);
        if term > leader_term || last.is_some_and(|last| last.leader_id > log_id.leader_id) {
            return Err(EntryBytesError::Term(term));
        }
        entries.push(Entry { log_id, payload: payload_bytes::decode(payload)? });
        last = Some(log_id);
        bytes = rest;
    }
    Ok(entries)
}

fn split_header(bytes: &[u8]) -> Option<(u64, usize, &[u8])> {
    let (term, rest) = bytes.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    Some((u64::from_be_bytes(*term), length, rest))
}
