//! The wire types of Chancery, generated from the `.proto` files beside this crate.
//!
//! They stop at the edge: `chancery-ledger` turns them into its own checked types before it looks at them.
#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, reason = "generated code")]

/// Package `chancery.v1`: commands, blocks, log entries, records.
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/chancery.v1.rs"));

    /// Package `chancery.v1.api`: what clients call.
    #[cfg(feature = "grpc")]
    pub mod api {
        include!(concat!(env!("OUT_DIR"), "/chancery.v1.api.rs"));
    }

    /// Package `chancery.v1.peer`: what nodes call on each other.
    #[cfg(feature = "grpc")]
    pub mod peer {
        include!(concat!(env!("OUT_DIR"), "/chancery.v1.peer.rs"));
    }
}
