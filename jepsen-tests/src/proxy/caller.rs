//! Which process is at the other end of a connection on the loopback interface.
//!
//! All nodes know a peer by one address, as in a real deployment: memberships and snapshots carry it. So the
//! proxy before a node must find out who calls: the kernel knows which process holds the calling socket.

use std::fs;
use std::net::{SocketAddr, SocketAddrV4};

/// Which of `processes` called from `caller` to `called`; none if it is neither of them, or gone by now.
pub(super) fn process_of(caller: SocketAddr, called: SocketAddr, processes: &[u32]) -> Option<u32> {
    let (SocketAddr::V4(caller), SocketAddr::V4(called)) = (caller, called) else { return None };
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let socket = format!("socket:[{}]", inode_in(&table, caller, called)?);
    processes.iter().copied().find(|process| holds(*process, &socket))
}

/// The inode of the socket whose own end is `local` and whose other end is `remote`.
fn inode_in(table: &str, local: SocketAddrV4, remote: SocketAddrV4) -> Option<u64> {
    let (local, remote) = (spelled(local), spelled(remote));
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let ends = (fields.next()?, fields.next()?);
        let inode = fields.nth(6)?.parse().ok()?;
        (ends == (local.as_str(), remote.as_str()) && inode != 0).then_some(inode)
    })
}

/// As the kernel spells an address: the word in the machine's byte order, and the port.
fn spelled(address: SocketAddrV4) -> String {
    format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
}

fn holds(process: u32, socket: &str) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    let mut links = open.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    links.any(|link| link.to_str() == Some(socket))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_caller_is_the_process_that_holds_the_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let called = listener.local_addr().unwrap();
        let caller = TcpStream::connect(called).unwrap();
        let from = caller.local_addr().unwrap();
        let own = std::process::id();
        assert_eq!(process_of(from, called, &[1, own]), Some(own));
        assert_eq!(process_of(from, called, &[1]), None);
        assert_eq!(process_of(called, called, &[own]), None);
    }
}
