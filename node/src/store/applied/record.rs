//! The keys and values of the applied store. Values of the store's own start with a version byte;
//! integers are big-endian and everything is decoded to its last byte.
//!
//! | record | value |
//! |---|---|
//! | summary | 2 ‖ head (164) ‖ root: 0, or 1 ‖ node (8) ‖ hash (32) ‖ next node (8) ‖ block hash (32) ‖ frontier |
//! | `schema` | 2 ‖ ledger id (32) |
//! | `applied` | 2 ‖ term (8) ‖ index (8) |
//! | `membership` | 2 ‖ term (8) ‖ index (8) ‖ [payload](crate::raft::payload_bytes) with the membership |
//! | roster | 2 ‖ roster chain of the block's link alone, which has no statements until it is proven |
//! | `history` | 2 ‖ oldest block whose state is whole (8) ‖ oldest block that has a summary (8) |
//! | stale | 2 ‖ numbers of nodes (8 each): at least one, at most 256 |

use chancery_ledger::authority::Summary;
use chancery_ledger::command::LedgerId;
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{HEAD_SIZE_BYTES, Head, RosterChain, RosterLink};
use chancery_ledger::log::{Frontier, TileIndex};
use chancery_ledger::state::{Child, NodeId, Root};

use super::fault::AppliedFault;
use crate::raft::payload_bytes;
use crate::raft::types::{LogId, Payload, StoredMembership, log_id};

/// The version of the folder's layout, and of each record in it.
const VERSION: u8 = 2;

/// Most nodes that one record says are stale.
pub(in crate::store) const STALE_NODES_MAX: usize = 256;

pub(in crate::store) const SCHEMA: &[u8] = b"schema";
pub(in crate::store) const APPLIED: &[u8] = b"applied";
pub(in crate::store) const MEMBERSHIP: &[u8] = b"membership";
pub(in crate::store) const HISTORY: &[u8] = b"history";

/// How far back the store reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct HistoryStart {
    /// The oldest block whose state tree is whole.
    pub(in crate::store) state: u64,
    /// The oldest block that has a summary.
    pub(in crate::store) summary: u64,
}

/// The key of a pair of numbers.
pub(in crate::store) fn pair_key(first: u64, second: u64) -> [u8; 16] {
    (u128::from(first) << 64 | u128::from(second)).to_be_bytes()
}

/// The pair of numbers in a key.
pub(in crate::store) fn decode_pair_key(key: &[u8]) -> Option<(u64, u64)> {
    let (first, second) = key.split_first_chunk()?;
    Some((u64::from_be_bytes(*first), u64::from_be_bytes(second.try_into().ok()?)))
}

pub(in crate::store) fn encode_stale(nodes: &[NodeId]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + 8 * nodes.len());
    out.push(VERSION);
    out.extend(nodes.iter().flat_map(|node| node.0.to_be_bytes()));
    out
}

pub(in crate::store) fn decode_stale(bytes: &[u8]) -> Result<Vec<NodeId>, AppliedFault> {
    whole("stale nodes", bytes, |fields| {
        let nodes;
        (nodes, fields.rest) = fields.rest.as_chunks();
        let count_can_be = (1..=STALE_NODES_MAX).contains(&nodes.len());
        count_can_be.then(|| nodes.iter().map(|node| NodeId(u64::from_be_bytes(*node))).collect())
    })
}

/// The number in a key.
pub(in crate::store) fn decode_key(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.try_into().ok()?))
}

/// The key of a tile.
pub(in crate::store) fn tile_key(tile: TileIndex) -> [u8; 9] {
    let mut key = [tile.level; 9];
    // INVARIANT: nine bytes end in eight.
    if let Some(place) = key.last_chunk_mut() {
        *place = tile.index.to_be_bytes();
    }
    key
}

pub(in crate::store) fn encode_summary(summary: &Summary) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&summary.head.encode());
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

/// The summary of `block`.
pub(in crate::store) fn decode_summary(block: u64, bytes: &[u8]) -> Result<Summary, AppliedFault> {
    let decode = |fields: &mut Fields<'_>| {
        let head = Head::decode(&fields.take::<HEAD_SIZE_BYTES>()?).ok()?;
        let child = match fields.take()? {
            [0] => None,
            [1] => Some(Child { id: NodeId(fields.integer()?), hash: fields.hash()? }),
            _ => return None,
        };
        let next_node = NodeId(fields.integer()?);
        let block_hash = fields.hash()?;
        let frontier = Frontier::decode(fields.rest()).ok()?;
        Some(Summary { head, frontier, root: Root { child }, next_node, block_hash })
    };
    let summary = whole("summary", bytes, decode)?;
    if summary.head.block != block {
        return Err(AppliedFault::corrupt("summary", format!("block {block} has that of another")));
    }
    Ok(summary)
}

pub(in crate::store) fn encode_schema(ledger: LedgerId) -> Vec<u8> {
    [&[VERSION], ledger.0.as_bytes().as_slice()].concat()
}

pub(in crate::store) fn decode_schema(bytes: &[u8]) -> Result<LedgerId, AppliedFault> {
    whole("schema", bytes, |fields| Some(LedgerId(fields.hash()?)))
}

pub(in crate::store) fn encode_applied(applied: LogId) -> Vec<u8> {
    let mut out = vec![VERSION];
    push_log_id(&mut out, applied);
    out
}

pub(in crate::store) fn decode_applied(bytes: &[u8]) -> Result<LogId, AppliedFault> {
    whole("applied", bytes, Fields::log_id)
}

