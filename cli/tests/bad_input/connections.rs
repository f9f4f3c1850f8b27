//! Bytes that are not TLS, messages that are too long, and connections that say nothing.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use chancery_proto::v1::api::SubmitRequest;
use chancery_proto::v1::peer;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tonic::Code;

use crate::harness::NODES;
use crate::wire::{EXCHANGE_MAX, Papers, Ports, client, peer, say, shake};
use crate::{House, READER};

const IDLE: usize = 1_000;

/// A node lets a connection say nothing for 5 s; the rest is for a loaded machine.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// On a machine that is so slow that they are gone before anybody was served, it is seen another time.
const TIMES_MAX: usize = 10;

pub(crate) async fn bounded(house: &mut House) {
    plain_text(house).await;
    long_messages(house).await;
    idle_before_the_handshake(house).await;
    idle_after_the_handshake(house).await;
}

async fn plain_text(house: &mut House) {
    let mut noise = vec![0; 100_000];
    getrandom::fill(&mut noise).unwrap();
    for node in 1..=NODES {
        let ports = Ports::of(&house.cluster, node);
        for address in [ports.peers, ports.clients] {
            for said in [
                &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
                b"\x16\x03\x01\xff\xff",
                b"\n",
                &[0; 64],
                &noise,
            ] {
                let answer = say(address, said).await;
                // Nothing, or one TLS alert.
                assert!(answer.is_empty() || (answer[0] == 21 && answer.len() < 64), "{answer:?}");
            }
        }
    }
    house.unharmed("plain text").await;
}

/// The most memory that a node's process has had.
fn memory_peak_size_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

async fn long_messages(house: &mut House) {
    let papers = Papers::of_principal(&house.cluster, "issuer");
    let message = vec![0x0a; 100 << 20];
    for node in 1..=NODES {
        let process = house.cluster.process_id(node);
        let before = memory_peak_size_kib(process);
        let mut client = client(&house.cluster, node, &papers);
        let status = client.submit(SubmitRequest { signed_command: message.clone() }).await.unwrap_err();
        assert!([Code::OutOfRange, Code::ResourceExhausted].contains(&status.code()), "{status:?}");
        let mut peer = peer(&house.cluster, node, &Papers::of_node(&house.cluster, node % NODES + 1));
        let request = peer::SubmitRequest { signed_command: message.clone() };
        let status = peer.submit(request).await.unwrap_err();
        assert!([Code::OutOfRange, Code::ResourceExhausted].contains(&status.code()), "{status:?}");
        let after = memory_peak_size_kib(process);
        assert!(after < before + 32 * 1024, "node {node} kept of it: {before} KiB before, {after} KiB after");
    }
    house.unharmed("messages of 100 MiB").await;
}

async fn idle_before_the_handshake(house: &mut House) {
    for node in 1..=NODES {
        let Ports { peers, clients } = Ports::of(&house.cluster, node);
        for address in [clients, peers] {
            for times in 1.. {
                let began = Instant::now();
                let idle = connect_idle(address).await;
                println!("{IDLE} connections to {address} in {:?}", began.elapsed());
                newcomer_is_served(house, node).await;
                let beside = idle.iter().filter(|stream| is_open(stream)).count();
                all_hung_up(idle).await;
                if beside > 0 {
                    break;
                }
                assert!(times < TIMES_MAX, "node {node} serves nobody until {IDLE} connections are gone");
            }
        }
    }
    house.unharmed("connections that say nothing").await;
}

async fn connect_idle(address: SocketAddr) -> Vec<TcpStream> {
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    idle
}

/// Whether the node has not hung up.
fn is_open(stream: &TcpStream) -> bool {
    // Data, if any, is what the server says of itself first.
    stream
        .try_read(&mut [0; 4096])
        .map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |size| size > 0)
}

/// A client that has no connection yet gets a permit from this node.
async fn newcomer_is_served(house: &House, node: u64) {
    let ledger = house.cluster.connect_to(node, "gate").await;
    let began = Instant::now();
    let permit = ledger.check(READER, "read", "documents/1", b"").await;
    assert!(permit.is_ok(), "node {node} has no time for a client: {permit:?}");
    println!("beside {IDLE} idle connections node {node} served a new client after {:?}", began.elapsed());
}

/// The node ends each of these connections by itself.
async fn all_hung_up<S: AsyncRead + Unpin>(idle: Vec<S>) {
    let deadline = Instant::now() + SILENCE_MAX;
    for (number, mut stream) in idle.into_iter().enumerate() {
        // What the server says of itself first does not count.
        let ended = timeout_at(deadline, stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "the node keeps connection {number} of {IDLE}");
    }
}

async fn idle_after_the_handshake(house: &mut House) {
    let node = house.cluster.leader().await;
    let clients = Ports::of(&house.cluster, node).clients;
    let papers = Papers::of_principal(&house.cluster, "gate");
    for times in 1.. {
        let mut idle = Vec::new();
        let deadline = Instant::now() + EXCHANGE_MAX;
        for _ in 0..IDLE {
            let stream = timeout_at(deadline, shake(&house.cluster, clients, Some(&papers))).await;
            idle.push(stream.expect("handshakes in time").unwrap());
        }
        newcomer_is_served(house, node).await;
        let beside = idle.iter().filter(|stream| is_open(stream.get_ref().0)).count();
        all_hung_up(idle).await;
        if beside > 0 {
            break;
        }
        assert!(times < TIMES_MAX, "node {node} serves nobody until {IDLE} callers are gone");
    }
    house.unharmed("callers that say nothing").await;
}
