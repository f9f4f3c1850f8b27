//! Node to node: gRPC over mutual TLS.
//!
//! Contract: both ends of every connection are nodes whose certificates the cluster's CA signed; a
//! handler knows its caller by certificate ([`PeerId`]), and what a caller says in Raft's name must be
//! its own. Everything is bounded: message and window sizes, streams, connections, what is in flight,
//! and every wait.
//!
//! [`Peers`] is the calling side: it keeps four connections to each peer (the append stream;
//! heartbeats, votes and transfers; snapshots; everything else), each opened when first used, and is
//! Raft's network factory as well. [`PeerServer`] is the called side.

mod append_session;
mod bounds;
mod calls;
mod connector;
mod links;
mod peers;
mod raft_network;
mod serve;
mod service;
mod snapshot;
mod snapshot_receive;
mod snapshot_send;
mod tls;
mod transport;
mod wire;

#[cfg(test)]
mod tests;

pub use bounds::{
    APPEND_BYTES_MAX, ENTRY_BYTES_MAX, HEAD_STATEMENTS_MAX, MESSAGE_BYTES_MAX, SIGNED_COMMAND_BYTES_MAX,
    SNAPSHOT_CHUNK_BYTES_MAX, SNAPSHOT_FILES_MAX, STATEMENT_BYTES_MAX,
};
pub use calls::{
    ClockReading, ClockSample, Declined, PeerError, PeerHandler, SubmitOutcome, SubmitResult, UnknownPeer,
};
pub use links::LinkOptions;
pub use peers::Peers;
pub use raft_network::{RaftLink, RaftLinks};
pub use serve::{PeerServer, ServeError, ServerOptions};
pub use snapshot::{
    Manifest, ManifestError, ManifestFile, SnapshotError, SnapshotSink, SnapshotSource, SnapshotWriter,
};
pub(crate) use tls::server_from_pem;
pub use tls::{PeerId, PeerRoster, PeerTls, TlsError, node_name};
pub use transport::{ConnectFailed, PeerIo, PeerStream, Transport};
