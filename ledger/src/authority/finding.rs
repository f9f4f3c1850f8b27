//! What can be wrong with a log: where, what the rules demand there, and what stands there.

use std::fmt;

use super::entry::Entry;
use super::verdict::{Decided, Verdict};
use super::verified_entry::{EntryFault, VerifiedEntry};
use super::{Refusal, RosterFault};
use crate::command::{LedgerId, PublicKey, Role};
use crate::log::leaf_hash;

/// Something in a log that its own commands do not make so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// The log is that of another ledger.
    OtherLedger {
        /// The one that was asked for.
        expected: LedgerId,
        /// The one that its first block founds.
        found: LedgerId,
    },
    /// Its first block founds no ledger.
    NotFounded {
        /// Why not.
        why: String,
    },
    /// An entry is wrong, whatever stands before it.
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        fault: EntryFault,
    },
    /// A leaf of another block where one goes on that has no STATE leaf yet.
    OtherBlock {
        /// Its index.
        index: u64,
        /// The block that goes on.
        expected: Place,
        /// The block that the leaf names.
        found: Place,
    },
    /// The leaves are not commands of one block with its STATE leaf.
    NoState {
        /// Of the first of them.
        index: u64,
        /// How many there are.
        leaves: usize,
    },
    /// A block that is not after the one before it.
    NotAfter {
        /// Of its first leaf.
        index: u64,
        /// The one before.
        last: Place,
        /// The block itself.
        found: Place,
    },
    /// A block that changes the voters as it may not, or does not change them as it must.
    Roster {
        /// Of its first leaf.
        index: u64,
        /// What is wrong.
        fault: RosterFault,
    },
    /// The state before a block demands rules that this program does not have.
    UnknownRules {
        /// Of its first leaf.
        index: u64,
        /// The rules.
        version: u32,
    },
    /// A command that has no effect by the rules.
    Refused {
        /// Its index.
        index: u64,
        /// Who gave it.
        signer: PublicKey,
        /// His roles as its block began, if he was an active principal.
        roles: Option<Vec<Role>>,
        /// Why it has none.
        refusal: Refusal,
    },
    /// A command that took effect before, or had nothing left to do.
    Before {
        /// Its index.
        index: u64,
        /// Where it did.
        first: u64,
    },
    /// Another leaf comes of the log: another verdict, another state.
    Differs {
        /// Its index.
        index: u64,
        /// What the rules make.
        expected: Said,
        /// What is there.
        found: Said,
    },
}

/// The block of a leaf, and its ledger time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its number.
    pub block: u64,
    /// In milliseconds since 1970.
    pub time_ms: u64,
}

impl Place {
    pub(super) const fn of(entry: &Entry) -> Self {
        match entry {
            Entry::Command { block, time_ms, .. } | Entry::State { block, time_ms, .. } => {
                Self { block: *block, time_ms: *time_ms }
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} at {} ms", self.block, self.time_ms)
    }
}

/// What one of two leaves says, as far as the other says otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said(String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Finding {
    /// Of two leaves that are not the same.
    pub(super) fn differs(index: u64, made: &[u8], found: &VerifiedEntry) -> Self {
        let (expected, found) = match Entry::decode(made) {
            Ok(expected) => told_apart(&expected, found.entry()),
            Err(_) => (String::new(), String::new()),
        };
        Self::Differs { index, expected: Said(expected), found: Said(found) }
    }

    /// The index of the leaf that it is about, or of the first leaf of the block.
    pub const fn index(&self) -> u64 {
        match self {
            Self::OtherLedger { .. } | Self::NotFounded { .. } => 0,
            Self::Entry { index, .. }
            | Self::OtherBlock { index, .. }
            | Self::NoState { index, .. }
            | Self::NotAfter { index, .. }
            | Self::Roster { index, .. }
            | Self::UnknownRules { index, .. }
            | Self::Refused { index, .. }
            | Self::Before { index, .. }
            | Self::Differs { index, .. } => *index,
        }
    }

