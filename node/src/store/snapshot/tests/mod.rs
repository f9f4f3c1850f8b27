//! Tests of snapshots, and of the start that they are for, on real folders.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

mod forged;
mod manifests;
mod rosters;
mod start;
mod transfer;
