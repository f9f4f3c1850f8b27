//! The trust file: the one thing that a verifier must get from somewhere safe.

mod checkpoints;
mod newest;
mod rosters;

use std::sync::Arc;

pub use checkpoints::{
    Cosigned, CosignedError, NodeCosignature, WITNESSES_MAX, WitnessCosignature, Witnesses, WitnessesError,
};
pub use newest::{NEWEST_SIZE_BYTES_MAX, Newest, NewestError};
pub use rosters::RosterChainError;

use serde::{Deserialize, Serialize};

use crate::checkpoint::VerifierKey;
use crate::command::{LedgerId, Name, NameError, PublicKey, VerifiedSignatures};
use crate::hash::{Hash, from_hex};
use crate::head::{Roster, RosterChain, RosterId, Voter, VoterSet};

/// Longest trust file, in bytes.
pub const TRUST_SIZE_BYTES_MAX: usize = 256 * 1024;

/// Whom a verifier believes, and from where on: the roster of block 0, and those that were proven since.
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
    /// No answer is fresh by statements that name an older roster than this one.
    pub minimum_roster: RosterId,
    /// Who must have cosigned a checkpoint besides the nodes.
    pub witnesses: Option<Witnesses>,
    genesis_id: RosterId,
    /// Proven, from the genesis roster on.
    proven: Arc<RosterChain>,
    seen: Seen,
}

/// Signatures that were found good, or made here. It tells no trust from another.
#[derive(Clone, Debug)]
struct Seen(Arc<VerifiedSignatures>);

impl Default for Seen {
    fn default() -> Self {
        Self(Arc::new(VerifiedSignatures::with_singles()))
    }
}

impl PartialEq for Seen {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Seen {}

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
    /// A roster older than what was verified already: who named it does not know better, or is no voter any
    /// more.
    #[error("roster {found} is older than {minimum}, which was verified already")]
    RosterRolledBack {
        /// The named one.
        found: RosterId,
        /// The newest known.
        minimum: RosterId,
    },
    /// A head under a roster that was not in force any more at its block.
    #[error("the head of block {block} is under roster {found}, which {by} had replaced")]
    RosterReplaced {
        /// The head's block.
        block: u64,
        /// The roster that it names.
        found: RosterId,
        /// The one that followed.
        by: RosterId,
    },
    /// Two proven histories of rosters. Each has a quorum's signatures: those who signed both are convicted.
    #[error("two rosters of one history: {known} is proven, and so is {found}")]
    Forked {
        /// What was proven before.
        known: RosterId,
        /// What is proven instead.
        found: RosterId,
    },
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minimum_roster: Option<String>,
    roster: FileRoster,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    witnesses: Option<FileWitnesses>,
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileWitnesses {
    quorum: u32,
    keys: Vec<String>,
}

impl Trust {
    /// Trust in a ledger from its genesis on.
    pub fn new(origin: String, ledger: LedgerId, genesis: Roster, clock_skew_ms_max: u64) -> Self {
        let genesis_id = genesis.id(0);
        Self {
            origin,
            ledger,
            genesis,
            clock_skew_ms_max,
            minimum_block: 0,
            minimum_roster: genesis_id,
            witnesses: None,
            genesis_id,
            proven: Arc::default(),
            seen: Seen::default(),
        }
    }

    /// Signatures that were found good or made, here or by a clone: they need not be verified again.
    pub fn seen(&self) -> &VerifiedSignatures {
        &self.seen.0
    }

    /// The same, from another block on.
    pub fn since(self, minimum_block: u64) -> Self {
        Self { minimum_block, ..self }
    }

    /// The same, from another roster on.
    pub fn since_roster(self, minimum_roster: RosterId) -> Self {
        Self { minimum_roster, ..self }
    }

    /// The same without a minimum: for what is not claimed to be fresh.
    pub fn since_genesis(&self) -> Self {
        self.clone().since(0).since_roster(self.genesis_id)
    }

    /// The same as it was founded: without a minimum, and without any roster but the genesis one.
    pub fn founding(&self) -> Self {
        Self { proven: Arc::default(), ..self.since_genesis() }
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
        let minimum_roster = match file.minimum_roster {
            Some(text) => roster_id(&text).ok_or_else(|| {
                malformed("minimum_roster is not 64 hex digits, @ and a block number".into())
            })?,
            None => trust.genesis_id,
        };
        let trust = trust.since(file.minimum_block).since_roster(minimum_roster);
        let Some(file) = file.witnesses else { return Ok(trust) };
        let witnesses = file.witnesses().map_err(malformed)?;
        let votes =
            |key: &VerifierKey| trust.genesis.voters().any(|v| v.key.0 == key.public_key().to_bytes());
        if witnesses.keys().iter().any(votes) {
            return Err(malformed("a witness has the key of a voter".into()));
        }
        Ok(trust.with_witnesses(witnesses))
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
            minimum_roster: Some(self.minimum_roster)
                .filter(|minimum| *minimum != self.genesis_id)
                .map(|minimum| minimum.to_string()),
            roster: FileRoster {
                quorum: set.map_or(0, VoterSet::quorum),
                voters: set.map(|set| set.voters().iter().map(voter).collect()).unwrap_or_default(),
            },
            witnesses: self.witnesses.as_ref().map(|witnesses| FileWitnesses {
                quorum: witnesses.quorum(),
                keys: witnesses.keys().iter().map(VerifierKey::to_string).collect(),
            }),
        };
        // INVARIANT: strings, integers and tables of them always serialize.
        toml::to_string(&file).unwrap_or_default()
    }
}

impl FileWitnesses {
    fn witnesses(&self) -> Result<Witnesses, String> {
        if self.keys.len() > WITNESSES_MAX {
            return Err(WitnessesError::Count.to_string());
        }
        let key = |vkey: &String| VerifierKey::parse(vkey).map_err(|error| format!("a witness: {error}"));
        let keys = self.keys.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        Witnesses::new(keys, self.quorum).map_err(|error| error.to_string())
    }
}

/// A roster id as it is displayed, and in no other spelling.
fn roster_id(text: &str) -> Option<RosterId> {
    let (digest, block) = text.split_once('@')?;
    let id = RosterId { block: block.parse().ok()?, digest: Hash::from_hex(digest)? };
    (id.to_string() == text).then_some(id)
}
