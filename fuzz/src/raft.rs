//! Of the node, whose crate has RocksDB in it and is not to be built with coverage: the files that decode.

#![allow(dead_code, reason = "the node uses the rest")]

#[path = "../../node/src/raft/entry_bytes.rs"]
pub mod entry_bytes;
#[path = "../../node/src/raft/payload_bytes.rs"]
pub mod payload_bytes;
#[path = "../../node/src/raft/types.rs"]
pub mod types;
