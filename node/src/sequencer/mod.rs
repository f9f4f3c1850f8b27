//! The sequencer: gathers waiting commands into a block, proposes it, and answers once it is acknowledged.
//!
//! One block is in flight at a time; what waits meanwhile makes the next one, so that the fsync of a block
//! is shared by all of its commands. A block is proposed only in the term in which its predecessor was
//! read, so a leader that was deposed meanwhile cannot append it. A change of the voters takes a way of its
//! own, between two blocks: see `roster_change`.

mod roster_change;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use chancery_ledger::authority::{
    Admission, BLOCK_COMMANDS_MAX, BLOCK_SIZE_BYTES_MAX, Block, Cause, Outcome, Refusal,
};
use chancery_ledger::command::{Body, SignedCommand, VerifiedSignatures};
use chancery_ledger::head::HeadQuorum;
use openraft::ReadPolicy;
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::blocking::Line;
use crate::clock::ClockWatch;
use crate::heads::HeadQuorums;
use crate::membership::Memberships;
use crate::raft::Raft;
use crate::raft::types::EncodedBlock;
use crate::signer::Signer;
use crate::store::RaftLog;
use crate::store::applied::AppliedStore;

/// Commands that may wait for a block.
const QUEUE_MAX: usize = 8192;

/// Bytes of commands in one block, so that the rest of it fits too.
const COMMANDS_SIZE_BYTES_MAX: usize = BLOCK_SIZE_BYTES_MAX - 64 * 1024;

/// What became of a command.
#[derive(Clone, Debug)]
pub enum Submitted {
    /// Committed, applied, and its block's head signed by a quorum.
    Acknowledged {
        /// Its leaf, or that of the command that did it before.
        index: u64,
        /// That leaf's block.
        block: u64,
        /// That block's ledger time, in milliseconds since 1970.
        time_ms: u64,
        /// Whether it was done before.
        before: bool,
        /// A head at or past its block.
        quorum: Arc<HeadQuorum>,
    },
    /// It has no effect.
    Refused(Refusal),
    /// It has no effect, as another node says.
    RefusedElsewhere {
        /// [`Refusal::code`].
        code: String,
        /// For people.
        message: String,
    },
    /// It was not done, and will not be unless it is sent again.
    NotDone(String),
    /// It may or may not be done.
    Unknown(String),
    /// Another node leads.
    NotLeader,
}

/// Where a waiting command stands: whoever moves it on first, decides.
const QUEUED: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

struct Waiting {
    signed: SignedCommand,
    stage: Arc<AtomicU8>,
    reply: oneshot::Sender<Submitted>,
}

/// The way into the sequencer.
#[derive(Clone)]
pub struct Sequencer {
    queue: mpsc::Sender<Waiting>,
    raft: Raft,
    store: AppliedStore,
    clocks: Arc<ClockWatch>,
    signatures: Arc<VerifiedSignatures>,
    admitting: Line,
}

/// What the sequencer works with.
pub struct Workshop {
    /// Proposes.
    pub raft: Raft,
    /// Tells where the log ends.
    pub log: RaftLog,
    /// Tells what a block did.
    pub store: AppliedStore,
    /// Signs blocks.
    pub signer: Arc<Signer>,
    /// Changes Raft's membership.
    pub memberships: Arc<Memberships>,
    /// Gathers acknowledgements.
    pub heads: Arc<HeadQuorums>,
    /// Stamps blocks.
    pub clocks: Arc<ClockWatch>,
    /// How long an acknowledgement may take after the commit.
    pub timeout: Duration,
}

