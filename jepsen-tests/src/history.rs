//! What the clients did, and what they know of it: the one input of every checker.
//!
//! Three kinds of record, each a line of JSON in a file of its own: [`Operation`]s, the [`Proof`]s that clients
//! were given, and at the end of a run the whole log as each node serves it ([`NodeLog`], kept in memory).
//!
//! A history begins with an empty ledger (genesis alone) and holds every command that any client gave. Grants
//! in it begin before it and outlast it, so that time decides nothing, but those that nobody asks about: they are
//! there to end. Of bounds the ledger's own time decides, which is in the log.

use chancery_client::chancery_ledger::authority::{Decided, Verdict};
use chancery_client::chancery_ledger::decide::Denial;
use serde::{Deserialize, Serialize};

/// One operation of one client process, from its start to what became of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Operation {
    /// Names it in verdicts and proofs: unique in the history.
    pub id: u64,
    /// The client process; each has at most one operation open at a time.
    pub process: u32,
    /// The node that the client was bound to, if it spoke to one only.
    pub node: Option<u64>,
    /// Microseconds of the harness' monotonic clock, read before the request was made (before its nonce).
    pub invoked_us: u64,
    /// The same clock after the outcome was known; none while it is open.
    pub returned_us: Option<u64>,
    /// `SignedCommand::command_hash` in hexadecimal; none for a check. The bytes are known before they are sent,
    /// and are the same at every try.
    pub command: Option<String>,
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
    Register {
        /// Its name.
        agent: String,
        /// The lineage that it belongs to; one of its own without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lineage: Option<String>,
    },
    /// Grants authority. The id is known before it is sent: it is a hash of the command.
    Grant {
        /// To whom.
        agent: String,
        /// To do what: a name or a pattern.
        action: String,
        /// On what: a name or a pattern.
        resource: String,
        /// The new grant.
        grant: String,
    },
    /// Delegates, to another agent, some of what a grant allows.
    Delegate {
        /// To whom.
        agent: String,
        /// To do what: a name or a pattern.
        action: String,
        /// On what: a name or a pattern.
        resource: String,
        /// The new grant.
        grant: String,
        /// The grant that it narrows.
        parent: String,
    },
    /// Revokes one grant, and what is below it.
    RevokeGrant {
        /// Which.
        grant: String,
    },
    /// Revokes all that an agent was granted so far.
    RevokeAgent {
        /// Whose.
        agent: String,
    },
    /// Stops everything in a scope.
    Halt {
        /// What kind of scope, in the ledger's word.
        scope: String,
        /// What it names: an agent, a lineage, a pattern, a grant; nothing if it is everything.
        subject: Option<String>,
    },
    /// Says that a halt may end.
    Resume {
        /// The halt: the index of its leaf.
        halt: u64,
        /// Who says so: a key, in hexadecimal.
        resumer: String,
    },
    /// Asks whether an agent may do something, on record. The verdict is in the leaf.
    Authorize {
        /// Who would act.
        agent: String,
        /// What it would do.
        action: String,
        /// On what.
        resource: String,
    },
    /// Says what became of a call that was permitted on record.
    Outcome {
        /// Who acted.
        agent: String,
        /// The decision, as `AGENT/NUMBER@ID`.
        decision: String,
        /// In one word.
        kind: String,
    },
    /// Asks whether an agent may do something, with a proof.
    Check {
        /// Who would act.
        agent: String,
        /// What it would do.
        action: String,
        /// On what.
        resource: String,
    },
}

/// What a client knows of an operation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Acknowledged: committed, applied, and its block's head signed by a quorum.
    Acknowledged {
        /// Index of its leaf in the log; with `before` it may be another command's, of the same effect.
        index: u64,
        /// The block of that leaf.
        block: u64,
        /// It took effect before it was sent (this time).
        before: bool,
        /// What was decided, if that was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verdict: Option<Told>,
    },
    /// A verified permit.
    Permitted {
        /// The block that it was decided from.
        block: u64,
        /// The grants that it rests on: the agent's own first, then its ancestors up to the root.
        chain: Vec<String>,
    },
    /// A verified denial.
    Denied {
        /// The block that it was decided from.
        block: u64,
        /// The ledger's word for why.
        reason: String,
        /// The halt that it names, by the index of its leaf, if it was for one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        halt: Option<u64>,
    },
    /// Refused for a reason of state: it had no effect, and never will.
    Refused {
        /// The ledger's word for why.
        reason: String,
    },
    /// It had no effect when it was given up, and will have none unless it is sent again. A check that brought
    /// no verified answer is one too.
    NotDone {
        /// Why, for people.
        reason: String,
    },
    /// It may have had an effect, or may yet. Open for ever.
    Unknown {
        /// Why, for people.
        reason: String,
    },
}

