//! Records of the engine's folder. Integers are big-endian.
//!
//! | key | value |
//! |---|---|
//! | `m` `ledger` | 1 ‖ ledger id (32) |
//! | `m` `summary` | head (164) ‖ root: 0, or 1 ‖ node (8) ‖ hash (32) ‖ next node (8) ‖ block hash (32) ‖ frontier |
//! | `n` ‖ node (8) | the node |
//! | `d` ‖ bucket (8) ‖ leaf index (8) | live deduplication entry |
//! | `r` ‖ roster's block (8) | log size (8) ‖ roster, as in genesis |

use chancery_ledger::authority::{DedupEntry, Summary};
use chancery_ledger::command::{LedgerId, decode_strict, roster_from_wire, roster_to_wire};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{HEAD_SIZE_BYTES, Head};
use chancery_ledger::log::Frontier;
use chancery_ledger::state::{Child, NodeId, Root};
use chancery_proto::v1 as wire;
use prost::Message;

use super::RosterInForce;

pub(super) const LEDGER: &[u8] = b"mledger";
pub(super) const SUMMARY: &[u8] = b"msummary";
pub(super) const DEDUP: u8 = b'd';
pub(super) const ROSTER: u8 = b'r';

const VERSION: u8 = 1;

/// Longest roster that is read back.
const ROSTER_SIZE_BYTES_MAX: usize = 64 << 10;

pub(super) fn node_key(id: NodeId) -> [u8; 9] {
    key(b'n', id.0)
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

pub(super) fn decode_ledger(bytes: &[u8]) -> Option<LedgerId> {
    let (&[version], rest) = bytes.split_first_chunk()?;
    (version == VERSION).then_some(LedgerId(Hash::from_slice(rest)?))
}

pub(super) fn encode_summary(summary: &Summary) -> Vec<u8> {
    let mut out = summary.head.encode().to_vec();
    match summary.root.child {
        None => out.push(0),
        Some(Child { id, hash }) => {
            out.push(1);
            out.extend_from_slice(&id.0.to_be_bytes());
            out.extend_from_slice(hash.as_bytes());
        }
    }
    out.extend_from_slice(&summary.next_node.0.to_be_bytes());
    out.extend_from_slice(summary.block_hash.as_bytes());
    out.extend_from_slice(&summary.frontier.encode());
    out
}

pub(super) fn decode_summary(bytes: &[u8]) -> Option<Summary> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_SIZE_BYTES>()?;
    let head = Head::decode(head).ok()?;
    let (child, rest) = match rest.split_first_chunk()? {
        ([0], rest) => (None, rest),
        ([1], rest) => {
            let (id, rest) = rest.split_first_chunk()?;
            let (hash, rest) = rest.split_first_chunk()?;
            (Some(Child { id: NodeId(u64::from_be_bytes(*id)), hash: Hash(*hash) }), rest)
        }
        _ => return None,
    };
    let (next_node, rest) = rest.split_first_chunk()?;
    let (block_hash, rest) = rest.split_first_chunk()?;
    let frontier = Frontier::decode(rest).ok()?;
    let next_node = NodeId(u64::from_be_bytes(*next_node));
    Some(Summary { head, frontier, root: Root { child }, next_node, block_hash: Hash(*block_hash) })
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
