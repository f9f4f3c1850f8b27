//! Where nodes and the proxies before them listen.
//!
//! All of 127.0.0.0/8 is the loopback interface: the address holds most of this process' id and the port the
//! rest, with a number for each cluster of the process, so that no two runs on one machine meet. The ports are
//! below those that systems give to outgoing connections: a node that is restarted finds its own free.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

/// Clusters that one process has at once.
const CLUSTERS_MAX: u16 = 16;

const FIRST_PORT: u16 = 12_000;

/// Ports of one node: peers, clients, and the proxies before both. All at one host, which its certificate names.
const PORTS: u16 = 4;

static CLUSTERS: AtomicU16 = AtomicU16::new(0);

pub(super) struct Addresses {
    network: [u8; 3],
    port: u16,
}

impl Addresses {
    pub(super) fn new() -> Self {
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        let cluster = CLUSTERS.fetch_add(1, Ordering::Relaxed) % CLUSTERS_MAX;
        // Process ids have 22 bits at most: 64 + 63 fits.
        let network = [127, 64 + (high & 63), middle];
        Self { network, port: FIRST_PORT + (u16::from(low) * CLUSTERS_MAX + cluster) * PORTS }
    }

    pub(super) fn peer(&self, node: u64) -> SocketAddr {
        self.at(node, 0)
    }

    pub(super) fn client(&self, node: u64) -> SocketAddr {
        self.at(node, 1)
    }

    pub(super) fn peer_proxy(&self, node: u64) -> SocketAddr {
        self.at(node, 2)
    }

    pub(super) fn client_proxy(&self, node: u64) -> SocketAddr {
        self.at(node, 3)
    }

    fn at(&self, node: u64, port: u16) -> SocketAddr {
        let [a, b, c] = self.network;
        // INVARIANT: no cluster has 255 nodes.
        let host = u8::try_from(node).unwrap_or(u8::MAX);
        (Ipv4Addr::new(a, b, c, host), self.port + port).into()
    }
}
