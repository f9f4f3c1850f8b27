//! The heart of Chancery: pure and deterministic.
//!
//! Nothing in this crate is async, reads a clock, touches a disk or a network, or draws randomness.
//! There is one [`authority`] state machine, one [`decide`](mod@decide) and one verifier in the world, and
//! node, client and auditor all use these.
//!
//! Formats are specified in `docs/formats.md` and pinned by `ledger/tests/vectors.json`.

pub mod answer;
pub mod authority;
pub mod checkpoint;
pub mod command;
pub mod condition;
pub mod decide;
pub mod evidence;
pub mod follow;
pub mod hash;
pub mod head;
pub mod knowledge;
pub mod log;
pub mod state;
pub mod trust;
