//! Where nodes listen.
//!
//! All of 127.0.0.0/8 is the loopback interface: the address holds most of this process's id and the port the rest, so
//! that no two benches on one machine meet. Ports are below those that systems give to outgoing connections.

use std::net::{Ipv4Addr, SocketAddr};

const FIRST_PORT: u16 = 12_000;

/// Ports of one bench at one host.
const PORTS: u16 = 64;

/// One of a node's ports, which are told apart by `place`. Nodes are numbered from 1.
pub(crate) fn address(node: u16, place: u16) -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    // Process ids have 22 bits at most: 64 + 63 fits. No system has 255 nodes.
    let host = u8::try_from(node).unwrap_or(u8::MAX);
    let host = Ipv4Addr::new(127, 64 + (high & 63), middle, host);
    (host, FIRST_PORT + u16::from(low) * PORTS + place % PORTS).into()
}
