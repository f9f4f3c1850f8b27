//! The log that every node serves after a run, read.

use std::collections::HashMap;

use chancery_ledger::authority::{Entry, Verdict as Recorded};
use chancery_ledger::command::{Body, DecisionId, GrantId, LedgerId, Name, SignedCommand};

use super::{Verdict, log};
use crate::history::{Call, NodeLog};

/// The commands of the log that all nodes agree on.
#[derive(Debug)]
pub struct Leaves {
    ledger: LedgerId,
    /// In the order of their indices.
    commands: Vec<Leaf>,
    /// Position in `commands` by command hash.
    by_hash: HashMap<String, usize>,
    /// Position in `commands` by leaf index.
    by_index: HashMap<u64, usize>,
}

/// A command in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Its index in the log.
    pub index: u64,
    /// Its block.
    pub block: u64,
    /// The block's ledger time, in milliseconds since 1970.
    pub time_ms: u64,
    /// Hash of the command, in hexadecimal.
    pub hash: String,
    /// The command.
    pub signed: SignedCommand,
    /// What was decided, if it asked for that.
    pub verdict: Option<Recorded>,
}

impl Leaves {
    /// Reads the logs of all nodes, which must be one: equal, of decodable entries whose blocks never fall, and
    /// without any command twice.
    ///
    /// # Errors
    /// What is wrong with them, as a verdict of the checker [`log`].
    pub fn read(ledger: LedgerId, logs: &[NodeLog]) -> Result<Self, Verdict> {
        let violation = |what: String| Verdict::violation(log::NAME, what, &[]);
        let [first, others @ ..] = logs else {
            return Err(Verdict::Inconclusive { why: "the log was read from no node".into() });
        };
        for other in others {
            if let Some(index) = first_difference(&first.leaves, &other.leaves) {
                let (a, b) = (first.node, other.node);
                let what = format!("the logs of nodes {a} and {b} differ from leaf {index} on");
                return Err(violation(what));
            }
        }
        let mut leaves =
            Self { ledger, commands: Vec::new(), by_hash: HashMap::new(), by_index: HashMap::new() };
        let mut last_block = 0;
        for (index, bytes) in (0..).zip(&first.leaves) {
            let entry = Entry::decode(bytes).map_err(|error| violation(format!("leaf {index}: {error}")))?;
            let (Entry::Command { block, .. } | Entry::State { block, .. }) = &entry;
            if *block < last_block {
                return Err(violation(format!("leaf {index} is of block {block}, after block {last_block}")));
            }
            last_block = *block;
            let Entry::Command { block, time_ms, signed, verdict } = entry else { continue };
            let (hash, position) = (signed.command_hash().to_string(), leaves.commands.len());
            if let Some(earlier) = leaves.by_hash.insert(hash.clone(), position) {
                let earlier = leaves.commands.get(earlier).map_or(0, |leaf| leaf.index);
                return Err(violation(format!("leaves {earlier} and {index} are one command: done twice")));
            }
            leaves.by_index.insert(index, position);
            leaves.commands.push(Leaf { index, block, time_ms, hash, signed, verdict });
        }
        Ok(leaves)
    }

    /// Every command, in the order of the log.
    pub fn commands(&self) -> &[Leaf] {
        &self.commands
    }

    /// The leaf of the command with this hash.
    pub fn of_command(&self, hash: &str) -> Option<&Leaf> {
        self.commands.get(*self.by_hash.get(hash)?)
    }

    /// The command at this index, if there is one.
    pub fn at(&self, index: u64) -> Option<&Leaf> {
        self.commands.get(*self.by_index.get(&index)?)
    }

    /// Whether the leaf says what `call` asked for.
    pub fn says(&self, leaf: &Leaf, call: &Call) -> bool {
        let id = || GrantId::of(self.ledger, leaf.signed.command_bytes()).to_string();
        match (call, &leaf.signed.command().body) {
            (Call::Register { agent, lineage }, Body::RegisterAgent { agent: of, lineage: in_, .. }) => {
                agent == of.as_str() && lineage.as_deref() == in_.as_ref().map(Name::as_str)
            }
            (Call::RevokeAgent { agent }, Body::RevokeAgent { agent: of, .. }) => agent == of.as_str(),
            (Call::Halt { scope, subject }, Body::Halt { scope: of, .. }) => {
                scope == of.kind() && *subject == of.subject()
            }
            (Call::Resume { halt, resumer }, Body::Resume { halt: of, .. }) => {
                halt == of && *resumer == leaf.signed.command().signer.to_string()
            }
            (Call::Grant { agent, grant, .. }, Body::Grant { terms, .. }) => {
                agent == terms.agent.as_str() && *grant == id()
            }
            (Call::Delegate { agent, grant, parent, .. }, Body::Delegate { parent: of, terms, .. }) => {
                agent == terms.agent.as_str() && *parent == of.to_string() && *grant == id()
            }
            (Call::RevokeGrant { grant }, Body::RevokeGrant { grant: of, .. }) => *grant == of.to_string(),
            (Call::Authorize { agent, action, resource }, Body::Authorize(asked)) => {
                [agent, action, resource]
                    == [&asked.agent, &asked.action, &asked.resource].map(|name| name.as_str())
            }
            (Call::Outcome { decision, kind, .. }, Body::Outcome(said)) => {
                *decision == said.decision.to_string() && kind == said.kind.name()
            }
            _ => false,
        }
    }

    /// The id of what the leaf decides.
    pub fn decision_id(&self, leaf: &Leaf) -> DecisionId {
        DecisionId::of(self.ledger, leaf.signed.command_bytes())
    }

    /// The id of what the leaf grants, in hexadecimal.
    pub fn grant_id(&self, leaf: &Leaf) -> String {
        GrantId::of(self.ledger, leaf.signed.command_bytes()).to_string()
    }
}

fn first_difference(a: &[Vec<u8>], b: &[Vec<u8>]) -> Option<usize> {
    let common = a.len().min(b.len());
    let differs = a.iter().zip(b).position(|(a, b)| a != b);
    differs.or_else(|| (a.len() != b.len()).then_some(common))
}
