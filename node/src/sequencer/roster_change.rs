//! A change of the voters: its command, from the proposal of two roster blocks to the proof of both.
//!
//! Raft's membership changes with the entries that carry these blocks, so the joint one must never be
//! refused: it is proposed only when everything before it is applied here and the state admits its command,
//! in the term in which that was looked at. The uniform block is made together with it, and names it as its
//! predecessor. Until that is applied, and both heads are signed by a quorum of the roster before and of the
//! one after, nothing else is proposed. A leader that finds a joint roster ends that change first.

use std::collections::BTreeSet;
use std::sync::Arc;

use chancery_ledger::authority::{Admission, Block};
use chancery_ledger::command::{Body, SignedCommand};
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Head, Roster, VoterSet};
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, ReadPolicy};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Submitted, Workshop, acknowledged, look, stamp_ms, wait_for_tail};
use crate::blocking::Line;
use crate::membership::MembershipError;
use crate::raft::types::{NodeId, Payload};
use crate::store::applied::voter_ids;

/// How long to wait before what could not be done is tried again.
pub(super) const RETRY_AFTER: std::time::Duration = std::time::Duration::from_millis(50);

/// How often a leader settles what leaders before it left behind, for one block.
const SETTLE_TRIES_MAX: u32 = 4;

/// Waits until this node leads and finds a change of voters that is not finished.
pub(super) async fn found_unfinished(workshop: &Workshop) {
    let mut rosters = workshop.store.watch_rosters();
    let mut metrics = workshop.raft.server_metrics();
    loop {
        let _ = metrics.borrow_and_update();
        if rosters.borrow_and_update().is_joint() && workshop.raft.is_leader() {
            return;
        }
        let watched = tokio::select! {
            changed = rosters.changed() => changed.is_ok(),
            changed = metrics.changed() => changed.is_ok(),
        };
        if !watched {
            // The node is stopping.
            std::future::pending::<()>().await;
        }
    }
}

/// Where the next block goes that changes no voters: the term to propose it in, the head, and the hash of the
/// log's last block, when all of the log is applied, no change of the voters is under way, and this node votes.
pub(super) async fn settled_tail(workshop: &Workshop) -> Result<(u64, Head, Hash), Submitted> {
    for _ in 0..SETTLE_TRIES_MAX {
        settle(workshop).await?;
        let term = workshop.raft.as_leader().map_err(|_| Submitted::NotLeader)?.term();
        let (head, tail) = wait_for_tail(workshop).await?;
        if is_settled(workshop) {
            return Ok((term, head, tail));
        }
    }
    Err(Submitted::NotDone("changes of the voters are under way".into()))
}

/// Whether a block may follow what is applied. To be asked once all of the log is: a leader before this one
/// may have left roster blocks there, which were not to be seen in the state until then.
fn is_settled(workshop: &Workshop) -> bool {
    let rosters = workshop.store.rosters();
    let votes = rosters.voter(workshop.signer.voter().node).is_some();
    votes && !rosters.is_joint() && rosters.unproven().is_none()
}

/// Ends a change that is under way, and waits until all rosters are proven. A leader that votes no more
/// hands over.
async fn settle(workshop: &Workshop) -> Result<(), Submitted> {
    if workshop.store.rosters().is_joint() {
        finish(workshop).await?;
    }
    if workshop.store.rosters().voter(workshop.signer.voter().node).is_none() {
        workshop.memberships.step_down().await;
        return Err(Submitted::NotLeader);
    }
    wait_until_proven(workshop, Instant::now() + workshop.timeout).await
}

async fn wait_until_proven(workshop: &Workshop, deadline: Instant) -> Result<(), Submitted> {
    let mut rosters = workshop.store.watch_rosters();
    let proven = rosters.wait_for(|rosters| rosters.unproven().is_none());
    match timeout_at(deadline, proven).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(Submitted::NotDone("the node is stopping".into())),
        Err(_) => Err(Submitted::NotDone("no quorum has signed the last change of the voters yet".into())),
    }
}