/// A recorded verdict, as a client was told it, or as it is in the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Told {
    /// Which of the agent's decisions it is.
    pub number: u64,
    /// Permit or denial.
    pub decided: ToldDecided,
}

/// The decision in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToldDecided {
    /// The agent may act.
    Permit {
        /// The grants that it rests on: the agent's own first, then its ancestors up to the root.
        chain: Vec<String>,
        /// Ledger time before which the execution must have begun, in milliseconds since 1970.
        deadline_ms: u64,
        /// What it takes of each bound of the chain.
        bounds: Vec<ToldBound>,
    },
    /// It may not.
    Denied {
        /// The ledger's word for why.
        reason: String,
        /// The halt that it names, by the index of its leaf, if it is for one.
        halt: Option<u64>,
        /// The bound that it names, if it is for one. Nothing is taken of one without an amount that can be read.
        bound: Option<ToldBound>,
    },
}

/// A bound, and what a decision takes of it, or would take.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ToldBound {
    /// The grant that has it.
    pub grant: String,
    /// Its name there.
    pub name: String,
    /// How much there may be of it.
    pub limit: u64,
    /// What was spent before.
    pub used: u64,
    /// How much is taken; none if the request does not say.
    pub taken: Option<u64>,
}

impl Told {
    /// What `verdict` says.
    pub fn of(verdict: &Verdict) -> Self {
        let decided = match &verdict.decided {
            Decided::Permit { chain, deadline_ms, bounds, .. } => ToldDecided::Permit {
                chain: chain.iter().map(|link| link.grant.to_string()).collect(),
                deadline_ms: *deadline_ms,
                bounds: bounds
                    .iter()
                    .map(|bound| ToldBound {
                        grant: bound.grant.grant.to_string(),
                        name: bound.name.to_string(),
                        limit: bound.limit,
                        used: bound.used,
                        taken: Some(bound.taken),
                    })
                    .collect(),
            },
            Decided::Denied(denial) => ToldDecided::Denied {
                reason: denial.code().into(),
                halt: halt_of(denial),
                bound: exhausted(denial),
            },
        };
        Self { number: verdict.number, decided }
    }

    /// Whether it is a permit.
    pub const fn is_permit(&self) -> bool {
        matches!(self.decided, ToldDecided::Permit { .. })
    }
}

/// The halt that a denial names, by the index of its leaf.
pub fn halt_of(denial: &Denial) -> Option<u64> {
    denial.cause().filter(|_| matches!(denial, Denial::Halted { .. })).map(|cause| cause.index)
}

fn exhausted(denial: &Denial) -> Option<ToldBound> {
    let Denial::BoundExhausted { grant, name, limit, used, wanted } = denial else { return None };
    let (grant, name) = (grant.grant.to_string(), name.to_string());
    Some(ToldBound { grant, name, limit: *limit, used: *used, taken: *wanted })
}

/// Signed bytes that a client was given, kept so that checkers can judge them again. All in hexadecimal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// What a client took for the proof of a permit or a denial.
    Answer {
        /// The check.
        operation: u64,
        /// SHA-256 of the arguments that were asked about.
        args_digest: String,
        /// The client's nonce.
        nonce: String,
        /// The encoded answer.
        answer: String,
    },
    /// What a client took for the proof of an acknowledgement.
    Receipt {
        /// The command.
        operation: u64,
        /// The head, in its fixed layout.
        head: String,
        /// The statements that sign it, in their wire form.
        statements: Vec<String>,
    },
    /// A statement from elsewhere, in its wire form: from an answer that was refused, or from a node's status.
    Statement {
        /// Its bytes.
        statement: String,
    },
}

/// The log as one node serves it after a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeLog {
    /// The node.
    pub node: u64,
    /// Every leaf, encoded, from index 0 on.
    pub leaves: Vec<Vec<u8>>,
}

impl Call {
    /// The agent that it is about; empty for the revocation of a grant, and for halts.
    pub fn agent(&self) -> &str {
        match self {
            Self::Register { agent, .. }
            | Self::Grant { agent, .. }
            | Self::Delegate { agent, .. }
            | Self::RevokeAgent { agent }
            | Self::Authorize { agent, .. }
            | Self::Outcome { agent, .. }
            | Self::Check { agent, .. } => agent,
            Self::RevokeGrant { .. } | Self::Halt { .. } | Self::Resume { .. } => "",
        }
    }
}