impl Sequencer {
    /// Starts the sequencer; it ends when the last handle is dropped.
    pub fn start(workshop: Workshop) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let handle = Self {
            queue,
            raft: workshop.raft.clone(),
            store: workshop.store.clone(),
            clocks: Arc::clone(&workshop.clocks),
            signatures: Arc::clone(workshop.store.signatures()),
            admitting: Line::default(),
        };
        tokio::spawn(run(Arc::new(workshop), waiting));
        handle
    }

    /// Puts `signed` into a block, if this node leads and the state admits it, and waits for the
    /// acknowledgement.
    pub async fn submit(&self, signed: SignedCommand, deadline: Instant) -> Submitted {
        if !self.raft.is_leader() {
            return Submitted::NotLeader;
        }
        let signed = match self.admit(signed).await {
            Ok(signed) => signed,
            Err(answer) => return answer,
        };
        let stage = Arc::new(AtomicU8::new(QUEUED));
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { signed, stage: Arc::clone(&stage), reply };
        if self.queue.try_send(waiting).is_err() {
            return Submitted::NotDone(format!("{QUEUE_MAX} commands are waiting already"));
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(submitted)) => submitted,
            // Too late. If it is still in the queue it never leaves it: then it is definitely not done.
            _ if withdraw(&stage) => Submitted::NotDone("it waited too long for a block".into()),
            _ => Submitted::Unknown("no acknowledgement in time".into()),
        }
    }

    /// What the state says beforehand.
    ///
    /// A refusal must be as good as one in a block, but a node may believe that it leads when it does not:
    /// so before it refuses it asks a quorum whether it still leads, catches up, and looks again. Nor does it
    /// refuse by a clock that it could not stamp a block by: what is not expired must not be called so.
    async fn admit(&self, signed: SignedCommand) -> Result<SignedCommand, Submitted> {
        let not_done = |why: &dyn std::fmt::Display| Submitted::NotDone(why.to_string());
        let wall_ms = self.clocks.clock().wall_ms();
        let (signed, first) = look(&self.admitting, &self.store, &self.signatures, signed, wall_ms).await?;
        if first.is_ok() {
            return Ok(signed);
        }
        self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await.map_err(|error| not_done(&error))?;
        let stamp_ms = self.clocks.now_to_stamp_ms().map_err(|error| not_done(&error))?;
        match look(&self.admitting, &self.store, &self.signatures, signed, stamp_ms).await? {
            // A command that was done before goes through a block too: its answer is then ordered after
            // everything that was acknowledged.
            (signed, Ok(Admission::Admit | Admission::Before(_))) => Ok(signed),
            (_, Err(refusal)) => Err(Submitted::Refused(refusal)),
        }
    }
}

/// What the state says of `signed` in a block stamped `stamp_ms`, and the command back.
async fn look(
    line: &Line,
    store: &AppliedStore,
    signatures: &Arc<VerifiedSignatures>,
    signed: SignedCommand,
    stamp_ms: u64,
) -> Result<(SignedCommand, Result<Admission, Refusal>), Submitted> {
    let (store, signatures) = (store.clone(), Arc::clone(signatures));
    let admitted = line.run(move || {
        let view = store.view();
        let admission = view.read_state(|state| state.admit(&view, &signed, stamp_ms, &signatures));
        (signed, admission)
    });
    match admitted.await {
        Ok((signed, Ok(admission))) => Ok((signed, admission)),
        Ok((_, Err(fault))) => Err(Submitted::NotDone(fault.to_string())),
        Err(lost) => Err(Submitted::NotDone(lost.to_string())),
    }
}

