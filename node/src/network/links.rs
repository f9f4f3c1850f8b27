//! The four kept connections to one peer.

use std::sync::Arc;
use std::time::Duration;

use chancery_proto::v1::peer::peer_client::PeerClient;
use tokio::sync::Semaphore;
use tonic::transport::Channel;

use crate::network::bounds::{MESSAGE_BYTES_MAX, STREAMS_MAX};
use crate::network::connector::channel;
use crate::network::transport::Transport;
use crate::raft::types::NodeId;

/// The waits on the calling side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkOptions {
    /// To connect, with the handshake.
    pub connect_timeout: Duration,
    /// Between pings on a connection, and for their answer. A connection that fails this is dead.
    pub keepalive_interval: Duration,
    /// See above.
    pub keepalive_timeout: Duration,
    /// Attempts to connect are this far apart at first,
    pub reconnect_min: Duration,
    /// and this far after several.
    pub reconnect_max: Duration,
    /// For the answer to the oldest request of an append stream: a peer's disk may be slow, and a new
    /// stream would only send the same again.
    pub append_stall_max: Duration,
    /// For a peer to take one more chunk of a snapshot.
    pub snapshot_stall_max: Duration,
    /// For a peer to verify and install a snapshot that it has.
    pub snapshot_install_max: Duration,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            keepalive_interval: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(2),
            reconnect_min: Duration::from_millis(20),
            reconnect_max: Duration::from_millis(500),
            append_stall_max: Duration::from_secs(5),
            snapshot_stall_max: Duration::from_secs(30),
            snapshot_install_max: Duration::from_secs(900),
        }
    }
}

/// How one peer is reached.
pub(super) struct Link {
    pub(super) peer: NodeId,
    pub(super) address: Arc<str>,
    /// This node.
    pub(super) caller: NodeId,
    pub(super) options: LinkOptions,
    append: Channel,
    raft: Channel,
    snapshot: Channel,
    calls: Channel,
    /// Bounds what is in flight on `calls`.
    pub(super) calls_room: Semaphore,
}

impl Link {
    /// Connects when used. To be called inside the runtime.
    pub(super) fn new(
        peer: NodeId,
        address: &str,
        transport: &Arc<dyn Transport>,
        options: LinkOptions,
    ) -> Option<Self> {
        let address: Arc<str> = address.into();
        let open = || channel(peer, Arc::clone(&address), Arc::clone(transport), &options);
        Some(Self {
            append: open()?,
            raft: open()?,
            snapshot: open()?,
            calls: open()?,
            peer,
            address,
            caller: transport.node(),
            options,
            calls_room: Semaphore::new(STREAMS_MAX as usize),
        })
    }

    /// Everything over `channel`.
    #[cfg(test)]
    pub(super) fn over(channel: &Channel, options: LinkOptions) -> Self {
        let [append, raft, snapshot, calls] = [(); 4].map(|()| channel.clone());
        let calls_room = Semaphore::new(STREAMS_MAX as usize);
        Self { peer: 2, address: "".into(), caller: 1, options, append, raft, snapshot, calls, calls_room }
    }

    /// For the append stream.
    pub(super) fn append(&self) -> PeerClient<Channel> {
        client(&self.append)
    }

    /// For heartbeats, votes and transfers.
    pub(super) fn raft(&self) -> PeerClient<Channel> {
        client(&self.raft)
    }

    /// For snapshots.
    pub(super) fn snapshot(&self) -> PeerClient<Channel> {
        client(&self.snapshot)
    }

    /// For everything else.
    pub(super) fn calls(&self) -> PeerClient<Channel> {
        client(&self.calls)
    }
}

fn client(channel: &Channel) -> PeerClient<Channel> {
    PeerClient::new(channel.clone())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}
