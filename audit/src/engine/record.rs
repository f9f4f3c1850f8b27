//! Records of the engine's folder. Integers are big-endian.
//!
//! | key | value |
//! |---|---|
//! | `m` `ledger` | 2 ‖ ledger id (32) |
//! | `m` `progress` | head (164) ‖ frontier |
//! | `v` ‖ key (32) | the value in the replayed state |
//! | `d` ‖ bucket (8) ‖ leaf index (8) | live deduplication entry |
//! | `r` ‖ roster's block (8) | log size (8) ‖ roster, as in genesis |

use chancery_ledger::authority::{DedupEntry, Progress};
use chancery_ledger::command::{LedgerId, decode_strict, roster_from_wire, roster_to_wire};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{HEAD_SIZE_BYTES, Head};
use chancery_ledger::log::Frontier;
use chancery_ledger::state::Key;
use chancery_proto::v1 as wire;
use prost::Message;

use super::RosterInForce;

pub(super) const LEDGER: &[u8] = b"mledger";
pub(super) const PROGRESS: &[u8] = b"mprogress";
pub(super) const DEDUP: u8 = b'd';
pub(super) const ROSTER: u8 = b'r';

const VERSION: u8 = 2;

const VALUE: u8 = b'v';

/// Longest roster that is read back.
const ROSTER_SIZE_BYTES_MAX: usize = 64 << 10;

pub(super) fn value_key(key: &Key) -> [u8; 33] {
    let mut record = [VALUE; 33];
    if let Some((_, rest)) = record.split_first_mut() {
        rest.copy_from_slice(&key.0);
    }
    record
}

pub(super) fn decode_value_key(record: &[u8]) -> Option<Key> {
    let (&[VALUE], key) = record.split_first_chunk()? else { return None };
    Some(Key(key.try_into().ok()?))
}

pub(super) fn bucket_key(bucket: u64) -> [u8; 9] {
    key(DEDUP, bucket)
}

pub(super) fn dedup_key(entry: &DedupEntry) -> Vec<u8> {
    [bucket_key(entry.bucket()).as_slice(), &entry.index.to_be_bytes()].concat()
}

pub(super) fn roster_key(roster: &RosterInForce) -> [u8; 9] {
    key(ROSTER, roster.id.block)
}

fn key(kind: u8, number: u64) -> [u8; 9] {
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    [kind, a, b, c, d, e, f, g, h]
}

pub(super) fn encode_ledger(ledger: LedgerId) -> Vec<u8> {
    [&[VERSION], ledger.0.as_bytes().as_slice()].concat()
}

/// The ledger; else the version, if it is another.
pub(super) fn decode_ledger(bytes: &[u8]) -> Result<LedgerId, Option<u8>> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => Hash::from_slice(rest).map(LedgerId).ok_or(None),
        other => Err(other.map(|(version, _)| *version)),
    }
}

pub(super) fn encode_progress(progress: &Progress) -> Vec<u8> {
    [progress.head.encode().as_slice(), &progress.frontier.encode()].concat()
}

pub(super) fn decode_progress(bytes: &[u8]) -> Option<Progress> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_SIZE_BYTES>()?;
    Some(Progress { head: Head::decode(head).ok()?, frontier: Frontier::decode(rest).ok()? })
}

pub(super) fn encode_roster(roster: &RosterInForce) -> Vec<u8> {
    [roster.log_size.to_be_bytes().as_slice(), &roster_to_wire(&roster.roster).encode_to_vec()].concat()
}

pub(super) fn decode_roster(key: &[u8], bytes: &[u8]) -> Option<RosterInForce> {
    let (&[ROSTER], block) = key.split_first_chunk()? else { return None };
    let block = u64::from_be_bytes(block.try_into().ok()?);
    let (log_size, rest) = bytes.split_first_chunk()?;
    let roster = roster_from_wire(decode_strict::<wire::Roster>(rest, ROSTER_SIZE_BYTES_MAX).ok()?).ok()?;
    Some(RosterInForce { id: roster.id(block), roster, log_size: u64::from_be_bytes(*log_size) })
}
