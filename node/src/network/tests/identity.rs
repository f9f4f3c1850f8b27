//! Who is let in.

use std::sync::Arc;
use std::time::Duration;

use chancery_proto::v1::peer;
use chancery_proto::v1::peer::peer_client::PeerClient;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic::Code;
use tonic::transport::Channel;

use super::Ca;
use super::cluster::{PATIENCE, TestNode, quick, soon};
use crate::network::connector::channel;
use crate::network::tls::certificates;
use crate::network::{PeerError, PeerTls, Peers, ServerOptions, TlsError, node_name};
use crate::raft::types::NodeId;

/// Shows nothing.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// What node 1 says to one with this identity.
async fn ask(server: &TestNode, tls: PeerTls) -> Result<Vec<u8>, PeerError> {
    let peers = Peers::new(tls, quick());
    peers.add(server.id, &server.address.to_string());
    peers.sign_head(server.id, 9, soon()).await
}

/// A client that says what it likes.
fn client(server: &TestNode, tls: &PeerTls) -> PeerClient<Channel> {
    let address: Arc<str> = server.address.to_string().into();
    let transport = Arc::new(tls.clone());
    PeerClient::new(channel(server.id, address, transport, &quick()).unwrap())
}

/// An identity whose certificate does not have to fit.
fn tls_with(ca: &Ca, trusted: &Ca, names: &[&str]) -> Result<PeerTls, TlsError> {
    let (chain, key) = ca.sign(names);
    PeerTls::from_pem(2, trusted.pem.as_bytes(), chain.as_bytes(), key.as_bytes())
}

#[tokio::test]
async fn only_nodes_of_the_ca_are_served() {
    let (ca, other) = (Ca::new(), Ca::new());
    let server = TestNode::start(&ca, 1).await;
    assert!(ask(&server, ca.node(2)).await.is_ok());

    // Of another CA, but trusting the right one.
    let stranger = tls_with(&other, &ca, &[&node_name(2)]).unwrap();
    let refused = ask(&server, stranger).await.unwrap_err();
    assert!(matches!(refused, PeerError::Broken(_) | PeerError::Unreachable(_)), "{refused:?}");
    // Trusting another CA than the server's.
    let refused = ask(&server, other.node(2)).await.unwrap_err();
    assert!(matches!(refused, PeerError::Unreachable(_)), "{refused:?}");
    // Not in the roster; and the server's own identity.
    assert!(ask(&server, ca.node(77)).await.is_err());
    let own = ca.node(1);
    let refused = client(&server, &own).clock(peer::ClockRequest {}).await;
    assert!(refused.is_err());
    assert!(ask(&server, ca.node(3)).await.is_ok());
    // But who is not in the roster, perhaps no more, may ask for what proves that.
    let outside = Peers::new(ca.node(77), quick());
    outside.add(server.id, &server.address.to_string());
    assert_eq!(outside.roster_links(server.id, 5, soon()).await, Ok(5_u64.to_be_bytes().to_vec()));
    let refused = outside.clock(server.id, soon()).await.unwrap_err();
    assert!(matches!(refused, PeerError::Refused(_)), "{refused:?}");
}

#[tokio::test]
async fn a_certificate_that_is_no_nodes_is_refused() {
    let ca = Ca::new();
    let server = TestNode::start(&ca, 1).await;
    for names in [&["agent.example"][..], &[&node_name(2), &node_name(3)], &["node-02.chancery.internal"]] {
        assert!(matches!(tls_with(&ca, &ca, names), Err(TlsError::Name { .. })));
        // Past that check, as somebody else's program would be.
        let (chain, key) = ca.sign(names);
        let chain = certificates("chain", chain.as_bytes()).unwrap();
        let tls = PeerTls::of_chain(2, ca.pem.as_bytes(), chain, key.as_bytes()).unwrap();
        assert!(client(&server, &tls).clock(peer::ClockRequest {}).await.is_err());
    }
    let (chain, key) = ca.sign(&["agent.example", &node_name(2)]);
    let tls = PeerTls::from_pem(2, ca.pem.as_bytes(), chain.as_bytes(), key.as_bytes()).unwrap();
    assert!(ask(&server, tls).await.is_ok());
}

