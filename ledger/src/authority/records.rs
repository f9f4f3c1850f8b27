//! The values of the state tree.

mod halts;
mod lineages;
mod page;
mod place;

use prost::Message;

pub(crate) use halts::EVERYTHING_SIZE_BYTES_MAX;
pub use halts::{ActiveHalt, HALTS_RECORD_SIZE_BYTES_MAX, HaltRecord, HaltsRecord};
pub use lineages::{GenerationRecord, GenerationRef, LineageRecord};
pub use place::Place;

use crate::command::{
    GrantId, Limits, MalformedCommand, Name, PublicKey, Role, Scope, Terms, decode_strict, limits_from_wire,
    limits_to_wire, roles_from_wire, roles_to_wire, roster_from_wire, roster_to_wire, scope_from_wire,
    scope_to_wire, terms_from_wire, terms_to_wire, voter_from_wire, voter_to_wire,
};
use crate::hash::Hash;
use crate::head::{Roster, Voter};
use crate::state::Value;
use chancery_proto::v1 as wire;

pub(super) use wire::record::Body as W;

/// Longest encoded record, in bytes: what fits the pruned tree's length field.
pub const RECORD_SIZE_BYTES_MAX: usize = 65_535;

/// Grants listed in one page.
pub const PAGE_GRANTS_MAX: usize = 32;

/// Why a value is not the record that belongs at its key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// Not a canonical record.
    #[error("malformed record: {0}")]
    Malformed(#[from] MalformedCommand),
    /// A record of another kind, anchor or id: a collision, or a corrupt state.
    #[error("the record at this key is another one")]
    OtherRecord,
}

/// Which command did something, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cause {
    /// Index of its leaf in the log.
    pub index: u64,
    /// Its block.
    pub block: u64,
    /// The block's time, in milliseconds since 1970.
    pub time_ms: u64,
    /// Who signed it.
    pub signer: PublicKey,
}

/// Finds a grant: its id, and the root of its delegation tree (its own id, if it is a root).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct GrantRef {
    /// The grant.
    pub grant: GrantId,
    /// The root of its tree.
    pub root: GrantId,
}

/// What the ledger knows of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LedgerRecord {
    /// Names the log.
    pub origin: String,
    /// The bounds of genesis.
    pub limits: Limits,
    /// The rules of the next block.
    pub rules_version: u32,
    /// The voters in force.
    pub roster: Roster,
    /// Active operators: at least as many as the limits' `operator_threshold`.
    pub operators: u32,
    /// Roster blocks so far: the links of the roster chain.
    pub roster_blocks: u32,
}

/// A voter that there is or was. It stands under its node id, its name and its key, so that none of them is
/// ever another's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VoterRecord {
    /// The voter.
    pub voter: Voter,
    /// What made it one.
    pub added: Cause,
}

/// A principal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrincipalRecord {
    /// For people.
    pub name: Name,
    /// Sorted, at least one.
    pub roles: Vec<Role>,
    /// What they extend to.
    pub scope: Scope,
    /// What admitted it.
    pub added: Cause,
    /// What ended it.
    pub ended: Option<Cause>,
    /// The key that took its place.
    pub successor: Option<PublicKey>,
}

/// An agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentRecord {
    /// The accountable person.
    pub owner: Name,
    /// The key that signs its delegations.
    pub key: Option<PublicKey>,
    /// What it belongs to; of its own name, unless it was registered with another.
    pub lineage: Name,
    /// What retired it.
    pub retired: Option<Cause>,
    /// Grants of an earlier epoch are void.
    pub epoch: u64,
    /// What revoked everything of the epochs before.
    pub epoch_began: Option<Cause>,
    /// Grants listed in this epoch's pages.
    pub grants: u32,
    /// This epoch's pages.
    pub pages: u32,
    /// Decisions recorded so far; of every epoch.
    pub decisions: u64,
    /// The permits among them.
    pub permits: u64,
}

/// A grant or a delegation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrantRecord {
    /// What it conveys, and to whom.
    pub terms: Terms,
    /// The grant that it narrows.
    pub parent: Option<GrantId>,
    /// 0 for a root.
    pub depth: u32,
    /// The subject's epoch when it was granted.
    pub epoch: u64,
    /// What granted it.
    pub granted: Cause,
    /// What revoked it.
    pub revoked: Option<Cause>,
}

/// The deduplication entries of one span, as a hash chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DedupBucketRecord {
    /// How many.
    pub entries: u64,
    /// The chain's end.
    pub hash: Hash,
}

/// The body of any record.
pub(crate) trait Body: Sized {
    fn to_wire(&self) -> W;
    fn from_wire(body: W) -> Result<Self, RecordError>;

