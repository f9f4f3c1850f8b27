//! Applying one log entry: what it changes is written in one batch, together with its log id.

use std::sync::Arc;

use chancery_ledger::authority::{self, Block, State};
use chancery_ledger::command::VerifiedSignatures;
use chancery_ledger::follow::end_of;
use chancery_ledger::head::{RosterLink, Statement};
use chancery_ledger::log::{leaf_hash, tiles};

use super::AppliedOptions;
use super::database::{Batch, Column, Database};
use super::fault::{AppliedFault, with_causes};
use super::founding::{Founding, has_voters_of};
use super::history;
use super::record;
use super::view::{AppliedView, Live, Opened};
use crate::raft::types::{EncodedBlock, Entry, LogId, Payload, StoredMembership};
use crate::rosters::Rosters;
use crate::sabotage::{self, Sabotage};
use crate::store::Position;

/// Applies `entry` to what is open in `view`. Only one thread does so at a time.
pub(super) fn apply(
    view: &AppliedView,
    options: &AppliedOptions,
    seen: &VerifiedSignatures,
    entry: &Entry,
) -> Result<Position, AppliedFault> {
    let opened = &*view.opened;
    let Entry { log_id, payload } = entry;
    if !sabotage::active(Sabotage::ApplyTwiceAfterRestart) {
        check_order(opened.live().applied, *log_id)?;
    }
    let rosters = Arc::clone(&opened.live().rosters);
    let membership =
        payload.membership().map(|membership| StoredMembership::new(Some(*log_id), membership.clone()));

    let mut batch = opened.database.batch();
    batch.put(Column::Meta, record::APPLIED, record::encode_applied(*log_id))?;
    if let Some(membership) = &membership
        && let Some(bytes) = record::encode_membership(membership)?
    {
        batch.put(Column::Meta, record::MEMBERSHIP, bytes)?;
    }
    let mut link = None;
    let applied = match payload.block() {
        Some(bytes) => {
            let live = opened.live();
            let block = decode_block(*log_id, bytes)?;
            let applied = live.state.apply_with(view, &block, seen);
            let applied = applied
                .map_err(|error| AppliedFault::Apply { index: log_id.index, reason: with_causes(&error) })?;
            write_block(&mut batch, &opened.database, &live.state, &applied)?;
            write_ends(&mut batch, &block, &applied)?;
            link = block.roster.map(|roster| RosterLink {
                roster,
                head: applied.summary.head,
                statements: Vec::new(),
            });
            Some(applied)
        }
        None => None,
    };
    check_membership(&rosters, *log_id, payload, link.as_ref())?;
    if let Some(link) = &link {
        batch.put(Column::Rosters, link.head.block.to_be_bytes(), record::encode_roster_link(link))?;
    }
    if let Some(applied) = &applied {
        // More than a block makes stale, so that what was left behind is caught up with.
        let nodes_max = 1024_usize.saturating_add(applied.stale_nodes.len().saturating_mul(2));
        let step = history::plan(opened, &applied.summary.head, options, nodes_max)?;
        step.write(&mut batch)?;
        opened.change().history = step.start;
    }
    fail::fail_point!("applied-before-write", AppliedFault::injected);
    batch.write()?;
    fail::fail_point!("applied-after-write", AppliedFault::injected);
    if link.is_some() {
        fail::fail_point!("applied-roster-block", AppliedFault::injected);
    }
    Ok(publish(opened, *log_id, membership, link, applied))
}

/// Writes what proves the roster of a block that is applied.
pub(super) fn prove_roster(
    opened: &Opened,
    block: u64,
    statements: Vec<Statement>,
) -> Result<(), AppliedFault> {
    let proven = opened.live().rosters.proven_by(block, statements);
    let Some(link) = proven.link(block) else { return Ok(()) };
    let mut batch = opened.database.batch();
    batch.put(Column::Rosters, block.to_be_bytes(), record::encode_roster_link(link))?;
    fail::fail_point!("applied-before-roster-proof", AppliedFault::injected);
    batch.write()?;
    fail::fail_point!("applied-after-roster-proof", AppliedFault::injected);
    opened.change().rosters = Arc::new(proven);
    Ok(())
}

/// Writes block 0 to an empty database.
pub(super) fn found(database: &Database, founding: &Founding) -> Result<(), AppliedFault> {
    if database.last_record(Column::Summaries)?.is_some() || database.last_record(Column::Meta)?.is_some() {
        return Err(AppliedFault::corrupt("schema", "it is missing, and the folder is not empty"));
    }
    let (_, applied) = founding.effects();
    let mut batch = database.batch();
    batch.put(Column::Meta, record::SCHEMA, record::encode_schema(founding.ledger()))?;
    write_effects(&mut batch, database, &Default::default(), applied)?;
    fail::fail_point!("applied-before-founding", AppliedFault::injected);
    batch.write()
}

fn check_order(last: Option<LogId>, next: LogId) -> Result<(), AppliedFault> {
    let follows = match last {
        Some(last) => last.index.checked_add(1) == Some(next.index) && last.leader_id <= next.leader_id,
        None => next.index == 0,
    };
    if follows { Ok(()) } else { Err(AppliedFault::Order { last, next }) }
}

