//! Whole nodes in this process, over real TLS, while their voters change.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

mod changes;
mod client;
mod nodes;
mod world;