    /// The encoding of its record, of which `start` is all before the body: where there is a shorter way to the
    /// same bytes.
    fn encode_short(&self, _start: Vec<u8>) -> Option<Vec<u8>> {
        None
    }

    /// What a canonical record says that begins with `start`: where there is a shorter way to the same.
    fn decode_short(_start: &[u8], _value: &[u8]) -> Option<Self> {
        None
    }

    /// Whether there is a shorter way.
    const HAS_SHORT: bool = false;
}

/// All of a record before its body.
fn start(place: &Place) -> Vec<u8> {
    let (kind, anchor, id) = (place.kind.into(), place.anchor.clone(), place.id.clone());
    wire::Record { kind, anchor, id, body: None }.encode_to_vec()
}

/// Encodes `body` for `place`.
pub(crate) fn encode<B: Body>(place: &Place, body: &B) -> Value {
    if B::HAS_SHORT
        && let Some(value) = body.encode_short(start(place))
    {
        return value.into();
    }
    let record = wire::Record {
        kind: place.kind.into(),
        anchor: place.anchor.clone(),
        id: place.id.clone(),
        body: Some(body.to_wire()),
    };
    record.encode_to_vec().into()
}

/// Decodes the value found at `place`.
pub(crate) fn decode<B: Body>(place: &Place, value: &[u8]) -> Result<B, RecordError> {
    if B::HAS_SHORT
        && let Some(body) = B::decode_short(&start(place), value)
    {
        return Ok(body);
    }
    let record = decode_strict::<wire::Record>(value, RECORD_SIZE_BYTES_MAX)?;
    if record.kind != place.kind || record.anchor != place.anchor || record.id != place.id {
        return Err(RecordError::OtherRecord);
    }
    B::from_wire(record.body.ok_or(RecordError::OtherRecord)?)
}

impl Body for LedgerRecord {
    fn to_wire(&self) -> W {
        W::Ledger(wire::LedgerRecord {
            origin: self.origin.clone(),
            limits: Some(limits_to_wire(&self.limits)),
            rules_version: self.rules_version,
            roster: Some(roster_to_wire(&self.roster)),
            operators: self.operators,
            roster_blocks: self.roster_blocks,
        })
    }

    fn from_wire(body: W) -> Result<Self, RecordError> {
        let W::Ledger(w) = body else { return Err(RecordError::OtherRecord) };
        Ok(Self {
            origin: w.origin,
            limits: limits_from_wire(w.limits.ok_or(MalformedCommand::Missing("limits"))?)?,
            rules_version: w.rules_version,
            roster: roster_from_wire(w.roster.ok_or(MalformedCommand::Missing("roster"))?)?,
            operators: w.operators,
            roster_blocks: w.roster_blocks,
        })
    }
}

impl Body for VoterRecord {
    fn to_wire(&self) -> W {
        W::Voter(wire::VoterRecord {
            voter: Some(voter_to_wire(&self.voter)),
            added: Some(cause_to_wire(&self.added)),
        })
    }

    fn from_wire(body: W) -> Result<Self, RecordError> {
        let W::Voter(w) = body else { return Err(RecordError::OtherRecord) };
        Ok(Self {
            voter: voter_from_wire(w.voter.ok_or(MalformedCommand::Missing("voter"))?)?,
            added: cause(w.added)?,
        })
    }
}

impl Body for PrincipalRecord {
    fn to_wire(&self) -> W {
        W::Principal(wire::PrincipalRecord {
            name: self.name.to_string(),
            roles: roles_to_wire(&self.roles),
            scope: Some(scope_to_wire(&self.scope)),
            added: Some(cause_to_wire(&self.added)),
            ended: self.ended.as_ref().map(cause_to_wire),
            successor: key_to_wire(self.successor),
        })
    }

    fn from_wire(body: W) -> Result<Self, RecordError> {
        let W::Principal(w) = body else { return Err(RecordError::OtherRecord) };
        Ok(Self {
            name: name("name", w.name)?,
            roles: roles_from_wire(&w.roles)?,
            scope: scope_from_wire(w.scope.ok_or(MalformedCommand::Missing("scope"))?)?,
            added: cause(w.added)?,
            ended: optional_cause(w.ended)?,
            successor: optional_key("successor", &w.successor)?,
        })
    }
}

impl Body for AgentRecord {
    fn to_wire(&self) -> W {
        W::Agent(wire::AgentRecord {
            owner: self.owner.to_string(),
            key: key_to_wire(self.key),
            retired: self.retired.as_ref().map(cause_to_wire),
            epoch: self.epoch,
            epoch_began: self.epoch_began.as_ref().map(cause_to_wire),
            grants: self.grants,
            pages: self.pages,
            lineage: self.lineage.to_string(),
            decisions: self.decisions,
            permits: self.permits,
        })
    }