/// Proposes the uniform block that ends the change under way, and waits until it is applied here.
pub(super) async fn finish(workshop: &Workshop) -> Result<(), Submitted> {
    let turn = workshop.memberships.turn().await;
    let term = workshop.raft.as_leader().map_err(|_| Submitted::NotLeader)?.term();
    let (head, tail) = wait_for_tail(workshop).await?;
    let rosters = workshop.store.rosters();
    let Some(uniform) = rosters.newest().1.completed() else { return Ok(()) };
    let stamp_ms = stamp_ms(workshop).await?;
    let block = Block::propose_uniform(
        head.ledger,
        tail,
        stamp_ms,
        (workshop.signer.voter().node, term),
        (head.block, head.hash()),
        uniform,
        workshop.signer.key(),
    );
    tracing::info!(block = head.block.saturating_add(1), "a change of the voters is finished");
    // To add nobody ends a joint membership. If it ended meanwhile it was set elsewhere, and this is refused.
    let ends = ChangeMembers::AddVoterIds(BTreeSet::new());
    let set_at = *workshop.store.membership().log_id();
    let uniform = payload(&block);
    match workshop.memberships.change(&turn, term, set_at, ends, (Payload::default(), uniform)).await {
        Ok(_) => Ok(()),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Err(Submitted::NotLeader),
        Err(error) => Err(Submitted::NotDone(format!("a change of the voters is under way: {error}"))),
    }
}

/// Carries out a `SetRoster` command.
pub(super) async fn change(workshop: &Workshop, signed: SignedCommand) -> Submitted {
    match try_change(workshop, signed).await {
        Ok(answer) | Err(answer) => answer,
    }
}

async fn try_change(workshop: &Workshop, signed: SignedCommand) -> Result<Submitted, Submitted> {
    let not_done = |why: &dyn std::fmt::Display| Submitted::NotDone(why.to_string());
    settle(workshop).await?;
    let deadline = Instant::now() + workshop.timeout;
    let turn = workshop.memberships.turn().await;
    let term = workshop.raft.as_leader().map_err(|_| Submitted::NotLeader)?.term();
    let (head, tail) = wait_for_tail(workshop).await?;
    if !is_settled(workshop) {
        return Err(not_done(&"another change of the voters is under way"));
    }
    let stamp_ms = stamp_ms(workshop).await?;
    let (signed, admission) =
        look(&Line::default(), &workshop.store, &Arc::default(), signed, stamp_ms).await?;
    match admission {
        Ok(Admission::Admit) => {}
        // What else there is may be known elsewhere already, if this node leads no more.
        refused_or_before => {
            let still_leads = workshop.raft.ensure_linearizable(ReadPolicy::ReadIndex).await;
            still_leads.map_err(|error| not_done(&error))?;
            return Ok(match refused_or_before {
                Ok(Admission::Before(cause)) => match workshop.heads.quorum(head.block, deadline).await {
                    Ok(quorum) => acknowledged(cause, true, &quorum),
                    Err(error) => Submitted::Unknown(error.to_string()),
                },
                Err(refusal) => Submitted::Refused(refusal),
                Ok(Admission::Admit) => not_done(&"the state changed"),
            });
        }
    }
    let Body::SetRoster { voters, .. } = &signed.command().body else {
        // INVARIANT: the sequencer takes only such commands this way.
        return Err(not_done(&"it does not change the voters"));
    };
    let own = workshop.signer.voter().node;
    if !voters.voters().iter().any(|voter| voter.node == own) {
        // Who leads must be there afterwards: the next leader takes the command.
        workshop.memberships.step_down().await;
        return Err(Submitted::NotLeader);
    }
    let rosters = workshop.store.rosters();
    let roster = rosters.newest().1;
    check_ready(workshop, roster, voters).map_err(|error| not_done(&error))?;
    let ids: BTreeSet<NodeId> = voters.voters().iter().map(|voter| voter.node).collect();
    let joint = roster.joint_with(voters).filter(|joint| voter_ids(joint).first() != Some(&ids));
    let joint = joint.ok_or_else(|| not_done(&"the voters must be other nodes than now"))?;
    let joint_id = joint.id(head.block.saturating_add(1));
    // INVARIANT: what was just made joint can be completed.
    let uniform = joint.completed().ok_or_else(|| not_done(&"the roster is not joint"))?;

    let (proposer, newest) = ((own, term), (head.block, head.hash()));
    let key = workshop.signer.key();
    let began = Block::propose_joint(head.ledger, tail, stamp_ms, proposer, newest, (joint, signed), key);
    let ended = Block::propose_uniform(head.ledger, began.hash(), stamp_ms, proposer, newest, uniform, key);
    let payloads = (payload(&began), payload(&ended));
    let set_at = *workshop.store.membership().log_id();
    tracing::info!(voters = ?ids, block = joint_id.block, "the voters change");
    let members = ChangeMembers::ReplaceAllVoters(ids);
    let changed = workshop.memberships.change(&turn, term, set_at, members, payloads).await;
    drop(turn);
    fail::fail_point!("roster-change-before-answer");
    if let Err(error) = changed {
        // Whether the joint block was appended shows in the state: Raft answers its step after that.
        let began = workshop.store.rosters().get(joint_id).is_some();
        match error {
            _ if began => {}
            RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => return Err(Submitted::NotLeader),
            RaftError::APIError(
                ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_),
            ) => return Err(not_done(&error)),
            error => return Err(Submitted::Unknown(error.to_string())),
        }
    }
    acknowledge(workshop, joint_id.block, deadline.max(Instant::now() + workshop.timeout)).await
}

