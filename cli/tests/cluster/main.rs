//! Three real `chancery node` processes under kill, restart and retry.
//!
//! Each test founds a ledger of its own; one ledger runs at a time, so that the tests measure the ledger and
//! not each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod audit;
mod harness;
mod membership;
mod operator;
mod power;
mod questions;
mod replay;
mod restart;
mod retries;
mod revocation;
mod storm;
mod swap;
mod tile_log;
mod times;
mod watching;
