//! Free ports on the loopback interface.

use std::net::TcpListener;

use crate::exit::{Failure, Result};
use crate::init::{Address, NodeAddresses};
use crate::keys;

/// Below the range that systems give to outgoing connections, so that none of these takes a port between our
/// look and the node's start.
const FIRST: u16 = 20_000;
const SPAN: u16 = 12_000;

/// Tries before we give up.
const TRIES_MAX: usize = 1_000;

/// Two free ports for each of `count` nodes.
pub(crate) fn choose(count: u64) -> Result<Vec<NodeAddresses>> {
    // Held until all are chosen, so that no port is chosen twice.
    let mut held = Vec::new();
    let mut one = || -> Result<Address> {
        for _ in 0..TRIES_MAX {
            let mut random = [0; 2];
            keys::fill_random(&mut random)?;
            let port = FIRST + u16::from_be_bytes(random) % SPAN;
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
                held.push(listener);
                return Ok(Address::loopback(port));
            }
        }
        Err(Failure::local("there is no free port on the loopback interface"))
    };
    (0..count).map(|_| Ok(NodeAddresses { peer: one()?, client: one()? })).collect()
}

/// Whether somebody could listen there now.
pub(crate) fn is_free(addresses: &NodeAddresses) -> bool {
    [&addresses.peer, &addresses.client]
        .into_iter()
        .all(|address| TcpListener::bind((address.host.as_str(), address.port)).is_ok())
}
