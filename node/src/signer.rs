//! What this node signs: statements about its head and its log, numbered so that they only grow.
//!
//! Only a voter signs, and only while its clock is right and it has recovered since its start. Order, each
//! time: the nonce was received, then the clock is read, then under the log's lock the tail and the
//! statement's number are taken, then it is signed. Nothing is cached between two statements.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chancery_ledger::checkpoint::SignatureLine;
use chancery_ledger::hash::Hash;
use chancery_ledger::head::{Fresh, Head, Number, Statement, Voter};
use ed25519_dalek::SigningKey;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::blocking;
use crate::clock::{ClockError, ClockWatch};
use crate::roster_proofs::ProvenRosters;
use crate::sabotage::{self, Sabotage};
use crate::store::applied::AppliedStore;
use crate::store::{LogError, RaftLog, SignedHead};
use crate::tile_log::checkpoint_of;

/// Why this node does not sign what it is asked to.
#[derive(Debug, thiserror::Error)]
pub enum NotSigning {
    /// It has not caught up with what was committed before it started.
    #[error("the node has not recovered since its start")]
    Recovering,
    /// Its clock may be wrong.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// It is no voter, so nothing that it signed would count.
    #[error("node {0} is not in the roster")]
    NotAVoter(u64),
    /// It was a voter, and was removed.
    #[error("node {0} is removed from the roster")]
    Removed(u64),
    /// Its log store is dead.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It has not applied the block in time.
    #[error("block {0} was not applied in time")]
    NotApplied(u64),
    /// A head could not be read.
    #[error("no head: {0}")]
    Unreadable(String),
    /// The block is older than the heads that are kept.
    #[error("the head of block {0} is kept no more")]
    Forgotten(u64),
    /// A name of the ledger or of the node cannot stand in a note.
    #[error("no note can be made: {0}")]
    Unspeakable(String),
}

/// Signs statements as one voter.
pub struct Signer {
    voter: Voter,
    key: SigningKey,
    log: RaftLog,
    store: AppliedStore,
    rosters: ProvenRosters,
    clocks: Arc<ClockWatch>,
    recovered: watch::Receiver<bool>,
    /// Statements since the start; the boot epoch of the log store is the number's high half.
    counter: AtomicU64,
}

impl Signer {
    /// Signs as `voter` once `recovered` says so.
    pub fn new(
        voter: Voter,
        key: SigningKey,
        log: RaftLog,
        store: AppliedStore,
        rosters: ProvenRosters,
        clocks: Arc<ClockWatch>,
        recovered: watch::Receiver<bool>,
    ) -> Self {
        Self { voter, key, log, store, rosters, clocks, recovered, counter: AtomicU64::new(0) }
    }

    /// The voter that it signs as.
    pub const fn voter(&self) -> &Voter {
        &self.voter
    }

    /// The key that it signs with: blocks are signed with it too.
    pub const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Why the node does not sign now, if it does not.
    pub fn ready(&self) -> Result<(), NotSigning> {
        self.check_voter()?;
        self.check_recovered()?;
        self.clocks.now_to_sign_ms()?;
        Ok(())
    }

    /// A statement over `nonce_root`, which was received before this is called.
    pub fn fresh(&self, nonce_root: Hash) -> Result<Statement, NotSigning> {
        self.check_voter()?;
        self.check_recovered()?;
        let clock_ms = self.clocks.now_to_sign_ms()?;
        // The head is read before the tail: the tail that follows is then at or past it.
        let head = self.store.read_state(|state| *state.head());
        let (tail, number) = self.log.read_tail_with(|tail| (*tail, self.next_number()))?;
        // A statement that says less than was applied could make a revocation seem to be unknown: rather none.
        assert!(tail.block >= head.block || sabotage::is_chosen(), "what is applied was flushed before");
        let (head, tail) = sabotage::stated(&self.store, head, tail);
        let fresh = Fresh { nonce_root, clock_ms, tail_block: tail.block, tail_roster: tail.roster };
        let key = sabotage::key(&self.key);
        Ok(sabotage::fresh_signed(Statement::sign(&self.voter, key, number, Some(fresh), head)))
    }

    /// A signature on the head of `block`, which is waited for up to `patience`.
    pub async fn head(&self, block: u64, patience: Duration) -> Result<Statement, NotSigning> {
        let mut applied = self.store.block();
        match timeout(patience, applied.wait_for(|applied| *applied >= block)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return Err(NotSigning::NotApplied(block)),
        }
        let rosters = self.store.rosters();
        if rosters.head_voters(block).voter(self.voter.node) != Some(&self.voter) {
            return Err(NotSigning::NotAVoter(self.voter.node));
        }
        self.check_recovered()?;
        self.clocks.now_to_sign_ms()?;
        self.sign_head(self.kept_head(block).await?)
    }

    /// The head of an applied block. The last ones are in memory; a peer that is far behind asks for older ones.
    async fn kept_head(&self, block: u64) -> Result<Head, NotSigning> {
        if let Some(head) = self.store.read_state(|state| state.head_of(block).copied()) {
            return Ok(head);
        }
        let view = self.store.view();
        let read = blocking::spawn(move || view.head_of(block).map_err(|error| error.to_string())).await;
        let read = read.unwrap_or_else(|error| Err(error.to_string()));
        read.map_err(NotSigning::Unreadable)?.ok_or(NotSigning::Forgotten(block))
    }

    /// A cosignature of the checkpoint of the log after `block`, which is waited for up to `patience`. The log is the
    /// one that this node made itself from its own blocks.
    pub async fn cosign(&self, block: u64, patience: Duration) -> Result<SignatureLine, NotSigning> {
        let head = self.head(block, patience).await?.head;
        let (checkpoint, name) = checkpoint_of(self.store.founding().origin(), &head, &self.voter)
            .map_err(NotSigning::Unspeakable)?;
        // A node that would cosign another log after a crash must notice: what it cosigned is on record first.
        let signed = SignedHead { size: head.log_size, root: head.log_root };
        if self.log.last_signed().is_none_or(|last| last.size < signed.size) {
            self.log.record_signed(signed).await?;
        }
        let time_s = self.clocks.now_to_sign_ms()? / 1_000;
        let line = checkpoint.cosign(&name, time_s, sabotage::key(&self.key));
        line.map_err(|error| NotSigning::Unspeakable(error.to_string()))
    }

    fn sign_head(&self, head: Head) -> Result<Statement, NotSigning> {
        // The number is taken under the log's lock, so that it orders this among fresh statements: none of
        // a later number can have a tail before this head.
        let number = self.log.read_tail_with(|_| self.next_number())?;
        let key = sabotage::key(&self.key);
        Ok(Statement::sign(&self.voter, key, number, None, sabotage::head_signed(head)))
    }

    fn next_number(&self) -> Number {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        Number { epoch: self.log.boot_epoch(), counter }
    }

    fn check_voter(&self) -> Result<(), NotSigning> {
        let node = self.voter.node;
        // That may be known before it is applied; or it never is, if this node was away meanwhile.
        if sabotage::active(Sabotage::RemovedRoster) {
            return Ok(());
        }
        if self.rosters.newest().is_removed(node) {
            return Err(NotSigning::Removed(node));
        }
        let is_voter = self.store.rosters().voter(node) == Some(&self.voter);
        if is_voter { Ok(()) } else { Err(NotSigning::NotAVoter(node)) }
    }

    fn check_recovered(&self) -> Result<(), NotSigning> {
        if *self.recovered.borrow() { Ok(()) } else { Err(NotSigning::Recovering) }
    }
}