    /// What the rules demand there.
    pub fn expected(&self) -> String {
        match self {
            Self::OtherLedger { expected, .. } => format!("the log of ledger {expected}"),
            Self::NotFounded { .. } => "a block that founds a ledger".into(),
            Self::Entry { fault: EntryFault::Malformed(_), .. } => "a canonical entry".into(),
            Self::Entry { fault: EntryFault::Signatures(_), .. } => {
                "exactly the signatures that the command requires, each verifying".into()
            }
            Self::OtherBlock { expected, .. } => format!("a leaf of {expected}"),
            Self::NoState { .. } => {
                "the commands of one block, at most 4,096, and its STATE leaf after them".into()
            }
            Self::NotAfter { last, .. } => format!("a block after {last}"),
            Self::Roster { .. } => "a block that changes the voters only as it must".into(),
            Self::UnknownRules { .. } => format!("rules version {}", super::RULES_VERSION),
            Self::Refused { .. } => "a command that takes effect".into(),
            Self::Before { .. } => "a command that takes effect for the first time".into(),
            Self::Differs { expected, .. } => expected.to_string(),
        }
    }

    /// What is there.
    pub fn found(&self) -> String {
        match self {
            Self::OtherLedger { found, .. } => format!("that of ledger {found}"),
            Self::NotFounded { why } => why.clone(),
            Self::Entry { fault, .. } => fault.to_string(),
            Self::OtherBlock { found, .. } => format!("one of {found}"),
            Self::NoState { leaves, .. } => format!("{leaves} leaves that are not"),
            Self::NotAfter { found, .. } => found.to_string(),
            Self::Roster { fault, .. } => fault.to_string(),
            Self::UnknownRules { version, .. } => format!("rules version {version}"),
            Self::Refused { signer, roles, refusal, .. } => {
                let was = match roles {
                    None => "no active principal".to_owned(),
                    Some(roles) => roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(" and "),
                };
                format!("one that is refused: {refusal}; its signer {signer} was {was}")
            }
            Self::Before { first, .. } => format!("one that took effect at index {first}"),
            Self::Differs { found, .. } => found.to_string(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leaf {}: expected {}; found {}", self.index(), self.expected(), self.found())
    }
}

impl std::error::Error for Finding {}

/// What each of two entries says that the other does not.
fn told_apart(expected: &Entry, found: &Entry) -> (String, String) {
    let (expected_parts, found_parts) = (parts(expected), parts(found));
    let without = |these: &[String], those: &[String]| {
        these.iter().filter(|part| !those.contains(part)).cloned().collect::<Vec<_>>().join(", ")
    };
    (without(&expected_parts, &found_parts), without(&found_parts, &expected_parts))
}

fn parts(entry: &Entry) -> Vec<String> {
    match entry {
        Entry::Command { verdict, .. } => {
            let leaf = format!("leaf hash {}", leaf_hash(&entry.encode()));
            vec![
                Place::of(entry).to_string(),
                verdict.as_ref().map_or("no verdict".into(), verdict_text),
                leaf,
            ]
        }
        Entry::State { state_root, roster, rules_version, previous, .. } => vec![
            format!("the STATE leaf of {}", Place::of(entry)),
            format!("state root {state_root}"),
            format!("roster {roster}"),
            format!("rules version {rules_version}"),
            previous.map_or("no previous STATE leaf".into(), |at| format!("previous STATE leaf {at}")),
        ],
    }
}

fn verdict_text(verdict: &Verdict) -> String {
    let number = verdict.number;
    match &verdict.decided {
        Decided::Permit { deadline_ms, chain, .. } => {
            let grant = chain.first().map_or("no grant".into(), |link| format!("grant {}", link.grant));
            format!("decision {number}, a permit until {deadline_ms} ms by {grant}")
        }
        Decided::Denied(denial) => format!("decision {number}, a denial: {}", denial.code()),
    }
}