/// Waits until the change that the joint block `began` began is finished, by this node or another, and proven.
async fn acknowledge(workshop: &Workshop, began: u64, deadline: Instant) -> Result<Submitted, Submitted> {
    let unknown = |why: &dyn std::fmt::Display| Submitted::Unknown(why.to_string());
    while workshop.store.rosters().is_joint() {
        if Instant::now() >= deadline {
            return Err(unknown(&"the change has begun, and is not finished yet"));
        }
        if finish(workshop).await.is_err() {
            sleep(RETRY_AFTER).await;
        }
    }
    wait_until_proven(workshop, deadline)
        .await
        .map_err(|_| unknown(&"no quorum has signed the change yet"))?;
    let outcomes = workshop.store.outcomes(began);
    let cause = match outcomes.as_deref().map(Vec::as_slice) {
        Some([chancery_ledger::authority::Outcome::Applied(cause)]) => *cause,
        _ => return Err(unknown(&format!("block {began} was applied long ago"))),
    };
    let ended = began.saturating_add(1);
    let quorum = workshop.heads.quorum(ended, deadline).await.map_err(|error| unknown(&error))?;
    Ok(acknowledged(cause, false, &quorum))
}

/// Whoever is to vote has been replicating under its name, and has caught up.
fn check_ready(workshop: &Workshop, now: &Roster, next: &VoterSet) -> Result<(), MembershipError> {
    let stored = workshop.store.membership();
    for voter in next.voters().iter().filter(|voter| now.voter(voter.node).is_none()) {
        let node = voter.node;
        let found = stored.membership().get_node(&node).ok_or(MembershipError::NoLearner(node))?;
        if found.name != voter.name.as_str() {
            let (found, expected) = (found.name.clone(), voter.name.to_string());
            return Err(MembershipError::OtherName { node, found, expected });
        }
        workshop.memberships.check_caught_up(node)?;
    }
    Ok(())
}

fn payload(block: &Block) -> Payload {
    Payload::new(Some(block.encode().into()), None)
}
