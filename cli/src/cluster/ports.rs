//! Free ports on the loopback interface.

use std::net::{TcpListener, UdpSocket};

use crate::exit::{Failure, Result};
use crate::init::{Address, NodeAddresses};
use crate::keys;

/// Below the range that systems give to outgoing connections, so that none of these takes a port between our
/// look and the node's start.
const FIRST: u16 = 20_000;
const SPAN: u16 = 12_000;

/// Tries before we give up.
const TRIES_MAX: usize = 1_000;

/// Ports that no other process of this program chooses while it is there, also while no node listens on them:
/// the same ports of UDP, which nobody else has a use for.
#[derive(Debug, Default)]
pub(crate) struct Reserved(Vec<UdpSocket>);

/// Two free ports for each of `count` nodes.
pub(crate) fn choose(count: u64) -> Result<(Vec<NodeAddresses>, Reserved)> {
    let mut reserved = Reserved::default();
    let mut one = || -> Result<Address> {
        for _ in 0..TRIES_MAX {
            let mut random = [0; 2];
            keys::fill_random(&mut random)?;
            let port = FIRST + u16::from_be_bytes(random) % SPAN;
            let Ok(reservation) = UdpSocket::bind(("127.0.0.1", port)) else { continue };
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                reserved.0.push(reservation);
                return Ok(Address::loopback(port));
            }
        }
        Err(Failure::local("there is no free port on the loopback interface"))
    };
    let chosen: Result<_> =
        (0..count).map(|_| Ok(NodeAddresses { peer: one()?, client: one()?, tiles: Some(one()?) })).collect();
    Ok((chosen?, reserved))
}

/// Whether somebody could listen there now.
pub(crate) fn is_free(addresses: &NodeAddresses) -> bool {
    [&addresses.peer, &addresses.client]
        .into_iter()
        .all(|address| TcpListener::bind((address.host.as_str(), address.port)).is_ok())
}
