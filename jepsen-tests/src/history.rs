//! What the clients did, and what they know of it: the one input of every checker.

use serde::{Deserialize, Serialize};

/// One operation of one client process, from its start to what became of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Operation {
    /// The client process; each has at most one operation open at a time.
    pub process: u32,
    /// The node that the client was bound to, if it spoke to one only.
    pub node: Option<u64>,
    /// Microseconds of the harness' monotonic clock, read before the request was made (before its nonce).
    pub invoked_us: u64,
    /// The same clock after the outcome was known; none while it is open.
    pub returned_us: Option<u64>,
    /// What was asked for.
    pub call: Call,
    /// What the client knows.
    pub outcome: Outcome,
}

/// What was asked for. Names are those of the ledger; grants are named by their ids in hexadecimal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Registers an agent.
    Register { agent: String },
    /// Grants `action` on `resource` to `agent`. The id is known before it is sent: it is a hash of the command.
    Grant { agent: String, action: String, resource: String, grant: String },
    /// Delegates what `parent` grants.
    Delegate { agent: String, action: String, resource: String, grant: String, parent: String },
    /// Revokes one grant, and what is below it.
    RevokeGrant { grant: String },
    /// Revokes all that an agent was granted so far.
    RevokeAgent { agent: String },
    /// Asks whether `agent` may do `action` on `resource`, with a proof.
    Check { agent: String, action: String, resource: String },
}

/// What a client knows of an operation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Acknowledged: committed, applied, and its block's head signed by a quorum.
    Acknowledged { index: u64, block: u64, before: bool },
    /// A verified permit, decided from `block`, that rests on `chain` (grant ids, the leaf first).
    Permitted { block: u64, chain: Vec<String> },
    /// A verified denial, decided from `block`.
    Denied { block: u64, reason: String },
    /// Refused for a reason of state, with the ledger's word for it.
    Refused { reason: String },
    /// It had no effect, and never will.
    NotDone { reason: String },
    /// It may have had an effect, or may yet. Open for ever.
    Unknown { reason: String },
}