#[tokio::test]
async fn no_certificate_and_plain_text_are_refused() {
    let ca = Ca::new();
    let server = TestNode::start(&ca, 1).await;
    let mut anonymous = ca.node(2);
    let mut config = (*anonymous.client).clone();
    config.client_auth_cert_resolver = Arc::new(NoCertificate);
    anonymous.client = Arc::new(config);
    assert!(client(&server, &anonymous).clock(peer::ClockRequest {}).await.is_err());

    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    if let Ok(channel) = endpoint.connect().await {
        assert!(PeerClient::new(channel).clock(peer::ClockRequest {}).await.is_err());
    }
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let ended = timeout(PATIENCE, tcp.read_to_end(&mut answer)).await.unwrap();
    // A TLS alert at most.
    assert!(ended.is_err() || answer.first().is_none_or(|first| *first == 21), "{answer:?}");
}

#[tokio::test]
async fn a_node_calls_the_node_that_it_means() {
    let ca = Ca::new();
    let server = TestNode::start(&ca, 1).await;
    let peers = Peers::new(ca.node(2), quick());
    peers.add(3, &server.address.to_string());
    let refused = peers.sign_head(3, 9, soon()).await.unwrap_err();
    assert!(matches!(refused, PeerError::Unreachable(_)), "{refused:?}");
}

#[tokio::test]
async fn nobody_speaks_for_another_node() {
    let ca = Ca::new();
    let server = TestNode::start(&ca, 1).await;
    let mut client = client(&server, &ca.node(2));
    let vote = |node: NodeId, committed| Some(peer::Vote { term: 5, node, committed });
    let asked = |node| peer::VoteRequest { vote: vote(node, false), ..peer::VoteRequest::default() };
    let append = |node| peer::AppendRequest { vote: vote(node, true), ..peer::AppendRequest::default() };
    let transfer = peer::TransferLeaderRequest { from_leader: vote(3, true), to_node: 1, last_log_id: None };

    let refused = |code| assert_eq!(code, Code::PermissionDenied);
    refused(client.vote(asked(3)).await.unwrap_err().code());
    refused(client.pre_vote(asked(3)).await.unwrap_err().code());
    refused(client.heartbeat(append(3)).await.unwrap_err().code());
    refused(client.transfer_leader(transfer).await.unwrap_err().code());
    let stream = tokio_stream::iter([append(3)]);
    let mut replies = client.append(stream).await.unwrap().into_inner();
    refused(replies.message().await.unwrap_err().code());

    // A vote's kind must be the call's.
    let leader = peer::VoteRequest { vote: vote(2, true), ..peer::VoteRequest::default() };
    assert_eq!(client.vote(leader).await.unwrap_err().code(), Code::InvalidArgument);
    let candidate = peer::AppendRequest { vote: vote(2, false), ..peer::AppendRequest::default() };
    assert_eq!(client.heartbeat(candidate).await.unwrap_err().code(), Code::InvalidArgument);
    assert!(client.pre_vote(asked(2)).await.is_ok());
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_out() {
    let ca = Ca::new();
    let mut server = TestNode::start(&ca, 1).await;
    server.cut().await;
    // It does not help that they time out.
    let options = ServerOptions { handshake_timeout: 100 * PATIENCE, ..ServerOptions::default() };
    server.serve_again(options).await;
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let deadline = soon();
    while let Err(error) = ask(&server, ca.node(2)).await {
        assert!(Instant::now() < deadline, "{error:?}");
    }
    drop(silent);
}

#[tokio::test]
async fn connections_and_handshakes_are_bounded() {
    let ca = Ca::new();
    let mut server = TestNode::start(&ca, 1).await;
    server.cut().await;
    let options = ServerOptions {
        connections_max: 1,
        handshake_timeout: Duration::from_secs(3),
        ..ServerOptions::default()
    };
    server.serve_again(options).await;
    let first = Peers::new(ca.node(2), quick());
    first.add(1, &server.address.to_string());
    assert!(first.sign_head(1, 9, soon()).await.is_ok());
    assert!(ask(&server, ca.node(3)).await.is_err());
    assert!(first.sign_head(1, 9, soon()).await.is_ok());

    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut answer = Vec::new();
    let ended = timeout(PATIENCE, silent.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the server waits for a handshake forever");

    first.remove(1);
    drop(first);
    let deadline = soon();
    while ask(&server, ca.node(3)).await.is_err() {
        assert!(Instant::now() < deadline, "the place is not given back");
    }
}
