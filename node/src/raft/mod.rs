//! What Raft replicates here: the type configuration, and the bytes of log entries.

pub mod entry_bytes;
pub mod payload_bytes;
pub mod snapshot_transfer;
pub mod state_machine;
pub mod types;

/// Raft as a node runs it.
pub type Raft = openraft::Raft<types::TypeConfig, state_machine::StateMachine>;
