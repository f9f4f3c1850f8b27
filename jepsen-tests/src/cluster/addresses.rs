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

/// The host number of the first proxy; nodes begin at 1.
const PROXIES: u8 = 100;

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
        Self { network, port: FIRST_PORT + u16::from(low) * 2 * CLUSTERS_MAX + cluster * 2 }
    }

    pub(super) fn peer(&self, node: u64) -> SocketAddr {
        self.at(0, node, self.port)
    }

    pub(super) fn client(&self, node: u64) -> SocketAddr {
        self.at(0, node, self.port + 1)
    }

    pub(super) fn peer_proxy(&self, node: u64) -> SocketAddr {
        self.at(PROXIES, node, self.port)
    }

    pub(super) fn client_proxy(&self, node: u64) -> SocketAddr {
        self.at(PROXIES, node, self.port + 1)
    }

    fn at(&self, first: u8, node: u64, port: u16) -> SocketAddr {
        let [a, b, c] = self.network;
        // INVARIANT: no cluster has a hundred nodes.
        let host = first.saturating_add(u8::try_from(node).unwrap_or(u8::MAX));
        (Ipv4Addr::new(a, b, c, host), port).into()
    }
}
