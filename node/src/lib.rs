//! A Chancery node: Raft, stores, sequencer, freshness rounds, gRPC.
//!
//! A thin shell around `chancery-ledger`: everything that decides anything is there.

pub mod api;
mod assembly;
pub mod blocking;
pub mod checks;
pub mod clock;
// Lets the tests in here share their fixtures with those outside.
#[cfg(test)]
extern crate self as chancery_node;

pub mod config;
pub mod fault;
pub mod heads;
#[cfg(feature = "failpoints")]
mod injected_clock;
#[cfg(feature = "failpoints")]
mod injected_failpoints;
mod listener;
pub mod membership;
mod membership_upkeep;
pub mod network;
mod peer_calls;
mod quickest;
pub mod raft;
pub mod recovery;
pub mod roster_proofs;
pub mod rosters;
mod runtime_end;
pub mod sabotage;
pub mod sequencer;
mod serve;
pub mod signer;
pub mod status;
pub mod store;
pub mod submit;
pub mod tile_log;

pub use assembly::{Assembled, Foundation};
pub use runtime_end::RuntimeEnd;
pub use serve::{ServeError, serve};
