//! The state machine: what commands do to the state, block by block.
//!
//! [`State::apply`] is a pure function of the state and a block. Every replica, every client that replays
//! and every auditor runs this one; the same blocks give the same leaves and the same roots, byte for byte.
//! Everything that it reads is committed to by the state root or by the head itself.

mod agents;
mod apply;
mod block;
mod chain;
mod decision_record;
mod decisions;
mod dedup;
mod draft;
mod entry;
mod evaluate;
mod execute;
mod finding;
mod given;
mod grants;
mod halts;
mod leaf;
mod lineages;
mod meters;
mod principals;
mod records;
mod refusal;
mod replay;
mod rosters;
mod state;
mod verdict;
mod verified_entry;
mod view;

pub use agents::agent_record;
pub use apply::{Admission, Applied, ApplyError, Outcome};
pub use block::{BLOCK_COMMANDS_MAX, BLOCK_SIZE_BYTES_MAX, Block, BlockError};
pub use chain::{Chain, Void};
pub use decision_record::{DecisionRecord, RecordedOutcome};
pub use dedup::{BUCKET_SPAN_MS, DEDUP_ENTRY_SIZE_BYTES, Dedup, DedupEntry};
pub use entry::{ENTRY_SIZE_BYTES_MAX, Entry, EntryError};
pub use finding::{Finding, Place as LeafPlace, Said};
pub use halts::{halt_record, halts_in_force};
pub use leaf::{INCLUSION_HASHES_MAX, Leaf, LeafError};
pub use lineages::lineage_record;
pub use meters::{Allowance, Meter, MeterId, Slot, Spend};
pub(crate) use meters::{metered, used};
pub use principals::{active_principal, ledger_record};
pub use records::{
    ActiveHalt, AgentRecord, Cause, DedupBucketRecord, GenerationRecord, GenerationRef, GrantRecord,
    GrantRef, HALTS_RECORD_SIZE_BYTES_MAX, HaltRecord, HaltsRecord, LedgerRecord, LineageRecord,
    PAGE_GRANTS_MAX, Place, PrincipalRecord, RECORD_SIZE_BYTES_MAX, RecordError, VoterRecord,
};
pub use refusal::Refusal;
pub use replay::{BLOCK_LEAVES_MAX, Newest, Progress, Replay, ReplayError, Replayed};
pub use rosters::RosterFault;
pub use state::{State, Summary};
pub use verdict::{BoundTaken, Decided, Verdict};
pub use verified_entry::{EntryFault, VerifiedEntry};
pub use view::{View, ViewError};
pub(crate) use view::{record, referred};

/// The only version of the rules there is so far.
pub const RULES_VERSION: u32 = 1;
