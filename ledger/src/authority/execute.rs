//! What the commands of one block do, wherever the state that they change is kept.

use std::collections::BTreeMap;

use super::Refusal;
use super::apply::{ApplyError, Outcome};
use super::dedup::{self, Dedup, DedupEntry};
use super::draft::{Draft, Effect, Stop, Writes};
use super::entry::{ENTRY_SIZE_BYTES_MAX, Entry};
use super::evaluate::{Pending, dedup_entry, evaluate};
use super::given::Given;
use super::records::{self, Cause, LedgerRecord, Place};
use super::rosters::{self, RosterFault};
use crate::command::{Body, SignedCommand, VerifiedSignatures};
use crate::hash::Hash;
use crate::head::{Head, Roster, RosterId};
use crate::log::{Frontier, leaf_hash};
use crate::state::Version;

/// A ledger before a block, but for the version of its state tree.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    pub(super) head: &'a Head,
    pub(super) frontier: &'a Frontier,
    pub(super) dedup: &'a Dedup,
}

/// What a block is that its commands do not say.
pub(super) struct Due<'a> {
    pub(super) number: u64,
    pub(super) time_ms: u64,
    /// What it brings into force.
    pub(super) roster: Option<&'a Roster>,
}

/// What the commands of a block did.
pub(super) struct Executed<T> {
    pub(super) head: Head,
    pub(super) frontier: Frontier,
    /// The next version of the tree; `None` if it is the same.
    pub(super) next: Option<T>,
    pub(super) leaves: Vec<Vec<u8>>,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) dedup: Vec<DedupEntry>,
    pub(super) dedup_dropped: Vec<u64>,
}

impl Before<'_> {
    /// Each command in order, then the STATE leaf.
    pub(super) fn execute<V: Version>(
        self,
        mut draft: Draft<'_, V>,
        ledger: &LedgerRecord,
        due: Due<'_>,
        commands: &[impl Given],
        seen: &VerifiedSignatures,
    ) -> Result<Executed<V::Next>, ApplyError<V::Error>> {
        let Self { head, frontier, dedup } = self;
        let Due { number, time_ms, roster } = due;
        let mut leaves = Leaves::after(frontier.clone());
        let mut outcomes = Vec::with_capacity(commands.len());
        let mut pending = Pending::new(dedup);
        for given in commands {
            let signed = given.signed();
            let cause = Cause {
                index: leaves.frontier.size(),
                block: number,
                time_ms,
                signer: signed.command().signer,
            };
            let outcome = match evaluate(&draft, ledger, &pending, seen, given, cause) {
                Ok(Effect::Before(first)) => Outcome::Before(first),
                Ok(Effect::Writes(_)) if roster.is_none() && changes_voters(signed) => {
                    Outcome::Refused(Refusal::NotInRosterBlock)
                }
                Ok(Effect::Writes(writes)) => {
                    // INVARIANT: a command's writes are complete before any is made: wholly or not at all.
                    let Writes { records, verdict } = writes;
                    draft.changes.extend(records.into_iter().map(|(key, value)| (key, Some(value))));
                    leaves.push(given.leaf(number, time_ms, verdict.as_ref()))?;
                    pending.push(dedup_entry(given, cause));
                    Outcome::Applied(cause)
                }
                Err(Stop::Refused(refusal)) => Outcome::Refused(refusal),
                Err(Stop::Fault(fault)) => return Err(fault.into()),
            };
            outcomes.push(outcome);
        }
        let entries = pending.entries;
        let roster_id = match roster {
            Some(roster) => {
                bring_roster(&mut draft, ledger, roster, &outcomes)?;
                roster.id(number)
            }
            None => head.roster,
        };
        if leaves.encoded.is_empty() && roster.is_none() {
            let head = Head { block: number, ..*head };
            let frontier = leaves.frontier;
            return Ok(Executed { outcomes, ..Executed::nothing(head, frontier) });
        }
        let dedup_dropped = seal_dedup(dedup, &mut draft, &entries, time_ms);
        let close = Close {
            block: number,
            time_ms,
            roster: roster_id,
            rules_version: head.rules_version,
            // The last leaf of a log is always a STATE leaf.
            previous: head.log_size.checked_sub(1),
        };
        let executed = close.seal(draft, leaves)?;
        Ok(Executed { outcomes, dedup: entries, dedup_dropped, ..executed })
    }
}

