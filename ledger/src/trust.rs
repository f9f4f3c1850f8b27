//! The trust file: the one thing that a verifier must get from somewhere safe.

use serde::{Deserialize, Serialize};

use crate::command::{LedgerId, Name, NameError, PublicKey};
use crate::hash::{Hash, from_hex};
use crate::head::{Head, Roster, RosterId, Voter, VoterSet};

/// Longest trust file, in bytes.
pub const TRUST_SIZE_BYTES_MAX: usize = 256 * 1024;

/// Whom a verifier believes, and from where on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trust {
    /// Names the log.
    pub origin: String,
    /// The ledger.
    pub ledger: LedgerId,
    /// The roster of block 0.
    pub genesis: Roster,
    /// How far the clocks of nodes, and the client's own, may be off: milliseconds.
    pub clock_skew_ms_max: u64,
    /// Nothing older than this block is believed to be fresh.
    pub minimum_block: u64,
    genesis_id: RosterId,
}

/// Why a trust file is none, or a head is not trusted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TrustError {
    /// The file is not a trust file.
    #[error("trust file: {0}")]
    Malformed(String),
    /// A head of another ledger.
    #[error("the head is of ledger {found}, not of the trusted {expected}")]
    OtherLedger {
        /// What it says.
        found: LedgerId,
        /// The trusted one.
        expected: LedgerId,
    },
    /// A roster that the chain from genesis does not prove.
    #[error("roster {0} is not proven from the trusted genesis roster")]
    UnknownRoster(RosterId),
    /// A head from before what was verified already.
    #[error("the head's block {found} is before block {minimum}, which was verified already")]
    RolledBack {
        /// Its block.
        found: u64,
        /// The newest known.
        minimum: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    origin: String,
    ledger: String,
    clock_skew_ms_max: u64,
    #[serde(default)]
    minimum_block: u64,
    roster: FileRoster,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRoster {
    quorum: u32,
    voters: Vec<FileVoter>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileVoter {
    node: u64,
    name: String,
    key: String,
}

impl Trust {
    /// Trust in a ledger from its genesis on.
    pub fn new(origin: String, ledger: LedgerId, genesis: Roster, clock_skew_ms_max: u64) -> Self {
        let genesis_id = genesis.id(0);
        Self { origin, ledger, genesis, clock_skew_ms_max, minimum_block: 0, genesis_id }
    }

    /// The same, from another block on.
    pub fn since(self, minimum_block: u64) -> Self {
        Self { minimum_block, ..self }
    }

    /// Parses a trust file.
    pub fn from_toml(text: &str) -> Result<Self, TrustError> {
        let malformed = |what: String| TrustError::Malformed(what);
        if text.len() > TRUST_SIZE_BYTES_MAX {
            return Err(malformed(format!("more than {TRUST_SIZE_BYTES_MAX} bytes")));
        }
        let file: File = toml::from_str(text).map_err(|error| malformed(error.to_string()))?;
        let ledger =
            Hash::from_hex(&file.ledger).ok_or_else(|| malformed("ledger is not 64 hex digits".into()))?;
        let voter = |voter: FileVoter| {
            let mut key = [0; 32];
            from_hex(&voter.key, &mut key).ok_or_else(|| malformed("a key is not 64 hex digits".into()))?;
            let name =
                Name::new(voter.name).map_err(|error: NameError| malformed(format!("a name {error}")))?;
            Ok(Voter { node: voter.node, name, key: PublicKey(key) })
        };
        let voters = file.roster.voters.into_iter().map(voter).collect::<Result<Vec<_>, TrustError>>()?;
        let roster = VoterSet::new(voters, file.roster.quorum).and_then(|set| Roster::new(vec![set]));
        let roster = roster
            .ok_or_else(|| malformed("the roster is not sorted, not distinct or has no majority".into()))?;
        let trust = Self::new(file.origin, LedgerId(ledger), roster, file.clock_skew_ms_max);
        Ok(trust.since(file.minimum_block))
    }

    /// The trust file's text.
    pub fn to_toml(&self) -> String {
        let set = self.genesis.sets().first();
        let voter = |v: &Voter| FileVoter { node: v.node, name: v.name.to_string(), key: v.key.to_string() };
        let file = File {
            origin: self.origin.clone(),
            ledger: self.ledger.to_string(),
            clock_skew_ms_max: self.clock_skew_ms_max,
            minimum_block: self.minimum_block,
            roster: FileRoster {
                quorum: set.map_or(0, VoterSet::quorum),
                voters: set.map(|set| set.voters().iter().map(voter).collect()).unwrap_or_default(),
            },
        };
        // INVARIANT: strings, integers and tables of them always serialize.
        toml::to_string(&file).unwrap_or_default()
    }

    /// The roster with this id, if it is proven.
    pub fn roster(&self, id: RosterId) -> Result<&Roster, TrustError> {
        if id == self.genesis_id { Ok(&self.genesis) } else { Err(TrustError::UnknownRoster(id)) }
    }

    /// The voter with this node id in any roster that is proven: ids, names and keys are never used again, so
    /// there is at most one.
    pub fn voter(&self, node: u64) -> Option<&Voter> {
        self.genesis.voter(node)
    }

    /// Refuses a head of another ledger, or from before what was verified already.
    pub fn check_head(&self, head: &Head) -> Result<(), TrustError> {
        if head.ledger != self.ledger {
            return Err(TrustError::OtherLedger { found: head.ledger, expected: self.ledger });
        }
        if head.block < self.minimum_block {
            return Err(TrustError::RolledBack { found: head.block, minimum: self.minimum_block });
        }
        Ok(())
    }
}
