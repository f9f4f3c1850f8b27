//! Speaking to a node's ports below the SDK: with any certificate, or none, and any bytes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chancery_client::Context;
use chancery_node::config::NodeConfig;
use chancery_proto::v1::api::ledger_client::LedgerClient;
use chancery_proto::v1::api::{Refused, SubmitRequest, submit_reply::Outcome};
use chancery_proto::v1::peer::peer_client::PeerClient;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::harness::Cluster;

/// For one exchange with a node that answers at all.
pub(crate) const EXCHANGE_MAX: Duration = Duration::from_secs(120);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A certificate and its key, both in PEM.
#[derive(Clone)]
pub(crate) struct Papers {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Papers {
    /// A first principal's.
    pub(crate) fn of_principal(cluster: &Cluster, principal: &str) -> Self {
        Self::of_context(&Context::open(cluster.ledger_folder().join("contexts").join(principal)).unwrap())
    }

    pub(crate) fn of_context(context: &Context) -> Self {
        Self { certificate: context.certificate.clone(), key: context.tls_key.to_string() }
    }

    /// A node's.
    pub(crate) fn of_node(cluster: &Cluster, node: u64) -> Self {
        let read = |name: &str| std::fs::read_to_string(cluster.node_folder(node).join(name)).unwrap();
        Self { certificate: read("tls.pem"), key: read("tls.key") }
    }

    fn identity(&self) -> Identity {
        Identity::from_pem(&self.certificate, &self.key)
    }
}

/// Where a node listens.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) peers: SocketAddr,
    pub(crate) clients: SocketAddr,
}

impl Ports {
    pub(crate) fn of(cluster: &Cluster, node: u64) -> Self {
        let config = NodeConfig::load(&cluster.config(node)).unwrap();
        Self { peers: config.peer_listen, clients: config.client_listen }
    }
}

/// The CA of the nodes' certificates.
pub(crate) fn node_ca(cluster: &Cluster) -> String {
    std::fs::read_to_string(cluster.ledger_folder().join("ca/nodes.pem")).unwrap()
}

/// A bare gRPC client of a node's client port.
pub(crate) fn client(cluster: &Cluster, node: u64, papers: &Papers) -> LedgerClient<Channel> {
    LedgerClient::new(channel(cluster, Ports::of(cluster, node).clients, papers, "127.0.0.1"))
}

/// A bare gRPC client of a node's peer port.
pub(crate) fn peer(cluster: &Cluster, node: u64, papers: &Papers) -> PeerClient<Channel> {
    let name = chancery_node::network::node_name(node);
    PeerClient::new(channel(cluster, Ports::of(cluster, node).peers, papers, &name))
}

fn channel(cluster: &Cluster, address: SocketAddr, papers: &Papers, name: &str) -> Channel {
    let ca = Certificate::from_pem(node_ca(cluster));
    let tls = ClientTlsConfig::new().ca_certificate(ca).identity(papers.identity()).domain_name(name);
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
    endpoint.connect_timeout(EXCHANGE_MAX).timeout(EXCHANGE_MAX).connect_lazy()
}

/// The code with which a node refuses an encoded command.
pub(crate) async fn refusal(client: &mut LedgerClient<Channel>, signed_command: Vec<u8>) -> String {
    let reply = client.submit(SubmitRequest { signed_command }).await.unwrap().into_inner();
    match reply.outcome {
        Some(Outcome::Refused(Refused { code, .. })) => code,
        other => panic!("not refused: {other:?}"),
    }
}

/// TLS with these papers, or none, as far as a client's side of the handshake goes.
pub(crate) async fn shake(
    cluster: &Cluster,
    address: SocketAddr,
    papers: Option<&Papers>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(node_ca(cluster).as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match papers {
        None => config.with_no_client_auth(),
        Some(papers) => {
            let chain = CertificateDer::pem_slice_iter(papers.certificate.as_bytes());
            let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
            let key = PrivateKeyDer::from_pem_slice(papers.key.as_bytes()).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::from(address.ip());
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// Whether a node lets a caller in: whether it answers to the beginning of HTTP/2.
pub(crate) async fn lets_in(cluster: &Cluster, address: SocketAddr, papers: Option<&Papers>) -> bool {
    let exchange = async {
        let mut stream = shake(cluster, address, papers).await?;
        stream.write_all(PREFACE).await?;
        stream.read_u8().await
    };
    timeout(EXCHANGE_MAX, exchange).await.expect("the node neither answers nor hangs up").is_ok()
}

/// Sends bytes without TLS, and returns all that comes back until the node hangs up.
pub(crate) async fn say(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let exchange = async {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        // It may hang up before it has read all.
        let _ = tcp.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = tcp.read_to_end(&mut answer).await;
        answer
    };
    timeout(EXCHANGE_MAX, exchange).await.expect("the node does not hang up")
}