impl<T> Executed<T> {
    const fn nothing(head: Head, frontier: Frontier) -> Self {
        Self {
            head,
            frontier,
            next: None,
            leaves: Vec::new(),
            outcomes: Vec::new(),
            dedup: Vec::new(),
            dedup_dropped: Vec::new(),
        }
    }
}

fn changes_voters(signed: &SignedCommand) -> bool {
    matches!(signed.command().body, Body::SetRoster { .. })
}

/// Sees to it that a roster block did what Raft's membership did: its command took effect, or, in a uniform
/// block, the roster is written here.
fn bring_roster<V: Version>(
    draft: &mut Draft<'_, V>,
    ledger: &LedgerRecord,
    roster: &Roster,
    outcomes: &[Outcome],
) -> Result<(), RosterFault> {
    match outcomes {
        [] => {
            draft.put(&Place::ledger(), &rosters::with_roster(ledger, roster.clone()));
            Ok(())
        }
        [Outcome::Refused(refusal), ..] => Err(RosterFault::Refused(refusal.clone())),
        [Outcome::Before(cause), ..] => Err(RosterFault::Before(*cause)),
        [Outcome::Applied(_), ..] => Ok(()),
    }
}

/// Writes the chains of the buckets that `entries` extend, deletes those that ended; returns these.
fn seal_dedup<V: Version>(
    live: &Dedup,
    draft: &mut Draft<'_, V>,
    entries: &[DedupEntry],
    time_ms: u64,
) -> Vec<u64> {
    let dropped: Vec<u64> = live.expired(time_ms).collect();
    for bucket in &dropped {
        draft.changes.insert(Place::dedup_bucket(*bucket).key(), None);
    }
    let mut chains = BTreeMap::new();
    for entry in entries {
        let chain = chains.entry(entry.bucket()).or_insert_with(|| live.bucket(entry.bucket()));
        *chain = dedup::extend(*chain, entry);
    }
    for (bucket, chain) in chains {
        let place = Place::dedup_bucket(bucket);
        draft.changes.insert(place.key(), Some(records::encode(&place, &chain)));
    }
    dropped
}

/// Leaves of a block, and the log's right edge after them.
pub(super) struct Leaves {
    frontier: Frontier,
    encoded: Vec<Vec<u8>>,
}

impl Leaves {
    pub(super) const fn after(frontier: Frontier) -> Self {
        Self { frontier, encoded: Vec::new() }
    }

    /// Adds an encoded leaf, given with its hash.
    pub(super) fn push<E>(&mut self, (bytes, hash): (Vec<u8>, Hash)) -> Result<(), ApplyError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        // INVARIANT: a command is at most 16 KiB, its signatures 64 × 464 bytes, its verdict less than 2 KiB.
        if bytes.len() > ENTRY_SIZE_BYTES_MAX {
            return Err(ApplyError::Bound("entry size"));
        }
        self.frontier.append(hash);
        self.encoded.push(bytes);
        Ok(())
    }
}

/// What a block's STATE leaf says besides the root.
pub(super) struct Close {
    pub(super) block: u64,
    pub(super) time_ms: u64,
    pub(super) roster: RosterId,
    pub(super) rules_version: u32,
    pub(super) previous: Option<u64>,
}

impl Close {
    /// Makes the next version of the tree, appends the STATE leaf, makes the head.
    pub(super) fn seal<V: Version>(
        self,
        draft: Draft<'_, V>,
        mut leaves: Leaves,
    ) -> Result<Executed<V::Next>, ApplyError<V::Error>> {
        let Self { block, time_ms, roster, rules_version, previous } = self;
        let (state_root, next) = draft.before.next(draft.changes).map_err(ApplyError::Tree)?;
        let state = Entry::State { block, time_ms, state_root, roster, rules_version, previous }.encode();
        let hash = leaf_hash(&state);
        leaves.push((state, hash))?;
        let Leaves { frontier, encoded } = leaves;
        let head = Head {
            ledger: draft.ledger,
            block,
            time_ms,
            log_size: frontier.size(),
            log_root: frontier.root(),
            state_root,
            roster,
            rules_version,
        };
        Ok(Executed { next: Some(next), leaves: encoded, ..Executed::nothing(head, frontier) })
    }
}