/// A roster block carries the membership with its roster's voters; any other entry leaves them alone.
fn check_membership(
    rosters: &Rosters,
    log_id: LogId,
    payload: &Payload,
    link: Option<&RosterLink>,
) -> Result<(), AppliedFault> {
    let index = log_id.index;
    match (payload.membership(), link) {
        (None, None) => Ok(()),
        (Some(_), None) if payload.block().is_some() => Err(AppliedFault::RosterBlock { index }),
        (None, Some(_)) => Err(AppliedFault::RosterBlock { index }),
        (Some(membership), link) => {
            let roster = link.map_or_else(|| rosters.newest().1, |link| &link.roster);
            if has_voters_of(roster, membership) { Ok(()) } else { Err(AppliedFault::VotersDiffer { index }) }
        }
    }
}

fn decode_block(log_id: LogId, bytes: &EncodedBlock) -> Result<Block, AppliedFault> {
    let index = log_id.index;
    let block = Block::decode(bytes.bytes())
        .map_err(|error| AppliedFault::Block { index, reason: with_causes(&error) })?;
    let term = log_id.leader_id.term;
    if block.term != term {
        return Err(AppliedFault::Term { index, claimed: block.term, term });
    }
    Ok(block)
}

fn write_block(
    batch: &mut Batch<'_>,
    database: &Database,
    before: &State,
    applied: &authority::Applied,
) -> Result<(), AppliedFault> {
    write_effects(batch, database, &before.summary().frontier, applied)
}

/// When what a block granted ends: for whoever follows the log.
fn write_ends(
    batch: &mut Batch<'_>,
    block: &Block,
    applied: &authority::Applied,
) -> Result<(), AppliedFault> {
    for (signed, outcome) in block.commands.iter().zip(&applied.outcomes) {
        if let (authority::Outcome::Applied(cause), Some(end_ms)) = (outcome, end_of(signed)) {
            batch.put(Column::Ends, record::pair_key(end_ms, cause.index), [])?;
        }
    }
    Ok(())
}

/// Everything that a block changes, given the log's right edge before it.
fn write_effects(
    batch: &mut Batch<'_>,
    database: &Database,
    frontier: &chancery_ledger::log::Frontier,
    applied: &authority::Applied,
) -> Result<(), AppliedFault> {
    let head = &applied.summary.head;
    for (id, node) in &applied.new_nodes {
        batch.put(Column::Nodes, id.0.to_be_bytes(), node.encode())?;
    }
    for (nodes, number) in applied.stale_nodes.chunks(record::STALE_NODES_MAX).zip(0..) {
        batch.put(Column::Stale, record::pair_key(head.block, number), record::encode_stale(nodes))?;
    }
    for (leaf, index) in applied.leaves.iter().zip(frontier.size()..) {
        batch.put(Column::Entries, index.to_be_bytes(), leaf)?;
    }
    let hashes: Vec<_> = applied.leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    let mut frontier = frontier.clone();
    for row in tiles::append(&mut frontier, &hashes) {
        let key = record::tile_key(row.tile);
        let mut tile = database.get(Column::Tiles, &key)?.map(|bytes| bytes.to_vec()).unwrap_or_default();
        if tile.len() != usize::from(row.first_offset) * 32 {
            return Err(AppliedFault::corrupt("tiles", "one is not as wide as the log is long"));
        }
        tile.extend(row.hashes.iter().flat_map(|hash| hash.0));
        batch.put(Column::Tiles, key, tile)?;
    }
    if frontier != applied.summary.frontier {
        return Err(AppliedFault::corrupt("the log", "its right edge is not the state machine's"));
    }
    for bucket in &applied.dedup_dropped {
        batch.delete_range(
            Column::Dedup,
            &record::pair_key(*bucket, 0),
            &record::pair_key(bucket.saturating_add(1), 0),
        )?;
    }
    for entry in &applied.dedup {
        batch.put(Column::Dedup, record::pair_key(entry.bucket(), entry.index), entry.encode())?;
    }
    batch.put(Column::Summaries, head.block.to_be_bytes(), record::encode_summary(&applied.summary))
}

/// What was written becomes what is read.
fn publish(
    opened: &Opened,
    log_id: LogId,
    membership: Option<StoredMembership>,
    link: Option<RosterLink>,
    applied: Option<authority::Applied>,
) -> Position {
    if let Some(applied) = &applied {
        for (id, node) in &applied.new_nodes {
            opened.cache.insert(*id, node.clone());
        }
        opened.newest.advance(applied.summary.root, &applied.changes);
    }
    let mut live = opened.change();
    let live: &mut Live = &mut live;
    live.applied = Some(log_id);
    if let Some(membership) = membership {
        live.membership = membership;
    }
    if let Some(link) = link {
        live.rosters = Arc::new(live.rosters.followed_by(link));
    }
    if let Some(applied) = applied {
        live.state.advance(&applied);
        live.outcomes.push(applied.summary.head.block, applied.outcomes);
    }
    live.position()
}
