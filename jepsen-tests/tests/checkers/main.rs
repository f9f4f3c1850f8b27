//! The checkers, checked: good histories of a real ledger pass, and each kind of violation is caught by the checker
//! that is there for it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "tests"
)]

mod caught;
mod caught_bounds;
mod caught_decisions;
mod caught_following;
mod caught_halts;
#[path = "../../../ledger/tests/house/mod.rs"]
mod house;
mod long;
mod random;
mod run;
mod two_searches;
