//! Faults injected around the durable steps. Each test holds the failpoint scenario, so they run one
//! at a time: `cargo test --workspace --features chancery-node/failpoints --test failpoints`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../../src/store/applied/tests/ledger.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests in the crate")]
mod ledger;
#[path = "../../src/store/applied/tests/node.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests in the crate")]
mod node;
mod raft_log;
mod stores;