    fn from_wire(body: W) -> Result<Self, RecordError> {
        let W::Agent(w) = body else { return Err(RecordError::OtherRecord) };
        Ok(Self {
            owner: name("owner", w.owner)?,
            key: optional_key("agent key", &w.key)?,
            retired: optional_cause(w.retired)?,
            epoch: w.epoch,
            epoch_began: optional_cause(w.epoch_began)?,
            grants: w.grants,
            pages: w.pages,
            lineage: name("lineage", w.lineage)?,
            decisions: w.decisions,
            permits: w.permits,
        })
    }
}

impl Body for GrantRecord {
    fn to_wire(&self) -> W {
        W::Grant(wire::GrantRecord {
            terms: Some(terms_to_wire(&self.terms)),
            parent: self.parent.map(|parent| parent.0.0.to_vec()).unwrap_or_default(),
            depth: self.depth,
            epoch: self.epoch,
            granted: Some(cause_to_wire(&self.granted)),
            revoked: self.revoked.as_ref().map(cause_to_wire),
        })
    }

    fn from_wire(body: W) -> Result<Self, RecordError> {
        let W::Grant(w) = body else { return Err(RecordError::OtherRecord) };
        Ok(Self {
            terms: terms_from_wire(w.terms.ok_or(MalformedCommand::Missing("terms"))?)?,
            parent: if w.parent.is_empty() { None } else { Some(grant_id("parent", &w.parent)?) },
            depth: w.depth,
            epoch: w.epoch,
            granted: cause(w.granted)?,
            revoked: optional_cause(w.revoked)?,
        })
    }
}

/// A locator's body: the root of the grant's tree.
impl Body for GrantId {
    fn to_wire(&self) -> W {
        W::Locator(wire::LocatorRecord { root: self.0.0.to_vec() })
    }

    fn from_wire(body: W) -> Result<Self, RecordError> {
        let W::Locator(w) = body else { return Err(RecordError::OtherRecord) };
        Ok(grant_id("root", &w.root)?)
    }
}

/// A tombstone's body: what revoked the grant before it was seen.
impl Body for Cause {
    fn to_wire(&self) -> W {
        W::Tombstone(wire::TombstoneRecord { revoked: Some(cause_to_wire(self)) })
    }

    fn from_wire(body: W) -> Result<Self, RecordError> {
        let W::Tombstone(w) = body else { return Err(RecordError::OtherRecord) };
        Ok(cause(w.revoked)?)
    }
}

impl Body for DedupBucketRecord {
    fn to_wire(&self) -> W {
        W::DedupBucket(wire::DedupBucketRecord { entries: self.entries, hash: self.hash.0.to_vec() })
    }

    fn from_wire(body: W) -> Result<Self, RecordError> {
        let W::DedupBucket(w) = body else { return Err(RecordError::OtherRecord) };
        let hash = Hash::from_slice(&w.hash).ok_or(MalformedCommand::Length("dedup hash"))?;
        Ok(Self { entries: w.entries, hash })
    }
}

pub(super) fn cause_to_wire(cause: &Cause) -> wire::Cause {
    wire::Cause {
        index: cause.index,
        block: cause.block,
        time_ms: cause.time_ms,
        signer: cause.signer.0.to_vec(),
    }
}

pub(super) fn cause(w: Option<wire::Cause>) -> Result<Cause, MalformedCommand> {
    let w = w.ok_or(MalformedCommand::Missing("cause"))?;
    let signer = w.signer.as_slice().try_into().map_err(|_| MalformedCommand::Length("cause's signer"))?;
    Ok(Cause { index: w.index, block: w.block, time_ms: w.time_ms, signer: PublicKey(signer) })
}

fn optional_cause(w: Option<wire::Cause>) -> Result<Option<Cause>, MalformedCommand> {
    w.map(|w| cause(Some(w))).transpose()
}

fn key_to_wire(key: Option<PublicKey>) -> Vec<u8> {
    key.map(|key| key.0.to_vec()).unwrap_or_default()
}

fn optional_key(field: &'static str, bytes: &[u8]) -> Result<Option<PublicKey>, MalformedCommand> {
    if bytes.is_empty() {
        return Ok(None);
    }
    Ok(Some(PublicKey(bytes.try_into().map_err(|_| MalformedCommand::Length(field))?)))
}

fn grant_id(field: &'static str, bytes: &[u8]) -> Result<GrantId, MalformedCommand> {
    Ok(GrantId(Hash::from_slice(bytes).ok_or(MalformedCommand::Length(field))?))
}

fn name(field: &'static str, text: String) -> Result<Name, MalformedCommand> {
    Name::new(text).map_err(|source| MalformedCommand::Name { field, source })
}