/// `None` if no entry set a membership yet: there is no record then.
pub(in crate::store) fn encode_membership(
    stored: &StoredMembership,
) -> Result<Option<Vec<u8>>, AppliedFault> {
    let Some(set_at) = *stored.log_id() else { return Ok(None) };
    let mut out = vec![VERSION];
    push_log_id(&mut out, set_at);
    payload_bytes::encode(&Payload::new(None, Some(stored.membership().clone())), &mut out)
        .map_err(|error| AppliedFault::corrupt("membership", error.to_string()))?;
    Ok(Some(out))
}

pub(in crate::store) fn decode_membership(bytes: &[u8]) -> Result<StoredMembership, AppliedFault> {
    whole("membership", bytes, |fields| {
        let set_at = fields.log_id()?;
        let payload = payload_bytes::decode(fields.rest()).ok()?;
        let membership = payload.membership().filter(|_| payload.block().is_none())?;
        Some(StoredMembership::new(Some(set_at), membership.clone()))
    })
}

/// Without statements, as long as it is not proven.
pub(in crate::store) fn encode_roster_link(link: &RosterLink) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&RosterChain { links: vec![link.clone()] }.encode());
    out
}

pub(in crate::store) fn decode_roster_link(bytes: &[u8]) -> Result<RosterLink, AppliedFault> {
    whole("rosters", bytes, |fields| {
        let chain = RosterChain::decode(fields.rest()).ok()?;
        let [link] = <[RosterLink; 1]>::try_from(chain.links).ok()?;
        Some(link)
    })
}

pub(in crate::store) fn encode_history(start: HistoryStart) -> Vec<u8> {
    [&[VERSION], start.state.to_be_bytes().as_slice(), &start.summary.to_be_bytes()].concat()
}

pub(in crate::store) fn decode_history(bytes: &[u8]) -> Result<HistoryStart, AppliedFault> {
    whole("history", bytes, |fields| {
        Some(HistoryStart { state: fields.integer()?, summary: fields.integer()? })
    })
}

fn push_log_id(out: &mut Vec<u8>, log_id: LogId) {
    out.extend_from_slice(&log_id.leader_id.term.to_be_bytes());
    out.extend_from_slice(&log_id.index.to_be_bytes());
}

/// Decodes a versioned record to its last byte.
fn whole<'a, T>(
    what: &str,
    record: &'a [u8],
    decode: impl FnOnce(&mut Fields<'a>) -> Option<T>,
) -> Result<T, AppliedFault> {
    let mut fields = Fields { rest: record };
    let version = fields.take() == Some([VERSION]);
    let value = if version { decode(&mut fields) } else { None };
    value
        .filter(|_| fields.rest.is_empty())
        .ok_or_else(|| AppliedFault::corrupt(what, "not a record of this version"))
}

/// What is left of a record.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*field)
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

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use chancery_ledger::head::RosterId;

    use super::*;
    use crate::raft::types::Membership;

    #[test]
    fn summaries_come_back_and_nothing_else_does() {
        let mut frontier = Frontier::default();
        for leaf in 0..5_u8 {
            frontier.append(Hash([leaf; 32]));
        }
        let head = Head {
            ledger: LedgerId(Hash([1; 32])),
            block: 7,
            time_ms: 8,
            log_size: 5,
            log_root: frontier.root(),
            state_root: Hash([2; 32]),
            roster: RosterId { block: 0, digest: Hash([3; 32]) },
            rules_version: 1,
        };
        let child = Some(Child { id: NodeId(9), hash: Hash([2; 32]) });
        for child in [child, None] {
            let root = Root { child };
            let frontier = frontier.clone();
            let summary = Summary { head, frontier, root, next_node: NodeId(10), block_hash: Hash([4; 32]) };
            let bytes = encode_summary(&summary);
            assert_eq!(decode_summary(7, &bytes), Ok(summary));
            decode_summary(8, &bytes).unwrap_err();
            for length in 0..bytes.len() {
                decode_summary(7, bytes.get(..length).unwrap()).unwrap_err();
            }
            decode_summary(7, &[bytes.as_slice(), &[0]].concat()).unwrap_err();
        }
    }

    #[test]
    fn the_other_records_come_back() {
        let history = HistoryStart { state: 3, summary: 2 };
        assert_eq!(decode_history(&encode_history(history)), Ok(history));
        assert_eq!(decode_applied(&encode_applied(log_id(3, 4))), Ok(log_id(3, 4)));
        assert_eq!(decode_schema(&encode_schema(LedgerId(Hash([5; 32])))), Ok(LedgerId(Hash([5; 32]))));
        let membership = Membership::new_with_defaults(vec![BTreeSet::from([1, 2])], [9]);
        let stored = StoredMembership::new(Some(log_id(1, 0)), membership);
        let bytes = encode_membership(&stored).unwrap().unwrap();
        assert_eq!(decode_membership(&bytes), Ok(stored));
        assert_eq!(encode_membership(&StoredMembership::default()), Ok(None));
        assert_eq!(decode_pair_key(&pair_key(1, u64::MAX)), Some((1, u64::MAX)));
    }

    #[test]
    fn stale_nodes_round_trip_and_nothing_else_is_taken() {
        for count in [1, 2, STALE_NODES_MAX] {
            let nodes: Vec<NodeId> = (0..count as u64).map(|number| NodeId(u64::MAX - number)).collect();
            let bytes = encode_stale(&nodes);
            assert_eq!(decode_stale(&bytes), Ok(nodes));
            assert!(decode_stale(bytes.get(1..).unwrap()).is_err());
            assert!(decode_stale(bytes.get(..bytes.len() - 1).unwrap()).is_err());
            assert!(decode_stale(&[&bytes[..], &[0]].concat()).is_err());
        }
        assert!(decode_stale(&[]).is_err());
        assert!(decode_stale(&encode_stale(&[])).is_err());
        assert!(decode_stale(&encode_stale(&[NodeId(1); STALE_NODES_MAX + 1])).is_err());
    }
}