fn withdraw(stage: &AtomicU8) -> bool {
    stage.compare_exchange(QUEUED, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

async fn run(workshop: Arc<Workshop>, mut queue: mpsc::Receiver<Waiting>) {
    let mut held = None;
    loop {
        let first = match held.take() {
            Some(waiting) => waiting,
            None => tokio::select! {
                waiting = queue.recv() => match waiting {
                    Some(waiting) => waiting,
                    None => return,
                },
                () = roster_change::found_unfinished(&workshop) => {
                    if let Err(why) = roster_change::finish(&workshop).await {
                        tracing::warn!(?why, "a change of the voters could not be finished yet");
                        sleep(roster_change::RETRY_AFTER).await;
                    }
                    continue;
                }
            },
        };
        let (batch, rest) = gather(first, &mut queue);
        held = rest;
        let batch: Vec<Waiting> = batch
            .into_iter()
            .filter(|w| w.stage.compare_exchange(QUEUED, TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok())
            .collect();
        match <[Waiting; 1]>::try_from(batch) {
            Ok([waiting]) if changes_voters(&waiting) => {
                let _ = waiting.reply.send(roster_change::change(&workshop, waiting.signed).await);
            }
            Ok(alone) => sequence(&workshop, alone.into()).await,
            Err(batch) if batch.is_empty() => {}
            Err(batch) => sequence(&workshop, batch).await,
        }
    }
}

/// What fits into one block; and the command that did not, if one did not.
fn gather(first: Waiting, queue: &mut mpsc::Receiver<Waiting>) -> (Vec<Waiting>, Option<Waiting>) {
    let mut size_bytes = size(&first);
    let alone = changes_voters(&first);
    let mut batch = vec![first];
    while !alone && batch.len() < BLOCK_COMMANDS_MAX {
        let Ok(next) = queue.try_recv() else { break };
        size_bytes += size(&next);
        if size_bytes > COMMANDS_SIZE_BYTES_MAX || changes_voters(&next) {
            return (batch, Some(next));
        }
        batch.push(next);
    }
    (batch, None)
}

/// A roster block holds no other command.
fn changes_voters(waiting: &Waiting) -> bool {
    matches!(waiting.signed.command().body, Body::SetRoster { .. })
}

/// The command, its signatures, and what protobuf puts around them.
fn size(waiting: &Waiting) -> usize {
    waiting.signed.command_bytes().len() + waiting.signed.signature_count() * 104 + 16
}

/// One block, from the proposal to the answers.
async fn sequence(workshop: &Arc<Workshop>, batch: Vec<Waiting>) {
    let (commands, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|w| (w.signed, w.reply)).unzip();
    let answer_all = |replies: Vec<oneshot::Sender<Submitted>>, answer: Submitted| {
        for reply in replies {
            // Whoever does not wait any more has had its answer: unknown.
            let _ = reply.send(answer.clone());
        }
    };
    let block = match propose(workshop, commands).await {
        Ok(block) => block,
        Err(answer) => return answer_all(replies, answer),
    };
    let Some(outcomes) = workshop.store.outcomes(block) else {
        return answer_all(replies, Submitted::Unknown(format!("block {block} was applied long ago")));
    };
    if outcomes.len() != replies.len() {
        return answer_all(replies, Submitted::Unknown(format!("block {block} is another one")));
    }
    // The next block need not wait for the signatures on this one.
    let workshop = Arc::clone(workshop);
    tokio::spawn(async move {
        let deadline = Instant::now() + workshop.timeout;
        let quorum = workshop.heads.quorum(block, deadline).await;
        for (reply, outcome) in replies.into_iter().zip(outcomes.iter()) {
            let _ = reply.send(match (outcome, &quorum) {
                (Outcome::Refused(refusal), _) => Submitted::Refused(refusal.clone()),
                (Outcome::Applied(cause), Ok(quorum)) => acknowledged(*cause, false, quorum),
                (Outcome::Before(cause), Ok(quorum)) => acknowledged(*cause, true, quorum),
                (_, Err(error)) => Submitted::Unknown(error.to_string()),
            });
        }
    });
}

fn acknowledged(cause: Cause, before: bool, quorum: &Arc<HeadQuorum>) -> Submitted {
    let Cause { index, block, time_ms, .. } = cause;
    Submitted::Acknowledged { index, block, time_ms, before, quorum: Arc::clone(quorum) }
}

/// Proposes a block of `commands` and waits until it is applied here; its number.
async fn propose(workshop: &Workshop, commands: Vec<SignedCommand>) -> Result<u64, Submitted> {
    let not_done = |why: &dyn std::fmt::Display| Submitted::NotDone(why.to_string());
    let (term, head, tail) = roster_change::settled_tail(workshop).await?;
    let stamp_ms = stamp_ms(workshop).await?;
    let voter = workshop.signer.voter();
    let block = Block::propose(
        head.ledger,
        tail,
        stamp_ms,
        (voter.node, term),
        (head.block, head.hash()),
        commands,
        workshop.signer.key(),
    );
    let (responder, applied) = ProgressResponder::complete_only();
    let bytes = EncodedBlock::from(block.encode());
    let proposed = workshop.raft.write(bytes).responder(responder).with_leader(term).await;
    // Fatal before the entry was queued: it is nowhere.
    proposed.map_err(|error| not_done(&error))?;
    match applied.await {
        Ok(Ok(response)) => Ok(response.data.block),
        Ok(Err(ClientWriteError::ForwardToLeader(_))) => Err(Submitted::NotLeader),
        Ok(Err(error)) => Err(Submitted::Unknown(error.to_string())),
        Err(_) => Err(Submitted::Unknown("the node is stopping".into())),
    }
}

/// Waits until everything in this leader's log is applied; the head then, and the hash of the last block.
///
/// Only the leader of the term appends, and only through this task: once head and tail agree they stay so
/// until the next proposal, or the proposal is refused for its term.
async fn wait_for_tail(
    workshop: &Workshop,
) -> Result<(chancery_ledger::head::Head, chancery_ledger::hash::Hash), Submitted> {
    let mut applied = workshop.store.block();
    let deadline = Instant::now() + workshop.timeout;
    loop {
        let head = workshop.store.read_state(|state| *state.head());
        let tail = workshop
            .log
            .read_tail_with(|tail| *tail)
            .map_err(|error| Submitted::NotDone(error.to_string()))?;
        if head.block == tail.block {
            return Ok((head, tail.block_hash));
        }
        match timeout_at(deadline, applied.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => {
                return Err(Submitted::NotDone("earlier blocks were not applied in time".into()));
            }
        }
    }
}

/// The time for a block's stamp. A leader whose clock is off cannot stamp blocks: another one can.
async fn stamp_ms(workshop: &Workshop) -> Result<u64, Submitted> {
    match workshop.clocks.now_to_stamp_ms() {
        Ok(stamp_ms) => Ok(stamp_ms),
        Err(error) => {
            tracing::warn!(%error, "the clock is off: another node must lead");
            workshop.memberships.step_down().await;
            Err(Submitted::NotDone(error.to_string()))
        }
    }
}
