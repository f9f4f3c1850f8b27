//! Changes of the voters.
//!
//! A change takes two blocks that Raft's membership changes with: a joint one, which the command asks for, and
//! a uniform one. Nothing comes between them.

use std::collections::BTreeSet;

use super::Refusal;
use super::draft::{Draft, Effect, Stop, Writes};
use super::evaluate::Call;
use super::given::Given;
use super::records::{Cause, LedgerRecord, Place, PrincipalRecord, VoterRecord};
use super::view::record;
use crate::command::{Body, PublicKey, Role};
use crate::head::{ROSTER_LINKS_MAX, Roster, RosterId, Voter, VoterSet};
use crate::state::Version;

type Result<T, E> = std::result::Result<T, Stop<E>>;

/// Roster blocks of one change: the joint one and the uniform one.
const BLOCKS_PER_CHANGE: u32 = 2;

/// Why a block cannot be applied for the sake of its roster: Raft's membership changed with the entry, or did
/// not, and the ledger's roster would differ from it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RosterFault {
    /// Another block than the uniform one while a change is under way.
    #[error("a change of the voters is under way, and this block does not end it")]
    UnderWay,
    /// A uniform block while no change is under way.
    #[error("no change of the voters is under way that this block could end")]
    NotUnderWay,
    /// The block's roster is not the one that must follow.
    #[error("the block's roster is not the one that follows the roster in force")]
    OtherRoster,
    /// The command of a joint block is refused.
    #[error("its command is refused: {0}")]
    Refused(Refusal),
    /// The command of a joint block took effect before.
    #[error("its command took effect before, at index {}", .0.index)]
    Before(Cause),
}

/// Whether the roster that a block brings, if it brings one, is the one that must come after that of `ledger`.
pub(super) fn check_block(
    ledger: &LedgerRecord,
    brought: Option<&Roster>,
) -> std::result::Result<(), RosterFault> {
    let Some(roster) = brought else {
        return if ledger.roster.is_joint() { Err(RosterFault::UnderWay) } else { Ok(()) };
    };
    let follows = match (roster.sets(), ledger.roster.completed()) {
        ([_], Some(completed)) => *roster == completed,
        ([_], None) => return Err(RosterFault::NotUnderWay),
        (_, Some(_)) => return Err(RosterFault::UnderWay),
        ([_, next], None) => ledger.roster.joint_with(next).as_ref() == Some(roster),
        (_, None) => false,
    };
    if follows { Ok(()) } else { Err(RosterFault::OtherRoster) }
}

/// The roster that a block brought of which these commands took effect.
pub(super) fn told_by(ledger: &LedgerRecord, commands: &[impl Given]) -> Option<Roster> {
    match commands {
        [] => ledger.roster.completed(),
        [given] => match &given.signed().command().body {
            Body::SetRoster { voters, .. } => ledger.roster.joint_with(voters),
            _ => None,
        },
        _ => None,
    }
}

/// Writes the first voters.
pub(super) fn found<V: Version>(draft: &mut Draft<'_, V>, roster: &Roster, cause: Cause) {
    for voter in roster.voters() {
        let record = VoterRecord { voter: voter.clone(), added: cause };
        for place in places(voter) {
            draft.put(&place, &record);
        }
    }
}

/// Begins a change: what the command of a joint block does.
pub(super) fn set<V: Version>(
    call: &Call<'_, V>,
    voters: &VoterSet,
    replaces: RosterId,
    operators: &[PublicKey],
) -> Result<Effect, V::Error> {
    check_operators(call, operators)?;
    let LedgerRecord { roster, roster_blocks, .. } = call.ledger;
    if roster.is_joint() {
        return Err(Refusal::RosterChangeUnderWay.into());
    }
    let in_force = call.draft.roster;
    if replaces != in_force {
        return Err(Refusal::OtherRoster { replaces, in_force }.into());
    }
    if roster.sets().iter().any(|now| now.voters() == voters.voters()) {
        return Err(Refusal::SameVoters.into());
    }
    // Never only half of a change: it could not be ended.
    if roster_blocks.saturating_add(BLOCKS_PER_CHANGE) > ROSTER_LINKS_MAX {
        return Err(Refusal::TooManyRosters(*roster_blocks).into());
    }
    let mut writes = Writes::default();
    for voter in voters.voters().iter().filter(|voter| roster.voter(voter.node) != Some(voter)) {
        check_unused(call, voter)?;
        let record = VoterRecord { voter: voter.clone(), added: call.cause };
        for place in places(voter) {
            writes.put(&place, &record);
        }
    }
    // INVARIANT: no change is under way, the voters are others, and whoever is new has a node id, name and key
    // that nobody has: the two sets agree.
    let joint = roster.joint_with(voters).ok_or(Refusal::SameVoters)?;
    writes.put(&Place::ledger(), &with_roster(call.ledger, joint));
    Ok(Effect::Writes(writes))
}

/// The ledger record once `roster` is in force.
pub(super) fn with_roster(ledger: &LedgerRecord, roster: Roster) -> LedgerRecord {
    LedgerRecord { roster, roster_blocks: ledger.roster_blocks.saturating_add(1), ..ledger.clone() }
}

/// The signer and the others that it names are operators, and enough.
fn check_operators<V: Version>(call: &Call<'_, V>, others: &[PublicKey]) -> Result<(), V::Error> {
    call.signer(&[Role::Operator])?;
    for key in others {
        let principal: Option<PrincipalRecord> = record(call.draft, &Place::principal(*key))?;
        let active = principal.filter(|p| p.ended.is_none() && p.roles.contains(&Role::Operator));
        active.ok_or(Refusal::UnknownOperator(*key))?;
    }
    let distinct: BTreeSet<_> = others.iter().chain([&call.command.signer]).collect();
    // INVARIANT: a command has at most 64 signatures, and one of each of these.
    let signed = u32::try_from(distinct.len()).unwrap_or(0);
    let threshold = call.ledger.limits.operator_threshold;
    if signed < threshold {
        return Err(Refusal::TooFewOperators { signed, threshold }.into());
    }
    Ok(())
}

/// Who becomes a voter has a node id, name and key that none ever had: what they sign is told apart for ever.
fn check_unused<V: Version>(call: &Call<'_, V>, voter: &Voter) -> Result<(), V::Error> {
    let refusals = [
        Refusal::NodeIdUsed(voter.node),
        Refusal::NodeNameUsed(voter.name.clone()),
        Refusal::NodeKeyUsed(voter.key),
    ];
    for (place, refusal) in places(voter).into_iter().zip(refusals) {
        if record::<_, VoterRecord>(call.draft, &place)?.is_some() {
            return Err(refusal.into());
        }
    }
    Ok(())
}

fn places(voter: &Voter) -> [Place; 3] {
    [Place::voter_node(voter.node), Place::voter_name(&voter.name), Place::voter_key(voter.key)]
}
