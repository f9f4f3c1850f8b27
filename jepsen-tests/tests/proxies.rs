//! The network of our own does to bytes what it says, in the direction that it says.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use chancery_jepsen::proxy::{Network, Party, Passage, Weather};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

/// Longer than anything takes that arrives at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// So long nothing arrives before it counts as held.
const SILENCE: Duration = Duration::from_millis(300);

const NODE: Party = Party::Node(1);

/// Both ends of a connection through a proxy.
struct Connection {
    network: Network,
    caller: TcpStream,
    called: TcpStream,
}

/// An address that nobody else listens on: all of 127.0.0.0/8 is the loopback interface, and this process has a host
/// of its own there, whose ports it gives out in turn.
fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    ([127, 128 + (high & 63), middle, low], NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

async fn connect(from: Party) -> Connection {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (proxy, target) = (free(), listener.local_addr().unwrap());
    let mut network = Network::default();
    match from {
        Party::Clients => network.before_clients(1, proxy, target).await.unwrap(),
        Party::Node(node) => {
            network.before_peers(1, proxy, target).await.unwrap();
            network.set_process(node, Some(std::process::id()));
        }
    }
    let caller = TcpStream::connect(proxy).await.unwrap();
    let called = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap().0;
    Connection { network, caller, called }
}

async fn arrives(to: &mut TcpStream) -> u8 {
    timeout(PATIENCE, to.read_u8()).await.unwrap().unwrap()
}

async fn is_silent(to: &mut TcpStream) -> bool {
    timeout(SILENCE, to.read_u8()).await.is_err()
}

#[tokio::test]
async fn a_one_way_cut_holds_one_direction_until_it_is_healed() {
    let Connection { network, mut caller, mut called } = connect(Party::Node(2)).await;
    network.set_weather(&BTreeMap::from([((Party::Node(2), NODE), Weather::cut(Passage::Blackhole))]));
    caller.write_u8(1).await.unwrap();
    called.write_u8(2).await.unwrap();
    assert_eq!(arrives(&mut caller).await, 2);
    let deadline = Instant::now() + PATIENCE;
    while network.felt() == 0 {
        assert!(Instant::now() < deadline, "the cut is not felt");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(is_silent(&mut called).await);
    network.set_weather(&BTreeMap::new());
    assert_eq!(arrives(&mut called).await, 1);
}

#[tokio::test]
async fn the_direction_of_a_link_is_not_who_dialled() {
    let Connection { network, mut caller, mut called } = connect(Party::Node(2)).await;
    network.set_weather(&BTreeMap::from([((NODE, Party::Node(2)), Weather::cut(Passage::Blackhole))]));
    caller.write_u8(1).await.unwrap();
    called.write_u8(2).await.unwrap();
    assert_eq!(arrives(&mut called).await, 1);
    assert!(is_silent(&mut caller).await);
}

#[tokio::test]
async fn the_weather_of_another_link_is_not_felt() {
    let Connection { network, mut caller, mut called } = connect(Party::Node(2)).await;
    network.set_weather(&BTreeMap::from([((Party::Node(3), NODE), Weather::cut(Passage::Reset))]));
    caller.write_u8(1).await.unwrap();
    assert_eq!(arrives(&mut called).await, 1);
    assert_eq!(network.felt(), 0);
}

#[tokio::test]
async fn a_reset_ends_connections() {
    let Connection { network, mut caller, mut called } = connect(Party::Clients).await;
    network.set_weather(&BTreeMap::from([((Party::Clients, NODE), Weather::cut(Passage::Reset))]));
    assert!(timeout(PATIENCE, caller.read_u8()).await.unwrap().is_err());
    assert!(timeout(PATIENCE, called.read_u8()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_slow_link_is_slow_and_keeps_the_order() {
    let Connection { network, mut caller, mut called } = connect(Party::Clients).await;
    let delay = Duration::from_millis(200);
    let weather = Weather { delay, jitter: delay, ..Weather::default() };
    network.set_weather(&BTreeMap::from([((Party::Clients, NODE), weather)]));
    let began = Instant::now();
    for byte in 0..10 {
        caller.write_u8(byte).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for byte in 0..10 {
        assert_eq!(arrives(&mut called).await, byte);
    }
    assert!(began.elapsed() >= delay);
}

#[tokio::test]
async fn a_stranger_is_not_let_through_to_peers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = free();
    let mut network = Network::default();
    network.before_peers(1, proxy, listener.local_addr().unwrap()).await.unwrap();
    let mut caller = TcpStream::connect(proxy).await.unwrap();
    assert!(timeout(PATIENCE, caller.read_u8()).await.unwrap().is_err());
}
