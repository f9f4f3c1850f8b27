//! Whether a received snapshot is the ledger's.
//!
//! A roster chain leads from the founding roster to one of which a quorum signed the head that its manifest
//! names. Everything that the head commits to is
//! recomputed from the files: the state tree, node by node; the deduplication entries, whose chains stand in
//! that tree; the log, entry by entry, with every tile. Then the heads of earlier blocks, against the log.
//! What no head commits to is checked for being harmless: numbers of nodes, and which are stale.
//!
//! Three things are the sender's word: the log id, the last block's hash, and the trees of earlier blocks.
//! A wrong one stops this node, or makes a proof that does not verify; none makes a wrong answer pass.

use std::collections::BTreeMap;
use std::path::Path;

use chancery_ledger::authority::{DedupBucketRecord, Entry, Place, Summary};
use chancery_ledger::command::LedgerId;
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Head, QuorumError, RosterChain, RosterLinkError};
use chancery_ledger::log::{Frontier, TileIndex, leaf_hash, tiles};
use chancery_ledger::state::{Key, Node, NodeId, NodeRead, TreeError, Walk};
use chancery_proto::v1 as wire;
use prost::Message;

use super::manifest::Manifest;
use crate::raft::types::{LogId, StoredMembership};
use crate::rosters::Rosters;
use crate::sabotage::{self, Sabotage};
use crate::store::applied::database::{Column, Database};
use crate::store::applied::view::{last_summary, load_dedup, load_rosters, summaries_from};
use crate::store::applied::{AppliedFault, Founding, has_voters_of, record, with_causes};

/// Where RocksDB leaves its notes while a snapshot is read; not part of it.
pub(super) const NOTES: &str = "notes";

/// Entries hashed at once.
const ENTRIES_AT_ONCE: usize = 256;

