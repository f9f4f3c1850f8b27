//! Nodes that are broken on purpose, and nodes that lie: what the fault harness must catch.
//!
//! One build with the feature `sabotage` holds all of them; the variable `CHANCERY_SABOTAGE` chooses one when the
//! process starts. Without the feature every function in here is `const` and changes nothing, so that no other
//! program can carry any of it. The places that ask are one line each; what they do then is in `armed`.

#[cfg(feature = "sabotage")]
mod armed;
#[cfg(not(feature = "sabotage"))]
mod disarmed;

#[cfg(feature = "sabotage")]
pub use armed::choose;
#[cfg(feature = "sabotage")]
pub(crate) use armed::*;
#[cfg(not(feature = "sabotage"))]
pub(crate) use disarmed::*;

/// What is broken. The rules are those of the freshness protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    /// Batches of the Raft log are answered before they are synced, but for those with a vote, and with them goes
    /// what was written before. A power cut of all nodes takes what was acknowledged.
    AckBeforeFsync,
    /// A vote is answered, but not synced. After a power cut the node votes again in the same term.
    SkipVoteFsync,
    /// A check is answered from what this node has applied, with the statements of an earlier round. The
    /// client refuses them; one that would not gets a permit after the revocation.
    ServeWithoutRound,
    /// A check that arrives during a round is answered with it. Its nonce is not in what was signed.
    JoinRunningRound,
    /// Rule 2: what a statement says of the log was read when the one before it was made, before its nonce came.
    TailBeforeNonce,
    /// §4: a statement names the last applied block, not the last that is flushed.
    TailOfAppliedState,
    /// Rule 3: a statement names the roster of the applied state, not that of the log.
    RosterOfAppliedState,
    /// Rule 1: what is applied or registered does not hold up the tail when the log is cut.
    NoFloor,
    /// Rule 4: an entry is applied, and its head signed, before this node has flushed it.
    ApplyBeforeFlush,
    /// After a start the last applied entry is applied once more.
    ApplyTwiceAfterRestart,
    /// Snapshots lack the deduplication entries, and whoever receives one does not look.
    NoDedupInSnapshots,
    /// Other nodes' statements are counted without a look at their signatures.
    SkipSignatureCheck,
    /// Rule 4: the head of a block is signed that is in the log, but not committed.
    SignBeforeCommit,

    // ---- lies
    /// Statements over new nonces show the log and head of two seconds ago.
    StaleHeads,
    /// Every statement has a state root of its own making.
    ForgedStateRoot,
    /// A revocation is acknowledged with the proofs of another command, and nothing is done.
    DroppedRevocation,
    /// Every other statement shows another head of the same block.
    TwoHeads,
    /// Whatever the nonce, the first fresh statement is given again.
    ReplayedStatements,
    /// Statements are signed with a key that is not the node's.
    GarbledSignatures,
    /// Once it is removed, the node goes on to state the last log and roster that had it, and serves checks with
    /// what others stated under that roster.
    RemovedRoster,
    /// As the leader, one follower is sent another block under the same log id.
    TwoBlocksUnderOneLogId,
}
