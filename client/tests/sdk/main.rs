//! The SDK against nodes in this process: real TLS, a real state machine, real answers, and lies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "tests"
)]

mod authorizations;
mod bounds;
mod checks;
mod conditions;
mod contexts;
mod contradictions;
mod fake;
mod generations;
mod lies;
mod permits;
mod reading;
mod rosters;
mod sessions;
mod submits;
mod times;
mod watching;