/// Why a snapshot is not the ledger's.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Its head is of another ledger.
    #[error("it is of another ledger")]
    OtherLedger,
    /// Its roster chain proves nothing.
    #[error("its roster chain: {0}")]
    RosterLink(#[from] RosterLinkError),
    /// Its head is under another roster than its chain leads to.
    #[error("its head is under a roster that its roster chain does not end with")]
    OtherRoster,
    /// Its membership has other voters than the roster.
    #[error("its membership has other voters than the roster")]
    VotersDiffer,
    /// No quorum signed its head.
    #[error("no quorum signed its head: {0}")]
    Quorum(#[from] QuorumError),
    /// It does not hold what the manifest says.
    #[error("it does not hold what its manifest says: {0}")]
    Manifest(&'static str),
    /// Its files are no applied store.
    #[error(transparent)]
    Database(#[from] AppliedFault),
    /// Its state tree is not the one of the head.
    #[error("its state tree: {0}")]
    State(String),
    /// Its deduplication entries are not those that the state commits to.
    #[error("its deduplication entries: {0}")]
    Dedup(&'static str),
    /// Its log is not the one of the head.
    #[error("its log at entry {index}: {reason}")]
    Log {
        /// Where.
        index: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The summary of an earlier block is not that block's.
    #[error("its summary of block {block}: {reason}")]
    Summary {
        /// Which.
        block: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The ends of its grants are not those of its log.
    #[error("its ends of grants: {0}")]
    Ends(&'static str),
    /// A node that is in use is said to be stale.
    #[error("it says that state tree node {0} is stale, which is in use")]
    StaleInUse(u64),
}

/// What needs no files: ledger, roster, voters, and the quorum on the head.
pub(super) fn check_claims(manifest: &Manifest, founding: &Founding) -> Result<(), VerifyError> {
    let head = manifest.head();
    if head.ledger != founding.ledger() {
        return Err(VerifyError::OtherLedger);
    }
    let rosters = prove_rosters(founding, manifest.rosters())?;
    let (id, roster) = rosters.newest();
    if head.roster != id || head.block < id.block {
        return Err(VerifyError::OtherRoster);
    }
    if !has_voters_of(roster, manifest.membership().membership()) {
        return Err(VerifyError::VotersDiffer);
    }
    Ok(rosters.head_voters(head.block).verify(head, manifest.statements())?)
}

/// The rosters of `chain`, each of which the one before it proves, from the founding one on.
pub fn prove_rosters(founding: &Founding, chain: &RosterChain) -> Result<Rosters, RosterLinkError> {
    let mut rosters = Rosters::founded(founding.roster().clone());
    for link in &chain.links {
        let (id, previous) = rosters.newest();
        link.verify(founding.ledger(), id, previous)?;
        rosters = rosters.followed_by(link.clone());
    }
    Ok(rosters)
}

/// Verifies the database in `folder` whole. Notes go beside it, below `beside`.
pub(super) fn verify(
    folder: &Path,
    beside: &Path,
    manifest: &Manifest,
    founding: &Founding,
) -> Result<(), VerifyError> {
    check_claims(manifest, founding)?;
    let contents = Contents::open(folder, beside)?;
    let schema = contents.database.get(Column::Meta, record::SCHEMA)?;
    let schema = schema.ok_or(VerifyError::Manifest("schema"))?;
    if record::decode_schema(&schema)? != founding.ledger() {
        return Err(VerifyError::OtherLedger);
    }
    let ends = contents.ends(founding)?;
    if ends.summary.head != *manifest.head() {
        return Err(VerifyError::Manifest("head"));
    }
    if ends.applied != manifest.log_id() || ends.membership != *manifest.membership() {
        return Err(VerifyError::Manifest("last entry"));
    }
    let position = manifest.position();
    if ends.summary.block_hash != position.block_hash {
        return Err(VerifyError::Manifest("block hash"));
    }
    if ends.rosters.chain_since(0) != manifest.rosters().links || ends.rosters.unproven().is_some() {
        return Err(VerifyError::Manifest("rosters"));
    }
    let in_use = contents.verify_state(&ends.summary)?;
    contents.verify_stale(&ends.summary.head, &in_use)?;
    contents.verify_log(&ends.summary.head, founding)
}

/// A snapshot's database, opened to be read.
pub(super) struct Contents {
    database: Database,
}

/// Where a snapshot ends.
pub(super) struct Ends {
    pub(super) summary: Summary,
    pub(super) applied: LogId,
    pub(super) membership: StoredMembership,
    pub(super) rosters: Rosters,
}

impl Contents {
    pub(super) fn open(folder: &Path, beside: &Path) -> Result<Self, AppliedFault> {
        let notes = beside.join(NOTES);
        std::fs::create_dir_all(&notes)?;
        Ok(Self { database: Database::open_to_read(folder, &notes)? })
    }

    /// Where it ends. The summary's roots are its head's.
    pub(super) fn ends(&self, founding: &Founding) -> Result<Ends, AppliedFault> {
        let missing = |what| AppliedFault::corrupt(what, "it is missing");
        let applied = self.database.get(Column::Meta, record::APPLIED)?.ok_or_else(|| missing("applied"))?;
        let membership =
            self.database.get(Column::Meta, record::MEMBERSHIP)?.ok_or_else(|| missing("membership"))?;
        let summary = last_summary(&self.database)?.1;
        Ok(Ends {
            rosters: load_rosters(&self.database, founding, &summary.head)?,
            summary,
            applied: record::decode_applied(&applied)?,
            membership: record::decode_membership(&membership)?,
        })
    }

    /// Walks the tree of the last block, and compares the deduplication entries with it. Returns the
    /// numbers of the nodes in use, sorted.
    fn verify_state(&self, summary: &Summary) -> Result<Vec<u64>, VerifyError> {
        let dedup = load_dedup(&self.database)?;
        let mut chains: BTreeMap<Key, (u64, DedupBucketRecord)> = dedup
            .buckets()
            .map(|(bucket, chain)| (Place::dedup_bucket(bucket).key(), (bucket, chain)))
            .collect();
        let near = Place::dedup_bucket(0).key();
        let mut in_use = Vec::new();
        for visited in Walk::new(self, summary.root) {
            let (NodeId(id), node) = visited.map_err(|error| tree_error(&error))?;
            if id >= summary.next_node.0 {
                return Err(VerifyError::State(format!("node {id} has a number that is still free")));
            }
            in_use.push(id);
            let Node::Leaf { key, value } = &node else { continue };
            // Records with one anchor share the first 8 bytes of their keys.
            if key.0.first_chunk::<8>() != near.0.first_chunk::<8>() {
                continue;
            }
            let Some(chain) = dedup_chain(value) else { continue };
            if chains.remove(key) != Some(chain) && !sabotage::active(Sabotage::NoDedupInSnapshots) {
                return Err(VerifyError::Dedup("a bucket is not the one in the state"));
            }
        }
        if !chains.is_empty() {
            return Err(VerifyError::Dedup("a bucket is not in the state"));
        }
        in_use.sort_unstable();
        Ok(in_use)
    }

    /// What is deleted later must not be in use.
    fn verify_stale(&self, head: &Head, in_use: &[u64]) -> Result<(), VerifyError> {
        for found in self.database.records_from(Column::Stale, &[])? {
            let (key, value) = found?;
            let (since, _) = record::decode_pair_key(&key)
                .filter(|(since, _)| *since <= head.block)
                .ok_or(VerifyError::Manifest("stale nodes"))?;
            let stale = record::decode_stale(&value).map_err(|_| VerifyError::Manifest("stale nodes"))?;
            if let Some(NodeId(id)) = stale.into_iter().find(|node| in_use.binary_search(&node.0).is_ok()) {
                tracing::warn!(since, id, "a node in use is said to be stale");
                return Err(VerifyError::StaleInUse(id));
            }
        }
        Ok(())
    }

    /// Hashes every entry, compares every tile, and follows the summaries along the log.
    fn verify_log(&self, head: &Head, founding: &Founding) -> Result<(), VerifyError> {
        let history = match self.database.get(Column::Meta, record::HISTORY)? {
            Some(bytes) => record::decode_history(&bytes)?,
            None => record::HistoryStart::default(),
        };
        if history.summary > history.state || history.state > head.block {
            return Err(VerifyError::Manifest("history"));
        }
        let mut summaries = SummaryWalk::new(self, founding.ledger(), history.summary)?;
        let mut log = LogWalk::default();
        let mut ends: usize = 0;
        let (_, genesis) = founding.effects();
        for found in self.database.records_from(Column::Entries, &[])? {
            let (key, entry) = found?;
            let index = log.size();
            if record::decode_key(&key) != Some(index) || index >= head.log_size {
                return Err(VerifyError::Log { index, reason: "an entry is missing or too many" });
            }
            let first = usize::try_from(index).ok().and_then(|index| genesis.leaves.get(index));
            if first.is_some_and(|leaf| **leaf != *entry) {
                return Err(VerifyError::Log { index, reason: "it is not the genesis block's" });
            }
            if let Some(end_ms) = end_in(&entry) {
                let end = self.database.get(Column::Ends, &record::pair_key(end_ms, index))?;
                if end.is_none_or(|value| !value.is_empty()) {
                    return Err(VerifyError::Ends("one is missing"));
                }
                ends += 1;
            }
            log.push(&entry);
            if log.size() == summaries.log_size() {
                log.settle(&self.database)?;
                summaries.pass(&log.frontier, &entry)?;
            } else if log.pending.len() == ENTRIES_AT_ONCE {
                log.settle(&self.database)?;
            }
        }
        log.settle(&self.database)?;
        if log.frontier.size() != head.log_size || log.frontier.root() != head.log_root {
            return Err(VerifyError::Log { index: log.size(), reason: "it does not have the head's root" });
        }
        log.check_no_more_tiles(&self.database)?;
        for (found, count) in self.database.records_from(Column::Ends, &[])?.zip(1..) {
            found?;
            if count > ends {
                return Err(VerifyError::Ends("there is one too many"));
            }
        }
        summaries.end(head)
    }
}

impl NodeRead for Contents {
    type Error = AppliedFault;

    fn node(&self, id: NodeId) -> Result<Node, AppliedFault> {
        let corrupt = |reason: String| AppliedFault::corrupt(format!("state tree node {id}"), reason);
        let bytes = self.database.get(Column::Nodes, &id.0.to_be_bytes())?;
        let bytes = bytes.ok_or_else(|| corrupt("it is missing".into()))?;
        Node::decode(&bytes).map_err(|error| corrupt(error.to_string()))
    }
}

/// The bucket and its chain, if `value` is the record of a deduplication bucket.
fn dedup_chain(value: &[u8]) -> Option<(u64, DedupBucketRecord)> {
    // The tree commits to these bytes, so `apply` wrote them: there is nothing to be strict about.
    let found = wire::Record::decode(value).ok()?;
    let Some(wire::record::Body::DedupBucket(chain)) = found.body else { return None };
    let bucket = u64::from_be_bytes(found.id.as_slice().try_into().ok()?);
    Some((bucket, DedupBucketRecord { entries: chain.entries, hash: Hash::from_slice(&chain.hash)? }))
}

/// When what an entry grants ends, if it grants anything.
fn end_in(entry: &[u8]) -> Option<u64> {
    use wire::{command, entry};
    // As with buckets: the log commits to these bytes, or its root is another.
    let Some(entry::Body::Command(found)) = wire::Entry::decode(entry).ok()?.body else { return None };
    let command = wire::Command::decode(found.signed?.command.as_slice()).ok()?;
    match command.body? {
        command::Body::Grant(wire::Grant { terms, .. })
        | command::Body::Delegate(wire::Delegate { terms, .. }) => Some(terms?.not_after_ms),
        _ => None,
    }
}

fn tree_error(error: &TreeError<AppliedFault>) -> VerifyError {
    VerifyError::State(with_causes(error))
}

/// The log as far as it was read.
#[derive(Default)]
struct LogWalk {
    frontier: Frontier,
    pending: Vec<Hash>,
    tiles: u64,
}

impl LogWalk {
    fn size(&self) -> u64 {
        self.frontier.size() + self.pending.len() as u64
    }

    fn push(&mut self, entry: &[u8]) {
        self.pending.push(leaf_hash(entry));
    }

    /// Appends what is pending, and compares the tiles that grow by it.
    fn settle(&mut self, database: &Database) -> Result<(), VerifyError> {
        let index = self.frontier.size();
        for row in tiles::append(&mut self.frontier, &self.pending) {
            let wrong = || VerifyError::Log { index, reason: "a tile does not have its hashes" };
            let tile = database.get(Column::Tiles, &record::tile_key(row.tile))?.ok_or_else(wrong)?;
            let (hashes, []) = tile.as_chunks::<32>() else { return Err(wrong()) };
            let first = usize::from(row.first_offset);
            let stored = hashes.get(first..first + row.hashes.len()).ok_or_else(wrong)?;
            if !stored.iter().eq(row.hashes.iter().map(Hash::as_bytes)) {
                return Err(wrong());
            }
            self.tiles += u64::from(first == 0);
        }
        self.pending.clear();
        Ok(())
    }

    /// No tile is there, or is wider, than the log makes it.
    fn check_no_more_tiles(&self, database: &Database) -> Result<(), VerifyError> {
        let size = self.frontier.size();
        let too_much = VerifyError::Log { index: size, reason: "there are more tiles than it has" };
        let mut tiles: u64 = 0;
        for found in database.records_from(Column::Tiles, &[])? {
            let (key, tile) = found?;
            let (Some(level), Some(index)) = (key.first(), key.get(1..).and_then(record::decode_key)) else {
                return Err(too_much);
            };
            let width = TileIndex { level: *level, index }.width_at(size);
            if tile.len() != usize::from(width) * 32 {
                return Err(too_much);
            }
            tiles += 1;
        }
        if tiles == self.tiles { Ok(()) } else { Err(too_much) }
    }
}

/// Follows the summaries along the log: each is of the next block, and says what the log shows.
struct SummaryWalk<'a> {
    summaries: Box<dyn Iterator<Item = Result<Summary, AppliedFault>> + 'a>,
    ledger: LedgerId,
    next: Option<Summary>,
    last: Option<Head>,
    /// The number of the block that the next summary must be of.
    block: u64,
}

impl<'a> SummaryWalk<'a> {
    fn new(contents: &'a Contents, ledger: LedgerId, first: u64) -> Result<Self, VerifyError> {
        let mut summaries = Box::new(summaries_from(&contents.database, 0)?);
        let next = summaries.next().transpose()?;
        Ok(Self { summaries, ledger, next, last: None, block: first })
    }

    /// How long the log was after the next summary's block.
    fn log_size(&self) -> u64 {
        self.next.as_ref().map_or(u64::MAX, |summary| summary.head.log_size)
    }

    /// The log is as long as the next summary says: checks it, and all that say the same. `entry` is the
    /// last of the log so far.
    fn pass(&mut self, frontier: &Frontier, entry: &[u8]) -> Result<(), VerifyError> {
        while let Some(summary) = self.next.take_if(|summary| summary.head.log_size == frontier.size()) {
            let block = self.block;
            let wrong = |reason| VerifyError::Summary { block, reason };
            if summary.head.block != block || summary.head.ledger != self.ledger {
                return Err(wrong("it is missing, or of another ledger"));
            }
            if summary.frontier != *frontier || summary.head.log_root != frontier.root() {
                return Err(wrong("its log is another"));
            }
            let Ok(Entry::State { block: since, time_ms, state_root, roster, rules_version, previous }) =
                Entry::decode(entry)
            else {
                return Err(wrong("its last leaf is no STATE leaf"));
            };
            let head = &summary.head;
            let said = Head { block: since, time_ms, state_root, roster, rules_version, ..*head };
            if (Head { block: since, ..*head }) != said || summary.root.hash() != state_root {
                return Err(wrong("its state is another"));
            }
            // Blocks without leaves repeat the head before; those with leaves are named by their STATE
            // leaf, which names the one before: none can be skipped.
            let fits = match self.last {
                Some(last) if last.log_size == head.log_size => since < block,
                Some(last) => since == block && previous == last.log_size.checked_sub(1),
                None => since <= block,
            };
            if !fits {
                return Err(wrong("its last leaf is of another block"));
            }
            self.last = Some(*head);
            self.block = block.saturating_add(1);
            self.next = self.summaries.next().transpose()?;
        }
        Ok(())
    }

    fn end(self, head: &Head) -> Result<(), VerifyError> {
        let wrong = VerifyError::Summary { block: self.block, reason: "they do not end with the head" };
        if self.next.is_none() && self.last == Some(*head) { Ok(()) } else { Err(wrong) }
    }
}
